"""The tables of the page as HTML. Every text that is not this file's own goes through `escape`."""

import json
from html import escape

import numpy as np

from dimp_jax.evaluation.report import plots, statistics


def swatch(index: int) -> str:
    """A square in the colour of a tracker."""
    return f'<span class="key" style="background:{plots.color(index)}"></span>'


def ranking(comparison, standings) -> str:
    """The trackers, best first, with intervals and the difference to the first one."""
    rule = comparison.rule
    place = {tracker.name: index for index, tracker in enumerate(comparison.trackers)}
    headings = [heading for _, heading in rule.metrics]
    head = ["", "tracker", *headings, f"{headings[0]} behind the first", "runs"]
    best = np.max([standing.values for standing in standings], axis=0)
    rows = []
    for rank, standing in enumerate(standings, 1):
        cells = [f'<td>{rank}</td><th scope="row">{swatch(place[standing.name])}']
        cells.append(f"{escape(standing.name)}</th>")
        for k, value in enumerate(standing.values):
            text = number(value)
            if standing.deviation is not None:
                text += f" &plusmn; {number(standing.deviation[k])}"
            if standing.interval is not None:
                text += f"<br><small>{_interval(standing.interval[:, k])}</small>"
            cells.append(_cell(text, best=len(standings) > 1 and value == best[k]))
        behind = "-"
        if standing.behind is not None:
            behind = (
                f"{number(standing.behind[0])}<br><small>{_interval(standing.behind[1:])}</small>"
            )
        cells.append(f"<td>{behind}</td><td>{standing.runs}</td>")
        rows.append("".join(cells))
    return _table(_plain_head(head, left=2), rows, "ranking")


def sequences(comparison, standings) -> str:
    """One row a sequence, one column a tracker; its headings sort it."""
    values = statistics.sequence_values(comparison)
    mean = {standing.name: standing.values for standing in standings}
    counted = comparison.trackers[0].runs[0]
    head = ["sequence", "frames counted", *(tracker.name for tracker in comparison.trackers)]
    keys = ["", "", *(swatch(index) for index in range(len(comparison.trackers)))]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{key}{escape(name)}</button></th>'
        for key, name in zip(keys, head, strict=True)
    )
    rows = [
        f'<th scope="row">{escape(name)}</th><td>{counted[name].score.frames}</td>'
        + _values(list(values[name]))
        for name in comparison.names
    ]
    frames = sum(counted[name].score.frames for name in comparison.names)
    last = _values([mean[tracker.name] for tracker in comparison.trackers])
    foot = f'<tr><th scope="row">all</th><td>{frames}</td>{last}</tr>'
    return _table(head, rows, "sequences", foot=foot, css=' class="sortable"')


def metric_choice(rule) -> str:
    """Chooses what the table of sequences shows; for a page without scripts it is of no use."""
    options = "".join(f"<option>{escape(heading)}</option>" for _, heading in rule.metrics)
    return (
        f'<p><label>metric: <select data-table="sequences" autocomplete="off" disabled>{options}'
        "</select></label></p>"
    )


def attributes(comparison) -> str:
    """The ranking metric on the sequences of each attribute; "" if there is none."""
    found = statistics.attribute_values(comparison)
    if not found:
        return ""
    head = ["attribute", "sequences", *(tracker.name for tracker in comparison.trackers)]
    rows = []
    for name, (count, values) in found.items():
        best = len(values) > 1
        cells = "".join(_cell(number(v), best=best and v == np.nanmax(values)) for v in values)
        rows.append(f'<th scope="row">{escape(name)}</th><td>{count}</td>{cells}')
    return _table(_plain_head(head), rows, "attributes")


def timing(comparison) -> str:
    """Initialisation, frames, decoding, frames a second."""
    head = [
        "tracker",
        "initialisation (ms)",
        "frame, median (ms)",
        "frame, 95th percentile (ms)",
        "decoding, median (ms)",
        "frames a second",
    ]
    rows = []
    for index, (name, times) in enumerate(statistics.timing(comparison).items()):
        seconds = (times.init_s, times.step_s, times.step_95_s, times.decode_s)
        cells = [_cell("-" if s is None else f"{1000 * s:.1f}") for s in seconds]
        cells.append(_cell("-" if times.fps is None else f"{times.fps:.1f}"))
        rows.append(f'<th scope="row">{swatch(index)}{escape(name)}</th>{"".join(cells)}')
    return _table(_plain_head(head), rows, "timing")


def settings(trackers) -> str:
    """Settings in which the trackers differ; "" if there is none."""
    found = statistics.differing_settings(trackers)
    if not found:
        return ""
    rows = [
        f'<th scope="row">{escape(key)}</th>'
        + "".join(f'<td class="wide">{escape("-" if v is None else v)}</td>' for v in values)
        for key, values in found.items()
    ]
    head = ["setting", *(tracker.name for tracker in trackers)]
    return _table(_plain_head(head, left=len(head)), rows, "settings")


def number(value) -> str:
    """Three decimals; "-" if there is no such value."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def _interval(bounds) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]"


def _values(values) -> str:
    """Cells of one row, for each tracker [K]: the first metric, and all of them for the script."""
    firsts = [v[0] for v in values]
    cells = []
    for each in values:
        known = [round(float(v), 6) if np.isfinite(v) else None for v in each]
        best = len(values) > 1 and each[0] == np.nanmax(firsts)
        shown = "" if known[0] is None else known[0]
        cells.append(
            f'<td{_best(best)} data-value="{shown}" data-values="{escape(json.dumps(known))}">'
            f"{number(each[0])}</td>"
        )
    return "".join(cells)


def _cell(text, *, best=False) -> str:
    return f"<td{_best(best)}>{text}</td>"


def _best(best) -> str:
    return ' class="best"' if best else ""


def _plain_head(names, *, left=1) -> str:
    """Headings; those of the first `left` columns stand above text."""
    return "".join(
        f'<th scope="col"{" class=text" if i < left else ""}>{escape(name)}</th>'
        for i, name in enumerate(names)
    )


def _table(head, rows, name, *, foot="", css="") -> str:
    """A table that scrolls sideways in its own box, also by the keyboard."""
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    foot = foot and f"<tfoot>{foot}</tfoot>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table: {name}">'
        f'<table id="{name}"{css}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}</table></div>"
    )
