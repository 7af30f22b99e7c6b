r"""Turns another tracker's raw results, or boxes in a common format, into a results folder.

python -m dimp_jax.evaluation.imported DIR --layout pytracking --dataset otb100 --data-dir OTB \
  --out OUT
python -m dimp_jax.evaluation.imported clip.mot.txt --layout mot --video clip.mp4 --out OUT

Nothing is changed in the boxes but the names of their sequences; they are kept to 1e-4 px. What is
missing in DIR is missing in OUT, with the reason in <sequence>_error.txt. A frame in which a format
says nothing of the target has the last box, as our tracker's record does.
"""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import tyro

from dimp_jax.evaluation import identity, inputs, results, summary
from dimp_jax.evaluation.exchange import format_readers, formats, layouts
from dimp_jax.evaluation.metrics import rules
from dimp_jax.host import command_line, terminal
from dimp_jax.host.files import whole
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import natural_key
from dimp_jax.media.text import first_names, read_rows

MISSING = "no results of it in the imported folder"
# A first box that differs by this is not the given one cut to integers.
OTHER_FIRST_BOX_PX = 1.0
# Here fewer frames than there are can have a box (monkey-17; ten last frames of NFS), and what was
# predicted for the others is cut, as the toolkits do.
CUT_TO_ANNOTATION = ("lasot", "lasot_ext", "nfs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Turns another tracker's raw results into a results folder that the report can read.

    Also boxes in the formats of `evaluate --format` and of the page of `demo`.

    Exit status: 0; 1 if sequences are missing; 2 if nothing can be imported.
    """

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Results of one tracker. pytracking: <tracker>/<param>, whose runs are <param>_000 and so on,
    or one such run; pysot: <tracker>; got10k: <tracker>, of any experiment but VOT; otb, mot, coco,
    csv: a file, or a folder of them."""

    layout: Literal["pytracking", "pysot", "got10k", "otb", "mot", "coco", "csv"]
    """Which toolkit wrote them, or their format."""

    dataset: str | None = None
    """What was tracked: otb100, otb50, nfs, uav123, lasot, lasot_ext, trackingnet, got10k_val,
    got10k_test, or folder. Without it and --video: the demo clip."""

    data_dir: Path | None = None
    """The folder of the data set."""

    video: str | None = None
    """The video file that was tracked; the first boxes are those of the results."""

    frames: int | None = None
    """How many frames were tracked, if not all."""

    out: Path
    """The results folder to make."""

    name: str | None = None
    """What the tracker is called. Default: the name of DIR."""


class Results(NamedTuple):
    """What was found of one sequence in one run."""

    boxes: np.ndarray | None  # [N, 4]
    times_s: np.ndarray | None  # [N]
    problem: str | None = None  # why there are no boxes
    predicted: int = 0  # boxes before they were cut to the annotated frames
    scores: np.ndarray | None = None  # [N, 2]


class Report(NamedTuple):
    """What was imported."""

    summary: dict  # as `summary.summarize` gives it
    notices: list[str]  # what the reader of the numbers should know


def import_results(args: Arguments) -> Report:
    """Writes the results folder; it appears whole or not at all.

    Raises:
      InputError: DIR is not of that layout, a file in it cannot be read, no sequence fits, the data
        set is unusable, or OUT is not empty.
    """
    if args.dataset == "vot2018":
        raise InputError(
            "--dataset vot2018: the VOT results of these toolkits are of runs that restart after a "
            "failure, not one box a frame: use `python -m dimp_jax.evaluation.vot`"
        )
    if args.video is not None and args.video.isdecimal():
        raise InputError(f"--video {args.video}: a camera cannot be read again: expected a file")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f"{args.out}: is not empty: choose another --out, or delete it")
    runs = _runs(args)
    source = _source(args, runs)
    known = inputs.load(source)
    sequences = known.sequences
    stems = sorted({stem for run in runs for stem in run})
    names, strays = layouts.match_names(stems, [s.name for s in sequences])
    if not names:
        raise InputError(
            f"{args.directory}: none of its {len(stems)} results ({first_names(stems)}) is named "
            f"like a sequence of {args.dataset or args.video or 'the demo clip'} "
            f"({first_names([s.name for s in sequences])})"
        )
    cut = args.dataset in CUT_TO_ANNOTATION
    stem_of = {name: stem for stem, name in names.items()}
    counts = [(s, _count(s.frames)) for s in sequences]
    found = [
        {
            s.name: _scorable(_read(run.get(stem_of.get(s.name)), count, cut), s, known.rule)
            for s, count in counts
        }
        for run in runs
    ]
    notices = _notices(found, sequences, strays)
    return Report(_write(args, source, known, found), notices)


def _runs(args):
    if args.layout in layouts.LAYOUTS:
        return layouts.LAYOUTS[args.layout](args.directory)
    if args.layout == "otb":
        return format_readers.otb(args.directory, formats.first_pixel(args.dataset))
    return format_readers.READERS[args.layout](args.directory)


def _source(args, runs) -> inputs.Source:
    """What was tracked; the targets of a video are those that have results."""
    boxes = ()
    if args.video is not None:
        mine = re.compile(re.escape(Path(args.video).stem) + r"(-\d+)?")
        targets = sorted(filter(mine.fullmatch, runs[0]), key=natural_key)  # 2 before 10
        first = [_first_box(runs[0][stem]) for stem in targets]
        boxes = tuple(",".join(f"{value:.4f}" for value in box) for box in first)
        if not boxes:
            raise InputError(
                f"{args.directory}: none of its results ({first_names(list(runs[0]))}) is named "
                f"like --video {args.video}"
            )
    data_dir = None if args.data_dir is None else str(args.data_dir)
    return inputs.Source(
        dataset=args.dataset,
        data_dir=data_dir,
        video=args.video,
        boxes=boxes,
        frames=args.frames,
    )


def _first_box(files):
    if isinstance(files, format_readers.Found):
        return files.boxes[0]
    return read_rows(files.boxes, finite=True)[0]


def _count(frames) -> int:
    """How many frames there are; what the header of a video says may be wrong."""
    return frames.count if frames.exact else sum(1 for _ in frames)


def _read(files, frames, cut) -> Results:
    """Reads one sequence's files and compares their lengths with its number of frames."""
    if files is None:
        return Results(None, None, MISSING)
    if isinstance(files, format_readers.Found):
        try:
            boxes, scores = files.filled(frames)
        except InputError as error:
            return Results(None, None, str(error))
        return Results(boxes, None, None, frames, scores)
    boxes = read_rows(files.boxes, finite=True)
    count = len(boxes)
    if count != frames and not (cut and count > frames):
        return Results(None, None, f"{files.boxes}: {count} boxes for {frames} frames")
    times_s = layouts.read_times(files, count)
    return Results(boxes[:frames], None if times_s is None else times_s[:frames], None, count)


def _scorable(result: Results, sequence, rule) -> Results:
    """`result`, or why the data set's rule cannot score it."""
    if result.boxes is None:
        return result
    try:
        rules.score_sequence(rules.get(rule), result.boxes, sequence)
    except ValueError as error:
        return Results(None, None, str(error))
    return result


def _notices(found, sequences, strays):
    notices = []
    if strays:
        notices.append(f"left out, of no sequence: {first_names(strays)} ({len(strays)} files)")
    for number, run in enumerate(found):
        where = f"run {number}: " if len(found) > 1 else ""
        notices += [where + line for line in _notices_of_run(run, sequences)]
    return notices


def _notices_of_run(run, sequences):
    read = {name: result for name, result in run.items() if result.boxes is not None}
    missing = [name for name in run if name not in read]
    if missing:
        count = f"{len(missing)} of {len(sequences)} sequences are missing"
        yield f"{count}: {first_names(missing)}"
    yield from (run[name].problem for name in missing if run[name].problem != MISSING)
    for name, result in read.items():
        count = len(result.boxes)
        if count != result.predicted:
            yield f"{name}: {result.predicted} boxes, cut to {count} frames with a box"
        if result.scores is not None and not result.scores[-1, 1]:
            last = np.flatnonzero(result.scores[:, 1])[-1]
            yield (
                f"{name}: no box after frame {last} (from 0) of {count}: the last one stays; or "
                "fewer frames were tracked: give --frames"
            )
    timeless = [name for name, result in read.items() if result.times_s is None]
    if timeless:
        yield f"no usable times of {first_names(timeless)} ({len(timeless)} sequences)"
    first_boxes = {s.name: s.init_box for s in sequences}
    off = {name: float(np.abs(r.boxes[0] - first_boxes[name]).max()) for name, r in read.items()}
    other = [name for name, distance in off.items() if distance >= OTHER_FIRST_BOX_PX]
    if other:
        worst = max(other, key=off.get)
        yield (
            f"the first box is not the data set's in {len(other)} sequences (most in {worst}: by "
            f"{off[worst]:.4g} px): another origin, or another release of the data"
        )


def _write(args, source, known, found):
    name = args.directory.name if args.name is None else args.name
    imported = {"layout": args.layout, "from": str(args.directory.absolute())}
    described = inputs.describe(source, checkpoint=None)
    try:
        with whole(args.out) as staging:
            identity.make_folder(
                staging, config={"name": name, "imported": imported}, inputs=described
            )
            for number, run in enumerate(found):
                folder = results.run_folder(staging, number)
                folder.mkdir(exist_ok=True)
                for sequence_name, result in run.items():
                    if result.boxes is None:
                        results.write_error(folder, sequence_name, f"{result.problem}\n")
                        continue
                    # Zeros: unknown. No frame rate is computed from them.
                    count, times_s = len(result.boxes), result.times_s
                    times_s = np.zeros(count) if times_s is None else times_s
                    results.write_sequence(
                        folder, sequence_name, result.boxes, times_s, scores=result.scores
                    )
            return summary.summarize(staging, known.sequences, known.rule, len(found))
    except OSError as error:
        raise InputError(f"{args.out}: cannot be written ({error.strerror})") from error


@command_line.command("imported", InputError)
def main(argv=None, prog="python -m dimp_jax.evaluation.imported") -> int:
    """Exit status: 0; 1 if sequences are missing; 2 after one line on stderr."""
    args = tyro.cli(Arguments, args=argv, prog=prog)
    report = import_results(args)
    console = terminal.console()
    console.print(summary.table(report.summary))
    for notice in report.notices:
        terminal.print_line(console, notice)
    counts = {"sequences": len(report.summary["sequences"]), "runs": report.summary["runs"]}
    print(f"{args.out}: " + ", ".join(f"{what}: {count}" for what, count in counts.items()))
    return int(bool(report.summary["failed"]))


if __name__ == "__main__":
    raise SystemExit(main())
