"""What cameras do to single frames: motion blur, few pixels on the target, flat or tinted light."""

from typing import NamedTuple

import numpy as np

from dimp_jax.data.draws import Draws
from dimp_jax.data.sparse_filter import filter_sparse
from dimp_jax.media.opencv import cv2

BLUR_SIDES = (0.05, 0.35)  # length of a motion blur, in sides of the target
COARSE_PX = (10, 40)  # the target's size in a small picture that is enlarged
TINT = 0.25  # of the contrast's jitter, each colour channel on its own


class Degrading(NamedTuple):
    """What is done to one crop."""

    target_px: float | None  # the target's size in the small picture
    blur: tuple[float, float] | None  # length in target sizes, angle in radians
    gains: np.ndarray | None  # [3] contrast of each channel


def draw_degrading(config, draws: Draws) -> Degrading:
    """What happens to a crop.

    Args:
      config: a `CropConfig`: `blur_probability`, `coarse_probability`, `contrast_jitter`.
      draws: two of U, then one for a coarse and two for a blurred picture; four of Z.
    """
    blurred, coarse = draws.uniforms(2) < (config.blur_probability, config.coarse_probability)
    contrast = draws.normals(4)
    target_px = _log_uniform(*COARSE_PX, draws) if coarse else None
    blur = (_log_uniform(*BLUR_SIDES, draws), draws.random() * np.pi) if blurred else None
    gains = None
    if config.contrast_jitter > 0:
        gains = np.exp(config.contrast_jitter * (contrast[0] + TINT * contrast[1:]))
    return Degrading(target_px, blur, gains)


def degrade(image: np.ndarray, size_px: float, degrading: Degrading) -> np.ndarray:
    """Degrades a training crop [S, S, 3] uint8.

    Args:
      size_px: geometric mean of the target's sides in it.
    """
    if degrading.target_px is not None:
        image = enlarged(image, min(degrading.target_px / size_px, 1.0))
    if degrading.blur is not None:
        sides, angle_rad = degrading.blur
        image = motion_blur(image, sides * size_px, angle_rad)
    if degrading.gains is not None:
        middle = sum(cv2.mean(image)[:3]) / 3
        affine = np.zeros((3, 4))
        np.fill_diagonal(affine, degrading.gains)
        affine[:, 3] = middle * (1 - degrading.gains)
        image = cv2.transform(image, affine)
    return image


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """The image with the detail that it has at `factor` (0..1) times its size."""
    height, width = image.shape[:2]
    small = (max(round(width * factor), 1), max(round(height * factor), 1))
    small = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def motion_blur(image: np.ndarray, length_px: float, angle_rad: float) -> np.ndarray:
    """The mean of the image along a line through each pixel."""
    half = max(int(np.ceil(length_px / 2)), 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    along = np.linspace(-length_px / 2, length_px / 2, 4 * half + 1)
    columns = np.rint(half + along * np.cos(angle_rad)).astype(int)
    rows = np.rint(half + along * np.sin(angle_rad)).astype(int)
    np.add.at(kernel, (rows, columns), 1)
    return filter_sparse(image, kernel / kernel.sum())


def _log_uniform(low, high, draws):
    return low * (high / low) ** draws.random()
