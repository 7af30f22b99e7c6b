"""Success, precision and normalised precision of predicted boxes, vectorised over frames.

The parts that the metric rules of `rules.py` are made of. `frame_errors` and `curves` are those of
"pytracking", the published tracker's toolkit, in which frames without ground truth count as
failures (or, for some data sets, as hits). Boxes are [x, y, w, h] in pixels; differences of centres
do not depend on whether a centre is `x + w/2` or `x + (w - 1)/2`, but for their rounding.
"""

from typing import Literal, NamedTuple

import numpy as np

Convention = Literal["otb", "lasot", "uav"]

SUCCESS_THRESHOLDS = np.arange(21) * 0.05  # overlap
PRECISION_THRESHOLDS_PX = np.arange(51.0)
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # centre error in ground truth sizes
FAILED_OVERLAP = -1.0  # fails every threshold, 0 included


class FrameErrors(NamedTuple):
    """Errors of N frames of one sequence."""

    overlap: np.ndarray  # [N] intersection over union; -1 where not valid
    center_px: np.ndarray  # [N]
    center_norm: np.ndarray  # [N] each axis divided by the ground truth's size
    valid: np.ndarray  # [N] bool


class Curves(NamedTuple):
    """Shares of frames at the thresholds of this module."""

    success: np.ndarray  # [21] overlap > threshold
    precision: np.ndarray  # [51] centre error <= 0 .. 50 px
    norm_precision: np.ndarray  # [51] normalised centre error <= 0 .. 0.50


def overlap(boxes_a, boxes_b):
    """Intersection over union of boxes [N, 4] and [N, 4]: [N]; NaN where both have no area."""
    low = np.maximum(boxes_a[:, :2], boxes_b[:, :2])
    high = np.minimum(boxes_a[:, :2] + boxes_a[:, 2:], boxes_b[:, :2] + boxes_b[:, 2:])
    intersection = np.prod(np.clip(high - low, 0.0, None), axis=1)
    union = np.prod(boxes_a[:, 2:], axis=1) + np.prod(boxes_b[:, 2:], axis=1) - intersection
    with np.errstate(invalid="ignore", divide="ignore"):
        return intersection / union


def center_offset(boxes_a, boxes_b):
    """Centre of a minus centre of b, [N, 2] pixels (x, y); exactly 0 for equal boxes."""
    difference = boxes_a - boxes_b
    return difference[:, :2] + difference[:, 2:] / 2


def pixel_center(boxes):
    """Centres of boxes [N, 4] where a box covers pixels x .. x + w - 1: [N, 2].

    The toolkits subtract these, and some divide them by a size before: the last bit, on which a tie
    with a threshold hangs, is theirs only in their order.
    """
    return boxes[:, :2] + (boxes[:, 2:] - 1) / 2


def fit_prediction(predicted, groundtruth, *, convention: Convention):
    """Repairs a prediction [M, 4] as the published toolkit does before it is scored: [N, 4].

    Longer predictions are cut, shorter ones padded with zeros. A box without width or height, where
    there is ground truth, becomes the one before it. The first box becomes the ground truth's.

    Raises:
      ValueError: a NaN or negative size; fewer boxes than frames under "lasot".
    """
    predicted = np.array(predicted[: len(groundtruth)], np.float64)
    missing = len(groundtruth) - len(predicted)
    if missing and convention == "lasot":
        raise ValueError(f"{len(predicted)} predicted boxes for {len(groundtruth)} frames")
    if np.isnan(predicted).any() or (predicted[:, 2:] < 0).any():
        raise ValueError("a predicted box is NaN or has a negative size")
    predicted[0] = groundtruth[0]
    annotated = ~np.isnan(groundtruth[: len(predicted)]).any(axis=1)
    for i in np.flatnonzero((predicted[:, 2:] == 0).any(axis=1) & annotated):
        if i > 0:
            predicted[i] = predicted[i - 1]
    return np.concatenate([predicted, np.zeros((missing, 4))])


def frame_errors(predicted, groundtruth, *, convention: Convention, visible=None):
    """Errors of every frame under a benchmark's convention (behaviour of the published toolkit).

    A frame is valid if all four ground truth numbers are > 0 (so a box at x = 0 is not) and it is
    visible. On the others the overlap is -1; the centre error is infinite, but -1, a hit at every
    threshold, under "uav"; the normalised error is -1, but infinite for "lasot" if not visible.

    Args:
      predicted: [M, 4], repaired by `fit_prediction`.
      groundtruth: [N, 4]; NaN is allowed under "uav" only.
      visible: [N] bool or None: all are.

    Raises:
      ValueError: NaN ground truth outside "uav", or what `fit_prediction` raises.
    """
    groundtruth = np.asarray(groundtruth, np.float64)
    if convention != "uav" and np.isnan(groundtruth).any():
        raise ValueError(f"NaN in the ground truth under the convention {convention!r}")
    predicted = fit_prediction(predicted, groundtruth, convention=convention)
    shown = np.ones(len(groundtruth), bool) if visible is None else np.asarray(visible, bool)
    valid = (groundtruth > 0).all(axis=1) & shown
    center, true_center = pixel_center(predicted), pixel_center(groundtruth)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = groundtruth[:, 2:]
        norm = np.linalg.norm(center / size - true_center / size, axis=1)
    unseen_norm = np.where(shown, -1.0, np.inf if convention == "lasot" else -1.0)
    return FrameErrors(
        overlap=np.where(valid, overlap(predicted, groundtruth), FAILED_OVERLAP),
        center_px=np.where(
            valid,
            np.linalg.norm(center - true_center, axis=1),
            -1.0 if convention == "uav" else np.inf,
        ),
        center_norm=np.where(valid, norm, unseen_norm),
        valid=valid,
    )


def curves(errors, *, exclude_invalid_frames=False):
    """Success, precision and normalised precision of one sequence.

    With `exclude_invalid_frames` the counts are divided by the number of valid frames, not of all.
    As recorded from the published toolkit, only the denominator changes: an invalid frame whose
    error is -1 stays a hit, and a precision can pass 1.

    Raises:
      ValueError: frames are excluded and none is valid.
    """
    count = np.count_nonzero(errors.valid) if exclude_invalid_frames else len(errors.valid)
    if count == 0:
        raise ValueError("no frame to count: none has valid ground truth")
    return Curves(
        success=success_curve(errors.overlap, SUCCESS_THRESHOLDS, count),
        precision=error_curve(errors.center_px, PRECISION_THRESHOLDS_PX, count),
        norm_precision=error_curve(errors.center_norm, NORM_PRECISION_THRESHOLDS, count),
    )


def success_curve(overlaps, thresholds, count, *, reached=False):
    """[T] of overlaps [F] > thresholds [T] (>= if `reached`), their number divided by `count`."""
    compare = np.greater_equal if reached else np.greater
    return compare(overlaps[:, None], thresholds).sum(axis=0) / count


def error_curve(errors, thresholds, count):
    """[T] of errors [F] <= thresholds [T], their number divided by `count`."""
    return (errors[:, None] <= thresholds).sum(axis=0) / count


def polygon_to_box(polygons, *, method: Literal["preserve_area", "union"]):
    """Four-cornered VOT regions [N, 8] (x1, y1, .. x4, y4) as boxes [N, 4].

    "union" is the bounding rectangle. "preserve_area" keeps the mean of the corners as centre, and
    shrinks the rectangle to the area spanned by the first two sides; VOT's pixel adds 1 to a size.
    """
    corners = np.asarray(polygons, np.float64).reshape(-1, 4, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    if method == "union":
        return np.concatenate([low, high - low], axis=1)
    sides = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2)  # [N, 2]
    scale = np.sqrt(sides.prod(axis=1) / (high - low).prod(axis=1))
    size = scale[:, None] * (high - low) + 1
    return np.concatenate([corners.mean(axis=1) - size / 2, size], axis=1)
