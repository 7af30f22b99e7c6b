"""Other pictures around a photograph, so that a search window is full of things.

A photograph's target is large in it: most of a window of five target sizes would repeat its border.
"""

import numpy as np

from dimp_jax.data.draws import Draws
from dimp_jax.media.opencv import cv2

NEIGHBOURS = 8


def surrounded(image: np.ndarray, box_xywh, pictures, draws: Draws):
    """Puts a picture in the middle of 3 x 3 of its size.

    Args:
      image: [H, W, 3] uint8. box_xywh: [4] its target.
      pictures: `NEIGHBOURS` of any size; each is mirrored at random, scaled and cut to [H, W].
      draws: one of U each.

    Returns:
      [3 H, 3 W, 3] uint8, and the box in it, float32.
    """
    height, width = image.shape[:2]
    cells = [_filled(picture, height, width, draws.random() < 0.5) for picture in pictures]
    cells.insert(NEIGHBOURS // 2, image)
    rows = [np.concatenate(cells[first : first + 3], axis=1) for first in (0, 3, 6)]
    x, y, w, h = np.asarray(box_xywh, np.float32)
    return np.concatenate(rows), np.array((x + width, y + height, w, h), np.float32)


def _filled(picture, height, width, mirrored):
    """The middle of a picture, as large as will fill the cell."""
    rows, cols = picture.shape[:2]
    scale = max(height / rows, width / cols)
    size = (max(round(cols * scale), width), max(round(rows * scale), height))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    cut = picture[top : top + height, left : left + width]
    return cut[:, ::-1] if mirrored else cut
