"""Builds a data set for training from files on disk.

python -m dimp_jax.data.build got10k --source /data/GOT-10k --out $TFDS_DATA_DIR
python -m dimp_jax.data.build sequence_folder --source videos --out $TFDS_DATA_DIR --name mine
"""

import dataclasses
import os
import re
import shutil
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dimp_jax.host import command_line, files, terminal
from dimp_jax.media.images import InputError

Builder = Literal[
    "got10k",
    "lasot",
    "trackingnet",
    "coco_tracking",
    "davis_tracking",
    "sequence_folder",
    "image_folder",
]
SHOWN_PROBLEMS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Builds a data set for training: OUT/NAME/SPLIT. A build that was stopped goes on."""

    builder: Annotated[tyro.conf.Positional[Builder], tyro.conf.arg(metavar="BUILDER")]
    """The layout of the source."""

    source: Path
    """Folder of the data set as its authors distribute it, or of your own files."""

    out: Path
    """Folder of built data sets (the `data_dir` of training)."""

    split: str = "train"
    """got10k: train, val, vottrain. lasot: train, test. trackingnet: train, train_0 .. train_11,
    train_0_3 (chunks 0 to 3). coco_tracking: train, val, train2014, ... davis_tracking: train, val,
    train2016, ... sequence_folder, image_folder: any name."""

    name: str | None = None
    """Name of the built data set. Default: the builder's."""

    exclude: Path | None = None
    """A file with names of sequences to leave out, one a line (got10k vottrain needs it)."""

    split_file: Path | None = None
    """lasot: the list of test sequences. Default: SOURCE/testing_set.txt."""

    workers: int = os.cpu_count() or 1
    """Processes."""

    part_frames: int = 4096
    """Frames that are built, and kept in memory by each worker, at a time."""


def build(args, console):
    """Runs a parsed command: lists the source, builds what is missing, joins it, sums up.

    Raises:
      InputError: the source or the arguments cannot be used; nothing was written.
    """
    # Late: --help and wrong usage need no data set library.
    from dimp_jax.data import records_index
    from dimp_jax.data.build import parts
    from dimp_jax.data.build import workers as build_workers

    for option in ("workers", "part_frames"):
        if getattr(args, option) < 1:
            raise InputError(f"--{option.replace('_', '-')} {getattr(args, option)}: expected >= 1")
    name = args.name or args.builder
    for option, value in (("--name", name), ("--split", args.split)):
        if not re.fullmatch(r"\w+", value):
            raise InputError(f"{option} {value!r}: expected letters, digits and underscores")
    request = make_request(args)
    directory = args.out / name / args.split
    with terminal.status(console, f"listing {args.source}"):
        plan = parts.make_plan(builder_class(args.builder), request, directory, args.part_frames)
    finished = records_index.split_directory(args.out, name, args.split)
    if finished:
        before = records_index.read_metadata(finished).get("made_from", {})
        parts.check_same_build(plan.made_from, before, directory)
        shutil.rmtree(plan.work, ignore_errors=True)  # left if stopped at the very end
        if not _tell_changes(plan, finished, console):
            terminal.print_line(console, f"{directory}: built already, nothing to do")
        return
    # Two builds of the same split at once would undo each other's parts.
    busy = InputError(f"{plan.directory}: another build of it is running")
    with files.alone(plan.lock, busy):
        if parts.start(plan):
            _tell_changes(plan, plan.work, console)
        build_workers.build_missing(plan, args.workers, console)
        index, problems = parts.finish(plan)
    _sum_up(plan, index, problems, console)


def _tell_changes(plan, folder, console) -> bool:
    """Says what of the source is newer than what is built of it; False, and nothing, if nothing."""
    from dimp_jax.data.build import parts
    from dimp_jax.media.text import first_names

    with terminal.status(console, f"comparing {plan.request.source}"):
        changed = parts.changed_since(plan, folder)
    if changed:
        files = f"{len(changed)} file{'s' * (len(changed) > 1)}"
        terminal.print_line(
            console,
            f"{folder}: was built before {files} changed ({first_names(list(map(str, changed)))}): "
            "delete that folder, and give this command again, to build from them as they are now",
        )
    return bool(changed)


def make_request(args):
    """The builder's view of the command line; reads the list of names to leave out."""
    from dimp_jax.data.builders import annotation_files
    from dimp_jax.data.builders.tracking import Request

    if args.split_file and args.builder != "lasot":
        raise InputError(f"--split-file is for lasot, not for {args.builder}")
    exclude = None
    if args.exclude:
        exclude = annotation_files.read_names(args.exclude, "names of sequences")
    return Request(
        source=args.source, split=args.split, exclude=exclude, split_file=args.split_file
    )


def builder_class(name: Builder):
    """The TFDS builder of that name."""
    from dimp_jax.data.builders import (
        coco,
        davis,
        got10k,
        image_folder,
        lasot,
        sequence_folder,
        trackingnet,
    )

    classes = (
        got10k.Got10k,
        lasot.Lasot,
        trackingnet.TrackingNet,
        coco.CocoTracking,
        davis.DavisTracking,
        sequence_folder.SequenceFolder,
        image_folder.ImageFolder,
    )
    return next(candidate for candidate in classes if candidate.name == name)


def _sum_up(plan, index, problems, console):
    visible = index.visible(0)
    terminal.print_line(
        console,
        f"{plan.directory}: {len(index.names)} sequences, {len(visible)} frames "
        f"({int(visible.sum())} with a visible target), {int(index.masked.sum())} sequences with "
        "masks",
    )
    if not problems:
        return
    for problem in problems[:SHOWN_PROBLEMS]:
        terminal.print_line(console, f"  {problem.where}: {problem.why}")
    if len(problems) > SHOWN_PROBLEMS:
        console.print(f"  ... and {len(problems) - SHOWN_PROBLEMS} more")
    path = next(plan.directory.glob("*/problems.json"))
    terminal.print_line(console, f"{len(problems)} problems, all of them in {path}")


@command_line.command(
    "build",
    InputError,
    OSError,  # no space, no permission: what was built so far stays
    stopped="the same command goes on with the missing parts",
)
def main(argv=None, prog="python -m dimp_jax.data.build") -> int:
    """Exit status: 0; 1 if a process died; 2 for input that cannot be used; 130 if stopped."""
    args = tyro.cli(Arguments, args=argv, prog=prog)
    try:
        build(args, terminal.console(stderr=True))
    except BrokenProcessPool:
        print(
            "build: error: a worker process died, for want of memory perhaps: the same command "
            "goes on with the missing parts; fewer --workers need less memory",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
