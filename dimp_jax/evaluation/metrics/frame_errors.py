"""Errors of every counted frame as each toolkit takes them: one function a rule of `rules.py`.

Each takes the predicted boxes [M, 4] and the sequence, whose ground truth [N, 4] is in the data
set's own numbers, repairs or refuses the prediction as the toolkit does, and returns `Errors`.

Several toolkits count inclusive pixels (a right edge at `x + w - 1`, a width of `right - left + 1`)
or centres at `x + (w - 1)/2`. For boxes that are given as x, y, w, h the ones cancel: in overlaps
and in differences of centres nothing is left of them but the order of rounding.
"""

from typing import Literal, NamedTuple

import numpy as np

from dimp_jax.evaluation.metrics import checks, curves
from dimp_jax.media.sequences import present

HIT = -1.0  # a centre error below every threshold


class Errors(NamedTuple):
    """Errors of F frames; a NaN fails every threshold."""

    overlap: np.ndarray  #: [F] -1 fails every threshold
    center_px: np.ndarray | None  #: [F] None: the toolkit has none
    center_norm: np.ndarray | None  #: [F] in ground truth sizes
    length: int  #: what counts are divided by; can be more than F


def visible(predicted, sequence) -> Errors:
    """This project's rule: float boxes; frames without a box, or flagged unseen, are left out.

    Raises:
      ValueError: the lengths differ, or a NaN or negative size is predicted.
    """
    truth = sequence.groundtruth
    checks.same_length(predicted, truth)
    checks.refuse_broken(predicted)
    counted = present(truth) & checks.shown(sequence)
    predicted, truth = predicted[counted], truth[counted]
    offset = curves.center_offset(predicted, truth)
    return Errors(
        curves.overlap(predicted, truth),
        np.linalg.norm(offset, axis=1),
        np.linalg.norm(offset / truth[:, 2:], axis=1),
        len(truth),
    )


def pytracking(predicted, sequence) -> Errors:
    """`published`; the convention is "lasot" with flags, "uav" with NaN, else "otb".

    Raises:
      ValueError: flags of another length, or what `published` raises.
    """
    absent = np.isnan(sequence.groundtruth).any()
    convention = "lasot" if sequence.visible is not None else "uav" if absent else "otb"
    return published(predicted, sequence.groundtruth, convention, checks.shown(sequence))


def published(predicted, truth, convention: Literal["otb", "lasot", "uav"], shown) -> Errors:
    """The toolkit of the published tracker, pytracking, on one of its kinds of data set.

    Longer predictions are cut, shorter ones padded with zeros; the first box becomes the ground
    truth's, and one without width or height, where there is ground truth, the one before it.

    A frame is valid if all four ground truth numbers are > 0 (so a box at x = 0 is not) and it is
    shown. On the others the overlap is -1; the centre error is infinite, but -1, a hit at every
    threshold, under "uav"; the normalised error is -1, but infinite for "lasot" if not shown.

    Args:
      truth: [N, 4]; NaN is allowed under "uav" only.
      shown: [N] bool.

    Raises:
      ValueError: a NaN or negative size; fewer boxes than frames under "lasot"; a NaN in `truth`.
    """
    if convention != "uav" and np.isnan(truth).any():
        raise ValueError(f"NaN in the ground truth under the convention {convention!r}")
    predicted = np.array(predicted[: len(truth)], np.float64)
    missing = len(truth) - len(predicted)
    if missing and convention == "lasot":
        raise ValueError(f"{len(predicted)} predicted boxes for {len(truth)} frames")
    if np.isnan(predicted).any() or (predicted[:, 2:] < 0).any():
        raise ValueError("a predicted box is NaN or has a negative size")
    predicted[0] = truth[0]
    broken = (predicted[:, 2:] == 0).any(axis=1)
    predicted = _copy_previous(predicted, truth[: len(predicted)], broken)
    predicted = np.concatenate([predicted, np.zeros((missing, 4))])
    valid = (truth > 0).all(axis=1) & shown
    center_px, center_norm = _center_errors(predicted, truth, truth[:, 2:])
    return Errors(
        np.where(valid, curves.overlap(predicted, truth), curves.FAILED_OVERLAP),
        np.where(valid, center_px, HIT if convention == "uav" else np.inf),
        np.where(valid, center_norm, np.where(shown | (convention != "lasot"), HIT, np.inf)),
        len(truth),
    )


def pytracking_int(predicted, sequence) -> Errors:
    """`pytracking` on boxes cut toward zero to integers, as its tracker saves them."""
    return pytracking(np.trunc(predicted), sequence)


def otb(predicted, sequence) -> Errors:
    """The MATLAB toolkit of OTB, whose copy scores UAV123.

    A frame whose four ground truth numbers are not all > 0 (a box at x = 0, or NaN) has overlap -1,
    a failure, and centre error -1, a hit at every threshold. A predicted box that is NaN or without
    width or height becomes the one before it; the first one becomes the ground truth's.

    Raises:
      ValueError: the lengths differ (the toolkit stops at it, too), or a box is NaN in part.
    """
    truth = sequence.groundtruth
    checks.same_length(predicted, truth)
    checks.refuse_nan(predicted, partly=True)
    broken = np.isnan(predicted).all(axis=1) | (predicted[:, 2:] <= 0).any(axis=1)
    predicted = _copy_previous(predicted, truth, broken)
    return _minus_one_unless_positive(predicted, truth, len(truth))._replace(center_norm=None)


def lasot(predicted, sequence) -> Errors:
    """The MATLAB toolkit of LaSOT: as `otb`, but absent frames are removed, and still divided by.

    Longer predictions are cut (its ground truth of monkey-17 is shorter than the video).

    Raises:
      ValueError: fewer boxes than frames.
    """
    truth = sequence.groundtruth
    predicted = predicted[: len(truth)]
    checks.same_length(predicted, truth)
    broken = np.isnan(predicted).any(axis=1) | (predicted[:, 2:] <= 0).any(axis=1)
    predicted = _copy_previous(predicted, truth, broken)
    shown = checks.shown(sequence)
    return _minus_one_unless_positive(predicted[shown], truth[shown], len(truth))


def trackingnet(predicted, sequence) -> Errors:
    """The devkit of TrackingNet: predicted and true boxes rounded to integers (half to even).

    The first box becomes the ground truth's. Longer predictions are cut; a missing box, and one
    that is NaN, fails.

    Raises:
      ValueError: a box is NaN in part.
    """
    truth = np.round(sequence.groundtruth)
    checks.refuse_nan(predicted, partly=True)
    boxes = np.full(truth.shape, np.nan)
    given = min(len(predicted), len(truth))
    boxes[:given] = np.round(predicted[:given])
    boxes[0] = truth[0]
    offset, size = curves.center_offset(boxes, truth), truth[:, 2:]
    with np.errstate(invalid="ignore", divide="ignore"):  # a size of 0
        norm_squared = offset / size * offset / size  # in the devkit's order of rounding
    return Errors(
        curves.overlap(boxes, truth),
        np.linalg.norm(offset, axis=1),
        np.sqrt(norm_squared.sum(axis=1)),
        len(truth),
    )


def pysot(predicted, sequence) -> Errors:
    """pysot's toolkit: no repairs, the first frame as predicted.

    Overlap is -1, a failure, where the true box has no area, but a centre error is -1, a hit, where
    the true centre `x + (w - 1)/2` (for the normalised error: divided by the size) is not > 0 in x
    and y. Frames flagged unseen are removed, and still divided by. A NaN box fails.

    Raises:
      ValueError: the lengths differ; a longer one is cut where the data set has flags (LaSOT).
    """
    truth, shown = sequence.groundtruth, checks.shown(sequence)
    length = len(truth)
    predicted = predicted if sequence.visible is None else predicted[:length]
    checks.same_length(predicted, truth)
    predicted, truth = predicted[shown], truth[shown]
    size = truth[:, 2:] + 1e-16  # theirs, against a division by 0
    center = curves.pixel_center(truth)
    center_px, center_norm = _center_errors(predicted, truth, size)
    has_area = (truth[:, 2:] > 0).all(axis=1)
    kept = lambda values, place: np.where((place > 0).all(axis=1), values, HIT)
    return Errors(
        np.where(has_area, curves.overlap(predicted, truth), curves.FAILED_OVERLAP),
        kept(center_px, center),
        kept(center_norm, center / size),
        length,
    )


def got10k(predicted, sequence) -> Errors:
    """The GOT-10k package on its own data: every seen frame but the first, clipped to the image.

    A frame whose ground truth is NaN counts as unseen. Without `bound_wh` nothing is clipped.

    Raises:
      ValueError: the lengths differ, or a box is NaN (the package's average would be NaN).
    """
    truth = sequence.groundtruth
    checks.same_length(predicted, truth)
    checks.refuse_nan(predicted)
    counted = checks.shown(sequence) & ~np.isnan(truth).any(axis=1)
    counted[0] = False
    predicted, truth = predicted[counted], truth[counted]
    if sequence.bound_wh is not None:
        predicted, truth = (_clip(boxes, sequence.bound_wh) for boxes in (predicted, truth))
    return Errors(_guarded_overlap(predicted, truth), None, None, len(truth))


def got10k_otb(predicted, sequence) -> Errors:
    """The GOT-10k package's report for OTB and data sets like it.

    Frames whose ground truth is NaN are dropped; the first box becomes the ground truth's. A true
    box without an area stays, with overlap 0; normalised errors are in sizes of at least 1 px.

    Raises:
      ValueError: the lengths differ, or a box is NaN.
    """
    truth = sequence.groundtruth
    checks.same_length(predicted, truth)
    checks.refuse_nan(predicted)
    predicted = np.concatenate([truth[:1], predicted[1:]])
    annotated = ~np.isnan(truth).any(axis=1)
    predicted, truth = predicted[annotated], truth[annotated]
    offset = curves.pixel_center(predicted) - curves.pixel_center(truth)
    return Errors(
        _guarded_overlap(predicted, truth),
        np.linalg.norm(offset, axis=1),
        np.linalg.norm(offset / np.maximum(truth[:, 2:], 1.0), axis=1),
        len(truth),
    )


def _minus_one_unless_positive(predicted, truth, length):
    valid = (truth > 0).all(axis=1)
    center_px, center_norm = _center_errors(predicted, truth, truth[:, 2:])
    return Errors(
        np.where(valid, curves.overlap(predicted, truth), curves.FAILED_OVERLAP),
        np.where(valid, center_px, HIT),
        np.where(valid, center_norm, HIT),
        length,
    )


def _center_errors(predicted, truth, size):
    """Distances of centres [F] in pixels, and of centres that were divided by `size` [F, 2]."""
    center, true_center = curves.pixel_center(predicted), curves.pixel_center(truth)
    with np.errstate(invalid="ignore", divide="ignore"):  # a size of 0
        normalised = center / size - true_center / size
    return np.linalg.norm(center - true_center, axis=1), np.linalg.norm(normalised, axis=1)


def _copy_previous(predicted, truth, broken):
    """Broken boxes become the one before, where there is ground truth; the first is given last."""
    predicted = np.array(predicted)
    annotated = ~np.isnan(truth).any(axis=1)
    for i in np.flatnonzero(broken & annotated):
        if i > 0:
            predicted[i] = predicted[i - 1]
    predicted[0] = truth[0]
    return predicted


def _guarded_overlap(predicted, truth):
    """[F] overlap in [0, 1]; 0 where neither box has an area."""
    overlap = curves.overlap(predicted, truth)
    return np.clip(np.where(np.isnan(overlap), 0.0, overlap), 0.0, 1.0)


def _clip(boxes, bound_wh):
    """Boxes [F, 4] cut to the image of size `bound_wh`, as the package does it.

    The corner is moved into the image before the size is cut, and the size is not reduced by that
    move: a box that begins left of the image keeps its width.
    """
    corner = np.clip(boxes[:, :2], 0.0, bound_wh)
    return np.concatenate([corner, np.clip(boxes[:, 2:], 0.0, bound_wh - corner)], axis=1)
