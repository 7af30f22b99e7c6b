"""How good a network refines boxes, by itself: numbers by level of jitter, sequence and step.

What is tried is in `trials.py`.
"""

import dataclasses

import numpy as np

from dimp_jax.evaluation.metrics import curves
from dimp_jax.media.images import InputError
from dimp_jax.studies.study import check_counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is tried."""

    frames_per_sequence: int = 20
    """Frames with jittered boxes, evenly spaced."""

    levels: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.05, 0.05), (0.1, 0.15), (0.2, 0.3))
    """Jitter: sigma of the centre in sqrt(w h), sigma of log w and of log h."""

    drift_starts: int = 2
    """Frames of a sequence from which drift is measured; 0: it is not."""

    one_frame_steps: tuple[int, ...] = (1, 5, 10, 20, 50)
    """Refinements of its own output on one frame after which the box is judged."""

    video_steps: tuple[int, ...] = (10, 25, 50)
    """Frames along the video after which the box is judged."""


def check_options(options: Options) -> None:
    """Raises InputError unless the numbers make sense."""
    check_counts(options, ("frames_per_sequence",))
    check_counts(options, ("drift_starts",), "0 or more", least=0)
    check_counts(options, ("one_frame_steps", "video_steps"), "at least 1, each")
    if not options.levels:
        raise InputError("--levels: expected at least one pair of sigmas")
    for level in options.levels:
        if not all(np.isfinite(level)) or min(level) < 0:
            raise InputError(f"--levels {level[0]:g} {level[1]:g}: expected two sigmas >= 0")


def measure(tracker, found, options: Options, seed: int, opened) -> dict:
    """Measures the refinement of a tracker's network, or what is missing of it.

    Args:
      tracker: a `Tracker` whose refine.method is "iou" or "iou_relative".
      found: image sequences (`sequences.load_folder`). Those without ground truth after the first
        frame are left out.
      options: what is tried. seed: of all randomness.
      opened: the `Study`, with a unit for each finished sequence.

    Returns:
      JSON types. "jitter": a list, one entry a level, of {"center_sigma", "log_size_sigma",
      "sequences": {name: row}, "mean": row} with the rows of `jitter_row`. "one_frame" and "video"
      (None without drift): {"steps": [...], "sequences": {name: rows}, "mean": rows}, a
      `drift_row` each step. A mean is over sequences; a value that does not exist is None.

    Raises:
      ValueError: a tracker without IoU network.
      InputError: no usable sequence, or an unusable image.
    """
    from dimp_jax.studies.refinement import trials

    check_options(options)
    trials.check(tracker)
    sequences = trials.measurable(found)
    for sequence in sequences:
        if opened.unit(sequence.name) is None:
            target = trials.open_target(tracker, sequence, seed)
            opened.record(sequence.name, of_target(tracker, target, options, seed))
    return together({s.name: opened.unit(s.name) for s in sequences}, options)


def of_target(tracker, target, options: Options, seed: int) -> dict:
    """The rows of one sequence: {"jitter": one a level, "one_frame", "video": one a step}."""
    from dimp_jax.studies.refinement import trials

    arrays = trials.from_jitter(tracker, target, options.levels, options.frames_per_sequence, seed)
    levels = range(len(options.levels))
    rows = {"jitter": [jitter_row(*(boxes[:, k] for boxes in arrays)) for k in levels]}
    walks = {"one_frame": trials.on_one_frame, "video": trials.along_the_video}
    for key, steps in drifts(options).items():
        boxes, truth = walks[key](tracker, target, options.drift_starts, max(steps))
        rows[key] = [drift_row(boxes[step - 1], truth[step - 1]) for step in steps]
    return rows


def drifts(options: Options) -> dict:
    """{"one_frame", "video": steps} of those that are measured."""
    steps = {"one_frame": options.one_frame_steps, "video": options.video_steps}
    return {key: of for key, of in steps.items() if options.drift_starts and of}


def together(units: dict, options: Options) -> dict:
    """What `measure` returns, of {sequence: rows as of `of_target`}."""
    levels = []
    for k, (center_sigma, log_size_sigma) in enumerate(options.levels):
        level = {"center_sigma": center_sigma, "log_size_sigma": log_size_sigma}
        rows = {name: of["jitter"][k] for name, of in units.items()}
        levels.append(level | {"sequences": rows, "mean": mean_row(list(rows.values()))})
    report = {"jitter": levels, "one_frame": None, "video": None}
    for key, steps in drifts(options).items():
        rows = {name: of[key] for name, of in units.items()}
        means = [mean_row(column) for column in zip(*rows.values(), strict=True)]
        report[key] = {"steps": list(steps), "sequences": rows, "mean": means}
    return report


def jitter_row(before, after, truth) -> dict:
    """Means over N boxes [N, 4] before and after a refinement, against the ground truth.

    Returns:
      "iou_before", "iou_after"; "improved": share of boxes whose IoU rose; "log_width" and
      "log_height": of size / true size, 0 without bias; "center_x", "center_y" (signed) and
      "center_error" (length) of the offset in units of sqrt(true w h).
    """
    iou_before, iou_after = curves.overlap(before, truth), curves.overlap(after, truth)
    log_size = np.log(after[:, 2:] / truth[:, 2:])
    offset = curves.center_offset(after, truth) / np.sqrt(truth[:, 2:].prod(1, keepdims=True))
    return {
        "iou_before": average(iou_before),
        "iou_after": average(iou_after),
        "improved": average(iou_after > iou_before),
        "log_width": average(log_size[:, 0]),
        "log_height": average(log_size[:, 1]),
        "center_x": average(offset[:, 0]),
        "center_y": average(offset[:, 1]),
        "center_error": average(np.linalg.norm(offset, axis=1)),
    }


def drift_row(boxes, truth) -> dict:
    """Means over N boxes [N, 4] (NaN: none) against the ground truth.

    Returns:
      "iou"; "log_size": of sqrt(w h) relative to the true one, and "log_size_abs", its magnitude;
      "log_aspect": of w / h relative to the true one.
    """
    there = np.isfinite(boxes).all(1) & np.isfinite(truth).all(1)
    boxes, truth = boxes[there], truth[there]
    log_wh = np.log(boxes[:, 2:] / truth[:, 2:])
    return {
        "iou": average(curves.overlap(boxes, truth)),
        "log_size": average(log_wh.mean(1)),
        "log_size_abs": average(abs(log_wh.mean(1))),
        "log_aspect": average(log_wh[:, 0] - log_wh[:, 1]),
    }


def average(values) -> float | None:
    """The mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None


def mean_row(rows) -> dict:
    """The mean of every entry over rows, those that are None left out."""
    return {key: average([r[key] for r in rows if r[key] is not None]) for key in rows[0]}
