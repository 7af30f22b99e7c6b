"""Frame strips: a few frames of a clip, cut around the target, with the boxes of all trackers."""

import math
from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation.metrics import curves
from dimp_jax.media import draw, sequences
from dimp_jax.media.images import ImageFrames, InputError, read_image
from dimp_jax.media.opencv import cv2

FRAMES = 6
TILE_WH = (320, 240)  # pixels
JPEG_QUALITY = 80
CONTEXT = 5.0  # width of a cut, in sizes of the target
TRUTH_RGB = (255, 255, 255)
OUTSIDE_RGB = (96, 96, 96)
EDGE_RGB = (0, 0, 0)  # around the ground truth, which is white on anything


class Tile(NamedTuple):
    """One frame of a strip."""

    frame: int
    jpeg: bytes
    overlaps: dict[str, float | None]  # by tracker; None: the target is absent, or no box


class Strip(NamedTuple):
    """One clip."""

    sequence: str
    tiles: list[Tile]
    overlaps: dict[str, np.ndarray]  # by tracker [N], NaN where there is nothing to compare
    problem: str | None  # why there are no tiles


def make_strip(sequence, boxes, colors_rgb, *, frames=FRAMES, tile_wh=TILE_WH) -> Strip:
    """Decodes and draws evenly spaced frames, the first and the last among them.

    Args:
      sequence: a `Sequence` with ground truth.
      boxes: for each tracker [M, 4].
      colors_rgb: for each tracker (r, g, b) in 0..255.
    """
    truth = sequence.groundtruth
    if sequence.frames.exact:  # data sets have annotations that go on beyond the last frame
        truth = truth[: sequence.frames.count]
    overlaps = {name: frame_overlaps(values, truth) for name, values in boxes.items()}
    indices = np.unique(np.linspace(0, len(truth) - 1, frames).round().astype(int))
    tiles, problem = [], None
    present = sequences.present(truth)
    try:
        for index, image in zip(indices, read_frames(sequence, indices), strict=True):
            at = {name: b[index] for name, b in boxes.items() if index < len(b)}
            drawn = draw_tile(
                image, truth[index] if present[index] else None, at, colors_rgb, tile_wh=tile_wh
            )
            known = {
                name: float(v[index]) if np.isfinite(v[index]) else None
                for name, v in overlaps.items()
            }
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            jpeg = cv2.imencode(".jpg", drawn[..., ::-1], quality)[1].tobytes()
            tiles.append(Tile(int(index), jpeg, known))
    except InputError as error:  # the boxes were scored: the page must not be lost for a picture
        problem = str(error)
    return Strip(sequence.name, tiles, overlaps, problem)


def frame_overlaps(predicted, truth) -> np.ndarray:
    """Intersection over union of every frame: [N]; NaN where either box is missing."""
    values = np.full(len(truth), np.nan)
    count = min(len(predicted), len(truth))
    present = sequences.present(truth[:count])
    values[:count][present] = curves.overlap(predicted[:count][present], truth[:count][present])
    return values


def read_frames(sequence, indices):
    """Yields the frames at ascending indices, uint8 RGB [H, W, 3].

    Raises:
      InputError: one cannot be read, or the video ends before.
    """
    if isinstance(sequence.frames, ImageFrames):
        yield from (read_image(sequence.frames.paths[index]) for index in indices)
        return
    wanted = [int(index) for index in indices]
    for index, (_, image) in enumerate(sequence.images()):
        if index == wanted[0]:
            yield image
            wanted.pop(0)
            if not wanted:
                return
    raise InputError(f"{sequence.name}: the video ends before frame {wanted[0]}")


def draw_tile(image, truth, boxes, colors_rgb, *, tile_wh=TILE_WH) -> np.ndarray:
    """Cuts a frame around the boxes, and draws them: uint8 RGB [h, w, 3].

    Args:
      image: uint8 RGB [H, W, 3].
      truth: [4] x, y, w, h in pixels of `image`; None: absent.
      boxes: for each tracker [4].
    """
    window = cut_window(image.shape[:2], truth, list(boxes.values()), tile_wh[0] / tile_wh[1])
    x, y, width, height = (round(value) for value in window)
    rows, columns = image.shape[:2]
    part = image[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    beyond = (max(-y, 0), max(y + height - rows, 0), max(-x, 0), max(x + width - columns, 0))
    part = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_CONSTANT, value=OUTSIDE_RGB)
    shrinks = width > tile_wh[0]
    tile = cv2.resize(part, tile_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    scale = tile_wh[0] / width
    to_tile = lambda box: (np.asarray(box) - [x, y, 0, 0]) * scale
    if truth is not None:
        draw.rectangle(tile, to_tile(truth), EDGE_RGB, 4, exact=True)
        draw.rectangle(tile, to_tile(truth), TRUTH_RGB, 2, exact=True)
    for name, box in boxes.items():
        draw.rectangle(tile, to_tile(box), colors_rgb[name], 2, exact=True)
    return tile


def cut_window(image_size_hw, truth, boxes, aspect: float):
    """What to show of a frame, x, y, w, h in pixels: all boxes, and the target with its context.

    A tracker that is far off shows by how small the rest becomes. The window is at most as large as
    the image, and inside it, unless the image is too flat or too high for `aspect` (w / h).
    """
    rows, columns = image_size_hw
    known = [np.asarray(box, np.float64) for box in (truth, *boxes) if box is not None]
    known = [box for box in known if np.isfinite(box).all()]
    whole = max(columns, rows * aspect)  # width of a window that holds the image
    if not known:
        low, high, side = np.zeros(2), np.array([columns, rows], float), whole
    else:
        corners = np.array([[*box[:2], *(box[:2] + box[2:])] for box in known])
        limit = [columns, rows]
        low = np.clip(corners[:, :2].min(axis=0), 0, limit)
        high = np.clip(corners[:, 2:].max(axis=0), 0, limit)
        side = CONTEXT * math.sqrt(max(known[0][2] * known[0][3], 1.0))
    need = 1.15 * (high - low)
    width = min(max(need[0], need[1] * aspect, side), whole)
    size = np.array([width, width / aspect])
    corner = (low + high - size) / 2
    room = np.array([columns, rows]) - size
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2)
    return (*corner, *size)
