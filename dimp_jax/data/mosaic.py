"""Other pictures around a photograph, so that a search window is full of things.

A photograph's target is large in it: most of a window of five target sizes would repeat its border.
"""

from typing import NamedTuple

import numpy as np

from dimp_jax.data.draws import Draws
from dimp_jax.data.source import Frame
from dimp_jax.media.opencv import cv2

NEIGHBOURS = 8


class Cell(NamedTuple):
    """What lies beside the picture in the middle, in one of eight places."""

    index: int  # of the picture
    mirrored: bool


def draw_cells(count: int, draws: Draws) -> list[Cell]:
    """`NEIGHBOURS` of `count` pictures, each mirrored or not; as many of U, then again."""
    indices = [draws.integer(0, count - 1) for _ in range(NEIGHBOURS)]
    return [Cell(index, draws.random() < 0.5) for index in indices]


def surrounded(frame: Frame, cells, read) -> Frame:
    """A frame in the middle of 3 x 3 of its size, as a sketch: see `source.Sketch`.

    Args:
      frame: its image is an array.
      cells: `Cell` from above and left to below and right.
      read: the picture [h, w, 3] uint8 of an index; it is scaled, and cut to the frame's size. Only
        those are read that are looked at.
    """
    height, width = frame.image.shape[:2]
    x, y, w, h = np.asarray(frame.box_xywh, np.float32)
    box = np.array((x + width, y + height, w, h), np.float32)
    return Frame(_Mosaic(frame.image, cells, read), box)


class _Mosaic:
    def __init__(self, middle, cells, read):
        self._middle, self._read = middle, read
        self._cells = [*cells[: NEIGHBOURS // 2], None, *cells[NEIGHBOURS // 2 :]]
        self._cell_hw = middle.shape[:2]
        self.shape = (3 * middle.shape[0], 3 * middle.shape[1], 3)

    def within(self, low_xy, high_xy) -> np.ndarray:
        height, width = self._cell_hw
        canvas = np.empty(self.shape, np.uint8)
        (left, top), (right, bottom) = low_xy, high_xy
        for row in range(top // height, (bottom - 1) // height + 1):
            for col in range(left // width, (right - 1) // width + 1):
                place = canvas[row * height :, col * width :][:height, :width]
                cell = self._cells[3 * row + col]
                if cell is None:
                    place[:] = self._middle
                else:
                    _fill(place, self._read(cell.index), cell.mirrored)
        return canvas


def _fill(place, picture, mirrored):
    """Draws the middle of a picture, as large as will fill the cell."""
    height, width = place.shape[:2]
    rows, cols = picture.shape[:2]
    scale = max(height / rows, width / cols)
    size = (max(round(cols * scale), width), max(round(rows * scale), height))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    cut = picture[top : top + height, left : left + width]
    place[:] = cv2.flip(cut, 1) if mirrored else cut
