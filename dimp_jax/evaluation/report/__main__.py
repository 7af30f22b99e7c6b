"""Writes one HTML page, and its plots as PNG and PDF, from results of evaluate.py.

python -m dimp_jax.evaluation.report results/dimp50 results/dimp18 --out compared/report.html
python -m dimp_jax.evaluation.report results/baselines-dev --out compare.html --rule visible
"""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated

import tyro

import dimp_jax
from dimp_jax.host import command_line
from dimp_jax.media.images import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compares trackers on what all of them finished: one HTML page, its plots as PNG and PDF."""

    results: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="OUT...")]
    """Results folders of evaluate.py, or folders of them. Clips are chosen by the
    scores of the first one."""

    out: Path | None = None
    """The page, FOLDER/NAME.html; its plots lie beside it. Default: OUT/report.html; several OUT
    need it."""

    rule: str | None = None
    """Metric rule. Default: the official one of the data set."""

    names: tuple[str, ...] = ()
    """Names of the trackers, in the order of OUT. Default: names of the folders."""

    clips: int = 2
    """How many clips to show of the worst, of the best, and of the largest differences."""


def write(args: Arguments) -> list[Path]:
    """Writes the page and its plots, and returns their paths, the page first.

    Raises:
      InputError: results that cannot be compared, or a place that cannot be written.
    """
    if not args.results:
        raise InputError("no results: expected OUT..., folders written by evaluate.py")
    if args.clips < 0:
        raise InputError(f"--clips {args.clips}: expected 0 or more")
    if args.out is None and len(args.results) > 1:
        raise InputError(
            "several OUT: say where the page and its plots go: --out FOLDER/report.html"
        )
    out = args.out or args.results[0] / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {out}: expected the name of an .html file")

    from dimp_jax.evaluation import results  # OpenCV and matplotlib: not for --help
    from dimp_jax.evaluation.report import collect, page, plots, statistics

    comparison = collect.collect(args.results, rule=args.rule, names=args.names)
    try:  # before minutes are spent on intervals and pictures
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent}: cannot be made ({error.strerror})") from error
    standings = statistics.ranking(comparison)
    means = statistics.mean_curves(comparison)
    curves = plots.curves_of(comparison, means, standings)
    figures = {each.key: plots.draw_curves(each) for each in curves}
    content = page.render(
        comparison,
        standings,
        curves_svg={
            each.key: plots.to_svg(figures[each.key], f"{each.title} plot") for each in curves
        },
        clips=make_clips(comparison, args.clips),
        date=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=dimp_jax.__version__,
    )
    try:
        written = [out]
        for key, figure in figures.items():
            written += plots.save(figure, out.with_name(f"{out.stem}_{key}"))
        results.write_atomically(out, content)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    return written


def make_clips(comparison, count: int) -> list:
    """The strips of the clips worth a look, with the boxes of the first run of each tracker."""
    from dimp_jax.evaluation.report import page, plots, statistics, strips

    by_name = {sequence.name: sequence for sequence in comparison.sequences}
    colors = {
        tracker.name: tuple(bytes.fromhex(plots.color(index)[1:]))
        for index, tracker in enumerate(comparison.trackers)
    }
    clips = []
    for name, why in statistics.choose_clips(comparison, count).items():
        boxes = {tracker.name: tracker.runs[0][name].boxes for tracker in comparison.trackers}
        strip = strips.make_strip(by_name[name], boxes, colors)
        figure = plots.draw_overlaps(strip.overlaps, [tile.frame for tile in strip.tiles])
        label = f"overlap over time in {name}"
        clips.append(page.Clip(strip, why, plots.to_svg(figure, label)))
    return clips


@command_line.command("report", InputError)
def main(argv=None, prog="python -m dimp_jax.evaluation.report") -> int:
    """Exit status: 0; 2 if the input cannot be used, after a line on stderr; 130 if stopped."""
    written = write(tyro.cli(Arguments, args=argv, prog=prog))
    print(
        f"report in {written[0].absolute()}, plots beside it: "
        f"{', '.join(p.name for p in written[1:])}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
