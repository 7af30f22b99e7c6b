"""What `evaluate.py` and `dimp-jax evaluate` do: options, exit statuses, errors on one line."""

import dataclasses
import sys
from typing import Literal

import tyro

from dimp_jax.host import command_line

FAILED = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(command_line.TrackerArguments):
    """Tracks in a video, a camera, sequences, a benchmark or the demo clip, and scores the result.

    Without --data, --dataset and --video, the demo: a short real video with ground truth. The same
    command given again goes on with the sequences that are missing or failed.
    """

    data: str | None = None
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    dataset: str | None = None
    """A benchmark: otb100, otb50, nfs, uav123, lasot, lasot_ext, trackingnet, got10k_val,
    got10k_test, vot2018."""

    data_dir: str | None = None
    """The folder of --dataset, in its official layout."""

    sequences: tuple[str, ...] = ()
    """Only these sequences of --data or --dataset."""

    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Only inspect --dataset: missing sequences and frames, wrong lengths, bad boxes."""

    video: str | None = None
    """A video file, or the number of a camera."""

    box: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """First box X,Y,W,H in 0-based pixels; again for each further target in the same video. Without
    it, --video lets you draw it with --show."""

    out: str | None = None
    """Folder of the results. Default: results/<config>[-<data>]."""

    redo_changed: tyro.conf.FlagCreatePairsOff[bool] = False
    """Track the sequences in OUT again whose files or first box have changed."""

    frames: int | None = None
    """Use only the first frames of each sequence."""

    rule: str | None = None
    """How boxes are scored: otb, uav, got10k, got10k_otb, lasot, trackingnet, pytracking,
    pytracking_int, pysot, visible. Default: the data set's official one; visible for your own."""

    runs: int = 1
    """Repeated runs; run r uses seed + r."""

    batch: int = 1
    """Sequences tracked at once in one program."""

    workers: int = 1
    """Processes that share the sequences."""

    save_video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write OUT/<sequence>.mp4 with the boxes drawn."""

    format: tuple[Literal["otb", "mot", "coco", "csv"], ...] = ()
    """Write the boxes in these formats, too: OUT/<format>/. What is tracked already, is not tracked
    again for it."""

    show: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open a window; q or escape stops."""

    distributed: command_line.Distributed = command_line.Distributed()


def parse(argv, prog) -> Arguments:
    """See `command_line.parse_tracker`."""
    return command_line.parse_tracker(Arguments, argv, prog=prog)


def main(argv=None, prog="evaluate.py") -> int:
    """Exit status: 0; 1 if a sequence failed or --check found something; 2 if the input cannot be
    used or a result cannot be written, after a line on stderr; 130 if stopped."""
    answered = command_line.command(
        prog, OSError, stopped="the same command goes on with the missing sequences"
    )
    return answered(_run)(sys.argv[1:] if argv is None else argv, prog)


def _run(argv, prog) -> int:
    try:
        args = parse(argv, prog)
    except (FileNotFoundError, ValueError) as error:
        return command_line.fail(prog, error)
    try:
        from dimp_jax.evaluation import session
        from dimp_jax.evaluation.runners.one_by_one import Stopped
        from dimp_jax.media.images import InputError
    except ImportError as error:  # OpenCV without its graphics libraries
        return command_line.fail(prog, error)
    try:
        good = session.check(args) if args.check else session.evaluate(args)
    except InputError as error:
        return command_line.fail(prog, error)
    except Stopped as error:
        raise KeyboardInterrupt from error
    return 0 if good else FAILED
