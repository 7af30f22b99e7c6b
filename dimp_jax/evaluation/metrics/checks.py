"""What rules demand before they score a prediction [M, 4]; each raises ValueError."""

import numpy as np


def shown(sequence):
    """[N] bool: the frames that are not flagged unseen."""
    count = len(sequence.groundtruth)
    if sequence.visible is None:
        return np.ones(count, bool)
    flags = np.array(sequence.visible, bool)
    if len(flags) != count:
        raise ValueError(f"{len(flags)} flags of visibility for {count} frames of ground truth")
    return flags


def same_length(predicted, truth):
    """Raises unless there is one box a frame."""
    if len(predicted) != len(truth):
        raise ValueError(
            f"{len(predicted)} predicted boxes for {len(truth)} frames: this rule wants one a frame"
        )


def refuse_nan(predicted, *, partly=False):
    """Raises for a NaN; with `partly`, only for a box of both numbers and NaN.

    The minima and maxima of MATLAB and pandas pass over a NaN, so that such a box can score there.
    """
    missing = np.isnan(predicted)
    rows = np.flatnonzero(missing.any(axis=1) & ~(partly & missing.all(axis=1)))
    if len(rows):
        raise ValueError(f"the predicted box of frame {rows[0] + 1} has a NaN in it")


def refuse_broken(predicted):
    """Raises for a NaN or a negative size."""
    refuse_nan(predicted)
    rows = np.flatnonzero((predicted[:, 2:] < 0).any(axis=1))
    if len(rows):
        raise ValueError(f"the predicted box of frame {rows[0] + 1} has a negative size")
