"""Trackers side by side: which lost the target early, the tables, and the aim of the project."""

import numpy as np
from rich.table import Table

from dimp_jax.evaluation import results, summary
from dimp_jax.evaluation.metrics import curves
from dimp_jax.media.sequences import present

EARLY_FRAMES = 50
LOST_FRAMES = 10


def lost_at(predicted, groundtruth) -> int | None:
    """The frame at which a tracker loses the target for good or for long.

    That is the first frame of the first run of at least `LOST_FRAMES` frames with an overlap of
    exactly 0, or of a shorter run that lasts to the end. Frames without ground truth are passed
    over: they neither count nor end a run.

    Args:
      predicted: [N, 4]. groundtruth: [N, 4], NaN where absent.

    Returns:
      its index (the first frame of a sequence is 0), or None.
    """
    frames = np.flatnonzero(present(groundtruth))
    missed = ~(curves.overlap(predicted[frames], groundtruth[frames]) > 0)
    run = 0
    for place, miss in enumerate(missed):
        run = run + 1 if miss else 0
        if run >= LOST_FRAMES or (run and place == len(frames) - 1):
            return int(frames[place - run + 1])
    return None


def is_early(frame: int | None) -> bool:
    """Whether a result of `lost_at` is in the first `EARLY_FRAMES` frames."""
    return frame is not None and frame < EARLY_FRAMES


def entry(folder, sequences, scores) -> dict:
    """A tracker's `summary.summarize` with the frame of its loss in every sequence."""
    at = lambda s: lost_at(results.read_sequence(folder, s.name)[0], s.groundtruth)
    return scores | {"lost_at": {s.name: at(s) for s in sequences}}


def lost_though_kept(entry: dict, other: dict) -> list[str]:
    """Sequences that a tracker loses early and the other one does not."""
    return [
        name
        for name, frame in entry["lost_at"].items()
        if is_early(frame) and not is_early(other["lost_at"][name])
    ]


def per_sequence(entries: dict) -> Table:
    """Success AUC of every sequence and tracker."""
    shown = Table(title="success AUC", caption=f"x: lost in the first {EARLY_FRAMES} frames")
    shown.add_column("sequence", overflow="fold")
    for name in entries:
        shown.add_column(name, justify="right")
    for sequence in next(iter(entries.values()))["sequences"]:
        cells = []
        for values in entries.values():
            mark = " x" if is_early(values["lost_at"][sequence]) else ""
            cells.append(_number(values["sequences"][sequence]["auc"], ".3f") + mark)
        shown.add_row(sequence, *cells)
    shown.add_section()
    means = (_number(values["mean"]["auc"], ".3f") for values in entries.values())
    shown.add_row("mean", *means, style="bold")
    return shown


def per_tracker(entries: dict) -> Table:
    """Means over the sequences, frames a second, and what was lost early."""
    shown = Table(
        caption="frames/s: mean over sequences of the tracked frames / their times, without "
        f"decoding and the first {results.WARM_UP_FRAMES}; lost: from that frame on, no overlap "
        f"for {LOST_FRAMES} frames or to the end"
    )
    shown.add_column("tracker", overflow="fold")
    for heading in ("AUC", "prec. 20 px", "norm. 0.20", "frames/s"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column(f"lost in the first {EARLY_FRAMES} frames", overflow="fold")
    for name, values in entries.items():
        mean = values["mean"]
        lost = [f"{s} ({at})" for s, at in values["lost_at"].items() if is_early(at)]
        shown.add_row(
            name,
            *(_number(mean[key], ".3f") for key in summary.METRICS),
            _number(mean["fps"], ".1f"),
            ", ".join(lost) or "none",
        )
    return shown


def _number(value, form):
    return "-" if value is None else format(value, form)
