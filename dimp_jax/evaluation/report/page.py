"""The page: one HTML file that needs nothing beside it, and asks for nothing."""

import base64
import string
from html import escape
from importlib import resources
from typing import NamedTuple

from dimp_jax.evaluation import results
from dimp_jax.evaluation.report import statistics, tables
from dimp_jax.evaluation.report.strips import Strip

NAMED = 4  # trackers in the title


class Clip(NamedTuple):
    """A strip and why it is shown."""

    strip: Strip
    why: list[str]
    timeline_svg: str


def render(comparison, standings, *, curves_svg, clips, date: str, version: str) -> str:
    """The whole page.

    Args:
      comparison: `collect.Comparison`. standings: `statistics.ranking`.
      curves_svg: for each name of a figure its SVG.
      clips: list of `Clip`.
    """
    figures = "".join(f"<figure>{svg}</figure>" for svg in curves_svg.values())
    sections = [
        ("ranking", "Ranking", _ranking(comparison, standings)),
        ("plots", "Success and precision", f'<div class="plots">{figures}</div>'),
        ("by-attribute", "Attributes", _attributes(comparison)),
        ("by-sequence", "Sequences", _sequences(comparison, standings)),
        ("clips", "Clips", _clips(comparison, clips)),
        ("times", "Timing", _timing(comparison)),
        ("differences", "Settings that differ", tables.settings(comparison.trackers)),
        ("left-out", "Failures and missing sequences", _problems(comparison)),
    ]
    sections = [section for section in sections if section[2]]
    main = "\n".join(
        f'<section id="{name}"><h2>{title}</h2>\n{content}\n</section>'
        for name, title, content in sections
    )
    links = " ".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    names = [tracker.name for tracker in comparison.trackers]
    names = ", ".join(names) if len(names) <= NAMED else f"{len(names)} trackers"
    return string.Template(_read("page.html")).substitute(
        title=escape(f"{comparison.data}: {names}"),
        css=_read("page.css"),
        js=_read("page.js"),
        head=f"{_facts(comparison, date, version)}\n{_warning(comparison)}\n<nav>{links}</nav>",
        main=main,
        foot=f"<p>dimp_jax {escape(version)}, {escape(date)}</p>",
    )


def _facts(comparison, date, version) -> str:
    rule, count = comparison.rule, len(comparison.sequences)
    total = count + len(comparison.left_out)
    shown = {
        "data": comparison.data,
        "metric rule": f"{rule.name} ({rule.description})",
        "sequences": str(count) if count == total else f"{count} of {total}",
        "written": f"{date} by dimp_jax {version}",
    }
    return (
        '<dl class="facts">'
        + "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in shown.items())
        + "</dl>"
    )


def _warning(comparison) -> str:
    if not comparison.left_out:
        return ""
    count, total = len(comparison.left_out), len(comparison.left_out) + len(comparison.sequences)
    return (
        f'<p class="warning" role="note">All numbers are over the {total - count} of {total} '
        'sequences that every tracker finished in every run. <a href="#left-out">Left out: '
        f"{count}</a></p>"
    )


def _ranking(comparison, standings) -> str:
    notes = []
    if standings[0].interval is not None:
        notes.append(
            "Brackets: 95 % percentile intervals by bootstrap over the "
            f"{len(comparison.sequences)} sequences ({statistics.RESAMPLES} resamples, seed "
            f"{statistics.SEED}, the same for all trackers)."
        )
    if any(standing.deviation is not None for standing in standings):
        notes.append("&plusmn;: sample standard deviation over runs.")
    notes.append("Ranked by the first metric; bold: the best of a column.")
    return f'{tables.ranking(comparison, standings)}\n<p class="note">{" ".join(notes)}</p>'


def _attributes(comparison) -> str:
    table = tables.attributes(comparison)
    heading = escape(comparison.rule.metrics[0][1])
    note = f"{heading} over the sequences that have an attribute; one may have several."
    return table and f'{table}\n<p class="note">{note}</p>'


def _sequences(comparison, standings) -> str:
    note = "Means over runs. " if comparison.several_runs else ""
    return (
        tables.metric_choice(comparison.rule)
        + tables.sequences(comparison, standings)
        + f'\n<p class="note">{note}A click on a heading sorts by it, up and then down. '
        '"all" is the mean as the rule takes it.</p>'
    )


def _timing(comparison) -> str:
    warm = results.WARM_UP_FRAMES
    return (
        f"{tables.timing(comparison)}\n"
        '<p class="note">As each run recorded them: comparable only if taken on the same machine '
        "with nothing beside. Initialisation: median over sequences. Frames: without decoding, and "
        f"without the first {warm} tracked ones, which may compile. Frames a second: tracked "
        "frames / sum of their times, mean over sequences.</p>"
    )


def _clips(comparison, clips) -> str:
    if not clips:
        return ""
    keys = "".join(
        f"<span>{tables.swatch(index)}{escape(tracker.name)}</span>"
        for index, tracker in enumerate(comparison.trackers)
    )
    keys = f'<span><span class="key truth"></span>ground truth</span>{keys}'
    note = "Under each frame its number and the overlap of each tracker's box with the ground truth"
    note += " (first run)." if comparison.several_runs else "."
    return f'<p class="note">{note}</p><div class="keys">{keys}</div>\n' + "\n".join(
        _clip(comparison, clip) for clip in clips
    )


def _clip(comparison, clip) -> str:
    strip = clip.strip
    heading = f"{escape(strip.sequence)} <small>{escape('; '.join(clip.why))}</small>"
    if strip.problem is not None:
        shown = f'<p class="warning">Its frames cannot be shown: {escape(strip.problem)}</p>'
    else:
        shown = "".join(_tile(comparison, strip.sequence, tile) for tile in strip.tiles)
        shown = f'<div class="strip">{shown}</div>'
    timeline = (
        '<div class="timeline scroll" tabindex="0" role="region" aria-label="overlap over time">'
        f"{clip.timeline_svg}</div>"
    )
    return f'<div class="clip"><h3>{heading}</h3>{shown}{timeline}</div>'


def _tile(comparison, sequence, tile) -> str:
    overlaps = (tile.overlaps.get(tracker.name) for tracker in comparison.trackers)
    texts = ("absent" if value is None else f"{value:.2f}" for value in overlaps)
    overlaps = "".join(
        f"<span>{tables.swatch(index)}{text}</span>" for index, text in enumerate(texts)
    )
    source = base64.b64encode(tile.jpeg).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="{escape(sequence)}, frame '
        f'{tile.frame}"><figcaption><span>#{tile.frame}</span>{overlaps}</figcaption></figure>'
    )


def _problems(comparison) -> str:
    """What each tracker lacks, tracebacks included; "" if nothing is left out."""
    if not comparison.left_out and not comparison.problems:
        return ""
    items = "".join(
        f"<li>{escape(name)}: {escape(why)}</li>" for name, why in comparison.left_out.items()
    )
    parts = [f"<p>Left out for all trackers:</p><ul>{items}</ul>"]
    for problem in comparison.problems:
        run = f", run {problem.run}" if comparison.several_runs else ""
        line = f"{problem.tracker}{run}, {problem.sequence}: {problem.what}"
        if problem.traceback is None:
            parts.append(f"<p>{escape(line)}</p>")
        else:
            parts.append(
                f"<details open><summary>{escape(line)}</summary>"
                f'<pre tabindex="0">{escape(problem.traceback)}</pre></details>'
            )
    return "\n".join(parts)


def _read(name) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
