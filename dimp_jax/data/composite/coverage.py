"""How much of an outline is in the frame and not covered, counted without drawing it."""

import numpy as np

from dimp_jax.data.composite.motion import limits
from dimp_jax.media.opencv import cv2

_RASTER_PX = 48  # side of the grid on which areas are counted


def shares(own, covers, size_hw_px):
    """How much of an outline lies in the frame, and how much of that is covered.

    Counted on a grid of 48 x 48 cells over the outline: good to about 0.05.

    Args:
      own: [L, P, 2] the outline in each frame.
      covers: other outlines, each [L, P', 2].
      size_hw_px: [2] of the frame.

    Returns:
      inside: [L] share of the outline's area; covered: [L] share of that part.
    """
    length = len(own)
    inside, covered = np.ones(length), np.zeros(length)
    low, high = limits(own)
    limit = np.array(size_hw_px[::-1]) - 1.0
    cut = ((low < 0) | (high > limit)).any(axis=1)
    ends = [limits(cover) for cover in covers]
    meets = [(first < high).all(1) & (last > low).all(1) for first, last in ends]
    scale = (_RASTER_PX - 1) / np.maximum(high - low, 1e-6)
    own_cells, *cover_cells = (
        np.round(16 * np.clip((c - low[:, None]) * scale[:, None], -1000, 1000)).astype(np.int32)
        for c in (own, *covers)
    )
    first = np.clip(np.ceil(-low * scale), 0, _RASTER_PX).astype(int)
    last = np.clip(np.floor((limit - low) * scale) + 1, 0, _RASTER_PX).astype(int)
    for t in np.flatnonzero(np.any([cut, *meets], axis=0)):
        cells = np.zeros((_RASTER_PX, _RASTER_PX), np.uint8)
        cv2.fillPoly(cells, [own_cells[t]], 1, shift=4)
        area = cv2.countNonZero(cells)
        seen = np.zeros_like(cells)
        window = np.s_[first[t, 1] : last[t, 1], first[t, 0] : last[t, 0]]
        seen[window] = cells[window]
        left = cv2.countNonZero(seen)
        for meet, outline in zip(meets, cover_cells, strict=True):
            if meet[t]:
                cv2.fillPoly(seen, [outline[t]], 0, shift=4)
        inside[t] = left / area
        covered[t] = 1 - cv2.countNonZero(seen) / left if left else 1.0
    return inside, covered
