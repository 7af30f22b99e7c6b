"""Success and precision of predicted boxes as curves, and what they are made of, over all frames.

Boxes are [x, y, w, h] in pixels; differences of centres do not depend on whether a centre is
`x + w/2` or `x + (w - 1)/2`, but for their rounding.
"""

import numpy as np

SUCCESS_THRESHOLDS = np.arange(21) * 0.05  # overlap
PRECISION_THRESHOLDS_PX = np.arange(51.0)
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # centre error in ground truth sizes
FAILED_OVERLAP = -1.0  # fails every threshold, 0 included


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


def success_curve(overlaps, thresholds, count, *, reached=False):
    """[T] of overlaps [F] > thresholds [T] (>= if `reached`), their number divided by `count`."""
    compare = np.greater_equal if reached else np.greater
    return compare(overlaps[:, None], thresholds).sum(axis=0) / count


def error_curve(errors, thresholds, count):
    """[T] of errors [F] <= thresholds [T], their number divided by `count`."""
    return (errors[:, None] <= thresholds).sum(axis=0) / count


def polygon_to_box(polygons):
    """Four-cornered VOT regions [N, 8] (x1, y1, .. x4, y4) as boxes [N, 4] of the same area.

    The bounding rectangle is moved to the mean of the corners, and shrunk to the area spanned by
    the first two sides; VOT's pixel adds 1 to a size.
    """
    corners = np.asarray(polygons, np.float64).reshape(-1, 4, 2)
    extent = np.ptp(corners, axis=1)
    sides = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2)  # [N, 2]
    size = np.sqrt(sides.prod(axis=1) / extent.prod(axis=1))[:, None] * extent + 1
    return np.concatenate([corners.mean(axis=1) - size / 2, size], axis=1)
