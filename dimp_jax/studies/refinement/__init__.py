"""python -m dimp_jax.studies refinement --out OUT --checkpoint WORKDIR --data DIR"""

import dataclasses
import io
import json
from pathlib import Path
from typing import Annotated

import rich.box
import tyro
from rich.console import Console
from rich.table import Table

from dimp_jax import config as configs
from dimp_jax.evaluation import results
from dimp_jax.host import command_line, terminal
from dimp_jax.media import sequences
from dimp_jax.studies import study as studies
from dimp_jax.studies.refinement import measure
from dimp_jax.studies.refinement.measure import Options

WIDTH = 80  # of the tables, columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """Measures the box refinement of a network alone, on sequences with ground truth.

    One refinement from jittered ground truth, and the drift over many refinements of its own output
    on one frame and along the video. The classifier takes no part in it.
    """

    data: Path
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    model: configs.ModelConfig
    tracker: configs.TrackerConfig

    options: Annotated[Options, tyro.conf.arg(name="")] = Options()


def parse(argv, prog) -> Arguments:
    """See `command_line.parse`: network and tracker are those of the config, changed by options."""

    def default(name):
        config = configs.load(name)
        values = {"model": config.model, "tracker": config.tracker}
        return Arguments(out=tyro.MISSING, data=tyro.MISSING, **values)

    return command_line.parse(Arguments, argv, default, config=Arguments.config, prog=prog)


def run(args: Arguments, argv, console) -> None:
    """Measures what is missing, prints the tables, writes refinement.json and the report.

    Raises:
      InputError, FileNotFoundError, ValueError: input that cannot be used.
    """
    options = quick(args.options) if args.quick else args.options
    measure.check_options(options)
    studies.check_counts(args, ("frames",))
    config = dataclasses.replace(
        studies.config_of(args), model=args.model, tracker=args.tracker, seed=args.seed
    )
    found = sequences.load_folder(args.data, limit=args.frames)
    found = found[:1] if args.quick else found
    studies.check_names(found)
    settings = configs.to_dict(config)
    del settings["training"]
    made_from = {"config": settings, "options": dataclasses.asdict(options)}
    study = studies.open_study(
        "refinement", args, made_from | {"input": studies.input_of(args.data, args, config)}, argv
    )
    from dimp_jax.tracking.tracker import build  # jax: not before all input is checked

    tracker = build(config)
    with terminal.status(console, "refining (the first calls compile)"):
        measured = measure.measure(tracker, found, options, args.seed, study)
    written = {"data": str(args.data.resolve()), **made_from, **measured}
    text = json.dumps(written, indent=2, allow_nan=False) + "\n"
    results.write_atomically(study.folder / "refinement.json", text)
    shown = tables(measured)
    terminal.console().print(*shown)
    study.report("The box refinement alone", [f"```\n{plain(table)}\n```" for table in shown])


def quick(options: Options) -> Options:
    """Smaller sizes, unless still smaller ones are given."""
    few = lambda steps: tuple(step for step in steps if step <= 10)
    options = studies.smaller(options, frames_per_sequence=4, drift_starts=1)
    return dataclasses.replace(
        options,
        one_frame_steps=few(options.one_frame_steps),
        video_steps=few(options.video_steps),
    )


def plain(table: Table) -> str:
    """A table as text of `WIDTH` columns."""
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(table)
    return "\n".join(line.rstrip() for line in console.file.getvalue().strip("\n").splitlines())


def tables(report) -> list[Table]:
    """The tables of a `measure.measure` report."""
    shown = [jitter_table(report["jitter"]), sequence_table(report["jitter"])]
    titles = {
        "one_frame": "drift on one frame, from the ground truth; log errors at the end",
        "video": "drift along the video, position given; log errors at the end",
    }
    return shown + [drift_table(report[k], titles[k]) for k in titles if report[k] is not None]


def compact(title, *headings) -> Table:
    """A table of 80 columns: names at the left, numbers at the right."""
    table = Table(title=title, box=rich.box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="right" if column else "left", no_wrap=True)
    return table


def sigmas(level) -> str:
    """The name of a level of jitter."""
    return f"{level['center_sigma']:g}, {level['log_size_sigma']:g}"


def number(value, form=".3f") -> str:
    """A number of a report, in which None is one that does not exist."""
    return "-" if value is None else format(value, form)


def jitter_table(levels) -> Table:
    """A row a level: means over sequences."""
    table = compact(
        "one refinement of jittered ground truth: IoU, errors of size and centre",
        *("sigmas", "before", "after", "better", "log w", "log h", "x", "y", "centre"),
    )
    for level in levels:
        row = level["mean"]
        plain = [number(row[key]) for key in ("iou_before", "iou_after", "improved")]
        bias = ("log_width", "log_height", "center_x", "center_y")
        signed = [number(row[key], "+.3f") for key in bias]
        table.add_row(sigmas(level), *plain, *signed, number(row["center_error"]))
    return table


def sequence_table(levels) -> Table:
    """A row a sequence: mean IoU after one refinement, by level of jitter."""
    table = compact("IoU after, by sigma of centre, size", "sequence", *map(sigmas, levels))
    for name in levels[0]["sequences"]:
        rows = [level["sequences"][name] for level in levels]
        table.add_row(name, *(number(row["iou_after"]) for row in rows))
    table.add_section()
    table.add_row("mean before", *(number(level["mean"]["iou_before"]) for level in levels))
    table.add_row("mean after", *(number(level["mean"]["iou_after"]) for level in levels))
    return table


def drift_table(drift, title) -> Table:
    """A row a sequence: IoU after so many steps, then log errors of size and aspect at the last."""
    headings = [f"IoU {step}" for step in drift["steps"]]
    table = compact(title, "sequence", *headings, "size", "|size|", "w/h")

    def add(name, rows):
        last = rows[-1]
        table.add_row(
            name,
            *(number(row["iou"]) for row in rows),
            number(last["log_size"], "+.3f"),
            number(last["log_size_abs"]),
            number(last["log_aspect"], "+.3f"),
        )

    for name, rows in drift["sequences"].items():
        add(name, rows)
    table.add_section()
    add("mean", drift["mean"])
    return table
