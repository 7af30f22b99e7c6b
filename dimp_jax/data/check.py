"""Checks sequences, an image folder or built data sets, and says what is wrong where.

python -m dimp_jax.data.check DIR
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from dimp_jax.data import encoded, records, records_index
from dimp_jax.data.records_index import Problem
from dimp_jax.data.source import BrokenFrame
from dimp_jax.host import command_line, terminal
from dimp_jax.media.folders import name_of
from dimp_jax.media.images import InputError

HEADINGS = {
    "image": "broken images",
    "box": "bad boxes",
    "outside": "boxes outside",
    "length": "wrong lengths",
    "mask": "bad masks",
    "other": "left out",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Checks sequences, an image folder or built data sets. Exit status: 0 clean, 1 not, 2 usage.

    Counts are of frames. A frame without a box (NaN, or no size) is absent, which is no fault.
    """

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Sequences (img/, groundtruth.txt) or a folder of them, an image folder (boxes.csv), a built
    data set, or a folder of built data sets."""

    limit: int = 50
    """Show no more than this many problems."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found in one data set."""

    name: str
    sequences: int
    frames: int
    visible: int
    absent: int
    problems: list[Problem]


def check(directory, console) -> list[Report]:
    """Checks all that is in a folder. Raises InputError: it is none of the layouts."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    built = _built(directory)
    if built:
        return [check_built(*place, console) for place in built]
    return [check_raw(directory, console)]


def check_raw(directory, console) -> Report:
    """Reads every image and annotation as a build would.

    Raises:
      InputError: neither sequences nor an image folder.
    """
    from dimp_jax.data.builders.conversion import Conversion
    from dimp_jax.data.builders.image_folder import ImageFolder
    from dimp_jax.data.builders.sequence_folder import SequenceFolder
    from dimp_jax.data.builders.tracking import Request

    builder = ImageFolder if (directory / "boxes.csv").is_file() else SequenceFolder
    try:
        footage, problems = builder.list_footage(Request(source=directory))
    except InputError as error:
        if builder is ImageFolder:
            raise
        raise InputError(f"{error}; or an image folder (boxes.csv), or built data sets") from error
    conversion = Conversion(problems)
    name = name_of(directory)
    watched = terminal.watched(footage, name, console)
    for _ in conversion.records(builder.read_footage, watched, lambda count: None):
        pass
    index = conversion.index
    lost = sum(problem.kind == "other" for problem in conversion.problems)
    return Report(
        name,
        len(index.names) + lost,
        int(index.lengths.sum()),
        int(index.visible(0).sum()),
        conversion.absent,
        conversion.problems,
    )


def check_built(data_dir, name, split, console) -> Report:
    """Reads every record of a built split and compares it with the index.

    What the build had to leave out is reported again.
    """
    try:
        source = records.open_source(data_dir, name, split, min_box_px=0)
        directory = records_index.split_directory(data_dir, name, split)
        problems = records_index.read_problems(directory)
    except (OSError, ValueError, TypeError, KeyError) as error:
        damage = Problem("other", f"{name}:{split}", str(error))
        return Report(f"{name}:{split}", 0, 0, 0, 0, [damage])
    absent = visible = frames = record = 0
    for sequence in terminal.watched(range(len(source)), source.name, console):
        seen = source.visible(sequence)
        frames += len(seen)
        visible += int(seen.sum())
        for frame in range(len(seen)):
            try:
                absent += _check_record(source, record, sequence, frame)
            except BrokenFrame as error:
                where = f"{source.sequence_names[sequence]}, frame {frame}"
                problems.append(Problem("image", where, str(error)))
            record += 1
    return Report(source.name, len(source), frames, visible, absent, problems)


def _check_record(source, record, sequence, frame) -> bool:
    """Whether the target has no box in this frame; raises BrokenFrame for any fault."""
    fields = source.fields(record)
    name = fields["sequence"].bytes_list.value[0].decode(errors="replace")
    number = fields["frame"].int64_list.value[0]
    seen = bool(source.visible(sequence)[frame])
    if (name, number) != (source.sequence_names[sequence], frame):
        raise BrokenFrame(f"holds frame {number} of {name}: the records are out of order")
    if seen and not fields["visible"].int64_list.value[0]:
        raise BrokenFrame("visible in the index, not in the record")
    width, height = fields["box_xywh"].float_list.value[2:]
    data = fields["image"].bytes_list.value[0]
    if data or (seen and not fields["image_back"].int64_list.value[0]):
        encoded.checked_size_hw(data, "image")
    mask = fields["mask"].bytes_list.value[0]
    if mask:
        encoded.checked_size_hw(mask, "mask")
    return not (width > 0 and height > 0)


def _built(directory) -> list[tuple[Path, str, str]]:
    """(data_dir, name, split) of all built splits in or around a folder."""
    directory = directory.resolve()
    if (directory / "dataset_info.json").is_file():
        directory = directory.parent
    places = {}
    for pattern in ("*.*.*", "*/*.*.*", "*/*/*.*.*"):
        for info in sorted(directory.glob(f"{pattern}/dataset_info.json")):
            split = info.parent.parent
            if records_index.split_directory(
                split.parent.parent, split.parent.name, split.name
            ) and not any(".building" in part for part in split.parts):
                places[split] = (split.parent.parent, split.parent.name, split.name)
    return list(places.values())


def show(reports, limit, console):
    """Prints the table and the list of problems."""
    table = Table()
    table.add_column("")
    for report in reports:
        table.add_column(terminal.printable(report.name), justify="right", overflow="fold")
    for count in ("sequences", "frames", "visible", "absent"):
        table.add_row(count, *(str(getattr(report, count)) for report in reports))
    for kind, heading in HEADINGS.items():
        found = ([p.count for p in report.problems if p.kind == kind] for report in reports)
        table.add_row(heading, *(str(sum(counts)) for counts in found))
    console.print(table)
    problems = [problem for report in reports for problem in report.problems]
    for problem in problems[:limit]:
        text = f"{problem.where}: {problem.why}"
        terminal.print_line(console, text)
    if len(problems) > limit:
        rest = f"... and {len(problems) - limit} more" if limit else f"{len(problems)} problems"
        console.print(f"{rest} (--limit {len(problems)} shows all)")


@command_line.command("check", InputError)
def main(argv=None, prog="python -m dimp_jax.data.check") -> int:
    """Exit status: 0 clean, 1 something is wrong, 2 nothing to check there, 130 stopped."""
    args = tyro.cli(Arguments, args=argv, prog=prog)
    if args.limit < 0:
        raise InputError(f"--limit {args.limit}: expected >= 0")
    reports = check(args.directory, terminal.console(stderr=True))
    show(reports, args.limit, terminal.console())
    return int(any(report.problems for report in reports))


if __name__ == "__main__":
    raise SystemExit(main())
