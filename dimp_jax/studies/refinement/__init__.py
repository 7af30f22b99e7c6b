"""Measures the box refinement of a network alone, on sequences with ground truth.

python -m dimp_jax.studies.refinement dimp_lite0 --checkpoint WORKDIR --data DIR
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import rich.box
import tyro
from rich.console import Console
from rich.table import Table

from dimp_jax import config as configs
from dimp_jax.evaluation import results
from dimp_jax.host import command_line, compilation
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.studies.refinement import measure
from dimp_jax.studies.refinement.measure import Options

INTERRUPTED = 130


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(command_line.TrackerArguments):
    """Measures the box refinement of a network alone, on sequences with ground truth.

    One refinement from jittered ground truth, and the drift over many refinements of its own output
    on one frame and along the video. The classifier takes no part in it.
    """

    data: str
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    out: str | None = None
    """Folder for refinement.json."""

    options: Annotated[Options, tyro.conf.arg(name="")] = Options()


def parse(argv) -> Arguments:
    """See `command_line.parse_tracker`."""
    prog = "python -m dimp_jax.studies.refinement"
    return command_line.parse_tracker(Arguments, argv, prog=prog, required=("data",))


def run(args: Arguments, console: Console) -> None:
    """Runs a parsed command: checks the input, measures, prints the tables, writes the report.

    Raises:
      InputError: options or data that cannot be used.
    """
    measure.check_options(args.options)
    found = sequences.load_folder(args.data)
    out = None if args.out is None else made(Path(args.out))
    compilation.enable_cache()  # importing jax takes seconds: not before all input is checked
    from dimp_jax.tracking.tracker import build

    began = time.perf_counter()
    try:
        tracker = build(args.settings)
        with console.status("refining (the first calls compile)"):
            report = measure.measure(tracker, found, args.options, args.seed)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    for table in tables(report):
        console.print(table)
    console.print(f"{time.perf_counter() - began:.0f} s", markup=False, highlight=False)
    if out is not None:
        settings = configs.to_dict(args.settings)
        del settings["training"]
        report = {
            "config": settings,
            "data": str(Path(args.data).resolve()),
            "options": dataclasses.asdict(args.options),
            **report,
        }
        path = out / "refinement.json"
        results.write_atomically(path, json.dumps(report, indent=2, allow_nan=False) + "\n")
        console.print(f"report in {path}", markup=False, soft_wrap=True)


def made(out: Path) -> Path:
    """The folder, made if it is missing; raises InputError if it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made ({error.strerror})") from error
    return out


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


def main(argv=None) -> int:
    """Exit status: 0; 2 if the input cannot be used, after a line on stderr; 130 if stopped."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parse(argv)
        run(args, Console())
    except (FileNotFoundError, ValueError) as error:
        print(f"refinement: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
