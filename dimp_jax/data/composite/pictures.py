"""What a composed sequence is drawn from: the background's canvas, sprites, noise."""

from typing import NamedTuple

import numpy as np

from dimp_jax.data.composite import sprites
from dimp_jax.data.composite.layers import Layer
from dimp_jax.data.composite.stock import ObjectEntry
from dimp_jax.media.opencv import cv2

NOISE_MEAN, NOISE_SIGMA = 128.0, 16.0
NOISE_TILE_PX = 64  # room for the random place of the noise


class Pictures(NamedTuple):
    """The images that a plan needs."""

    canvas: np.ndarray | None  # [h, w, 4] uint8 background; None: it changes with the frame
    sprites: tuple[sprites.Sprite, ...]  # of each layer
    part: sprites.Sprite | None  # of the target's object, if that part is the target

    @property
    def nbytes(self) -> int:
        drawn = [sprite for sprite in (*self.sprites, self.part) if sprite is not None]
        levels = [level.nbytes for sprite in drawn for level in sprite.levels]
        return sum(levels) + (0 if self.canvas is None else self.canvas.nbytes)


def cover(image, size_wh, seed):
    """A random part of `image` [H, W, 3], perhaps mirrored, resized to fill `size_wh` exactly.

    Returns:
      [h, w, 4] uint8 with a channel that means nothing: OpenCV warps four channels in half the
      time of three (0.39 ms against 0.73 ms for 270 x 360 px on a Zen 4 core).
    """
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    scale = min(width / size_wh[0], height / size_wh[1])  # image pixels in one of the canvas
    shrink = rng.uniform(0.75, 1.0) if scale > 0.8 else 1.0
    part_w = max(int(size_wh[0] * scale * shrink), 1)
    part_h = max(int(size_wh[1] * scale * shrink), 1)
    x, y = rng.integers(0, width - part_w + 1), rng.integers(0, height - part_h + 1)
    part = np.ascontiguousarray(image[y : y + part_h, x : x + part_w])
    # Averaging areas takes four times as long, and is not missed up to here.
    linear = part_w < 1.4 * size_wh[0]
    canvas = cv2.resize(part, size_wh, interpolation=cv2.INTER_LINEAR if linear else cv2.INTER_AREA)
    canvas = cv2.cvtColor(canvas, cv2.COLOR_RGB2RGBA)
    return cv2.flip(canvas, 1) if rng.random() < 0.5 else canvas


def gray_statistics(canvas):
    """Mean and standard deviation of the brightness of a canvas [h, w, 4]."""
    mean, std = cv2.meanStdDev(cv2.cvtColor(canvas, cv2.COLOR_RGBA2GRAY))
    return float(mean[0, 0]), float(std[0, 0])


def object_sprite(rgba, entry: ObjectEntry, layer: Layer, canvas_gray) -> sprites.Sprite:
    """The sprite of a layer: its object in the layer's colours, closer to those of the canvas.

    Args:
      rgba: [h, w, 4] uint8 of the object.
      canvas_gray: mean and standard deviation, see `gray_statistics`.
    """
    mean, std = float(entry.color.mean()), entry.gray_std
    goal_mean, goal_std = canvas_gray
    contrast = (max(goal_std, 10.0) / max(std, 10.0)) ** (0.5 * layer.harmony)
    levels = (np.arange(256) - mean) * contrast + mean + layer.harmony * (goal_mean - mean)
    table = np.empty((1, 256, 4), np.uint8)
    table[0, :, :3] = np.clip(levels[:, None] * layer.tint, 0, 255)
    table[0, :, 3] = np.arange(256)
    return sprites.make_sprite(cv2.LUT(rgba, table))


def piece_sprite(canvas, layer):
    """A sprite of a round piece of the canvas with a soft edge."""
    rng = np.random.default_rng(layer.seed)
    side = min(128, *canvas.shape[:2])
    x = rng.integers(0, canvas.shape[1] - side + 1)
    y = rng.integers(0, canvas.shape[0] - side + 1)
    alpha = np.zeros((side, side), np.uint8)
    middle = ((side - 1) * 8, (side - 1) * 8)  # in 1/16 px
    radius = (side * 8 - 8, side * 8 - 8)
    cv2.ellipse(alpha, middle, radius, 0, 0, 360, 255, cv2.FILLED, cv2.LINE_AA, 4)
    piece = canvas[y : y + side, x : x + side].copy()
    piece[..., 3] = alpha
    return sprites.make_sprite(piece)


def noise_image(size_hw_px, seed):
    """Noise for `render.sketch`: partly of pixels, partly of small grains, as after demosaicing."""
    rng = np.random.default_rng(seed)
    shape = (size_hw_px[0] + NOISE_TILE_PX, size_hw_px[1] + NOISE_TILE_PX, 3)
    fine = rng.standard_normal(shape, dtype=np.float32)
    coarse = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 0.9)
    gray = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
    mixed = 0.5 * fine + coarse / coarse.std() + gray
    mixed *= np.float32(NOISE_SIGMA) / mixed.std()
    return np.clip(mixed + NOISE_MEAN + 0.5, 0, 255).astype(np.uint8)
