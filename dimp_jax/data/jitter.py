"""Random changes of a training frame and of the box that places its crop (behaviour 4.2).

Boxes are (left, top, width, height), 0-based pixels.
"""

import numpy as np

from dimp_jax.data.draws import Draws
from dimp_jax.media.opencv import cv2

F32 = np.float32
PART_SIDES = (0.35, 0.85)
MIN_PART_PX = 12


def jitter_box(
    box_xywh, center_jitter: float, scale_jitter: float, draws: Draws, stretch_wh=(1.0, 1.0)
) -> np.ndarray:
    """Boxes of another size and centre, around which the crops are cut.

    The size is multiplied by exp(scale_jitter * N(0, 1)) along each axis; then the centre moves by
    center_jitter * U(-1/2, 1/2) along each axis, in units of the geometric mean of the new sides.

    Args:
      box_xywh: [..., 4]; width and height positive.
      draws: two of Z for each box, and two of U for each.
      stretch_wh: [..., 2] of product 1, by which the image is to appear wider and higher: the
        centre moves as far as it would in the stretched image.

    Returns:
      [..., 4] float32.
    """
    box = np.asarray(box_xywh, F32)
    pairs = (*box.shape[:-1], 2)
    size_wh = box[..., 2:] * np.exp(F32(scale_jitter) * draws.normals(*pairs))
    reach_px = np.sqrt(size_wh[..., :1] * size_wh[..., 1:]) * F32(center_jitter)
    reach_xy = reach_px / np.asarray(stretch_wh, F32)
    center_xy = box[..., :2] + F32(0.5) * box[..., 2:]
    center_xy = center_xy + reach_xy * (draws.uniforms(*pairs) - F32(0.5))
    return np.concatenate([center_xy - F32(0.5) * size_wh, size_wh], axis=-1)


def part_of(box_xywh, draws: Draws) -> np.ndarray:
    """A part of a box, as a face is of a person: `PART_SIDES` of each side, anywhere inside.

    Args:
      draws: four of U.

    Returns:
      [4] float32; the box itself where the part would have a side below `MIN_PART_PX`.
    """
    box = np.asarray(box_xywh, F32)
    low, high = PART_SIDES
    numbers = draws.uniforms(4)
    size_wh = box[2:] * (F32(low) + F32(high - low) * numbers[:2])
    if size_wh.min() < MIN_PART_PX:
        return box
    return np.concatenate([box[:2] + numbers[2:] * (box[2:] - size_wh), size_wh])


def to_grayscale(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 RGB to three equal channels: the luma of OpenCV."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def flip_box(box_xywh, width_px: int) -> np.ndarray:
    """The box [4] float32 in an image of this width that is mirrored left and right.

    It goes to (W - 1) - (x + w), as in the published training of SuperDiMP. That is exact where
    x + w / 2 counts from the middle of the first pixel (crops of "2019"), and one pixel too far
    left where it counts from its edge (images, crops of "2020"): kept, as published.
    """
    x, y, width, height = np.asarray(box_xywh, F32)
    return np.array((F32(width_px - 1) - (x + width), y, width, height), F32)


def brightness_factors(count: int, jitter: float, draws: Draws) -> np.ndarray:
    """[count] float32, uniform in 1 +- jitter; `count` of U."""
    return F32(1 - jitter) + F32(2 * jitter) * draws.uniforms(count)
