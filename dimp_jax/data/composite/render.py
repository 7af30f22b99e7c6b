"""Draws the frames of a composed sequence from its plan and its pictures.

Everything that a real camera does to a picture (blur, exposure, noise, JPEG) is done to the whole
frame, so that what is pasted looks like what was there.
"""

import math
from typing import NamedTuple

import numpy as np

from dimp_jax.data.composite import sprites
from dimp_jax.data.composite.pictures import NOISE_MEAN, NOISE_SIGMA, NOISE_TILE_PX, Pictures
from dimp_jax.data.source import Frame
from dimp_jax.data.sparse_filter import filter_sparse
from dimp_jax.media.opencv import cv2

_MAX_BLUR_PX = 21
_SOFT_REACH_PX = 4  # of the blur that softens a layer
_BLOCK_PX = 16  # of JPEG files with halved colours


def sketch(scene, pictures: Pictures, background, t: int, size_hw_px, noise) -> Frame:
    """Frame t with the exact box of the target, and a `data.source.Sketch` as its image.

    The box is the hull of the target's alpha > 0.5 in the frame, at the middle of the exposure;
    what passes in front takes nothing away from it, as in annotations by people. Where nothing of
    the target is in the frame, it is the box of its outline.

    Args:
      scene: a `scene.Scene`. background: [h, w, 4] uint8 canvas in frame t.
      noise: [h, w, 3] uint8 around 128, larger than the frame by at least 64 px.
    """
    image = _Sketch(scene, pictures, background, t, size_hw_px, noise)
    shown = pictures.sprites[scene.target] if pictures.part is None else pictures.part
    box = image.hull_xywh(shown, scene.target)
    return Frame(image, scene.box_xywh[t] if box is None else box)


class _Sketch(NamedTuple):
    scene: object
    pictures: Pictures
    background: np.ndarray
    t: int
    size_hw_px: tuple[int, int]
    noise: np.ndarray

    @property
    def shape(self):
        return (*self.size_hw_px, 3)

    def hull_xywh(self, sprite, index):
        """Of a sprite in the place of a layer; see `sprites.hull_xywh`."""
        placed, options, _ = self._placing(index)
        return sprites.hull_xywh(sprites.warp(sprite, *placed, **options), self.size_hw_px)

    def within(self, low_xy, high_xy):
        """See `data.source.Sketch`; up to 1 from the whole image before it is compressed.

        OpenCV rounds the background's motion differently elsewhere: in a pixel of ten thousand.
        """
        low, high, limit = (np.asarray(v) for v in (low_xy, high_xy, self.size_hw_px[::-1]))
        # Whole blocks of the compression, and a pixel more, from which colours are interpolated.
        low = np.maximum(low - 1, 0) // _BLOCK_PX * _BLOCK_PX
        high = np.minimum(-(-(high + 1) // _BLOCK_PX) * _BLOCK_PX, limit)
        # Around them, what the lens's blur brings in.
        reach_px = math.ceil(4 * self.scene.defocus_px[self.t]) + 1
        outer_low, outer_high = np.maximum(low - reach_px, 0), np.minimum(high + reach_px, limit)

        frame = self._ground(outer_low, outer_high)
        for index in range(len(self.scene.layers)):
            self._add(frame, index, outer_low.tolist(), outer_high.tolist())
        rng = np.random.default_rng((self.scene.seed, self.t))
        part = _expose(frame, self.scene, self.t, self.noise, rng, low - outer_low, low, high)
        if part.shape == self.shape:
            return part
        image = np.empty(self.shape, np.uint8)
        image[low[1] : high[1], low[0] : high[0]] = part
        return image

    def _placing(self, index):
        """(pose, frame's size, options of `sprites.warp`, motion of a layer during the exposure)"""
        layer = self.scene.layers[index]
        dx, dy = (_step(layer.pose[..., 2], self.t) * self.scene.shutter).tolist()
        margin_px = int(min(max(abs(dx), abs(dy)), _MAX_BLUR_PX)) // 2 + 2
        bend = layer.bend[self.t] if layer.bend[self.t].any() else None
        options = {"margin_px": margin_px, "bend": bend}
        return (layer.pose[self.t], self.size_hw_px), options, (dx, dy)

    def _ground(self, low, high):
        """The background in a rectangle of the frame."""
        height, width = self.size_hw_px
        middle = np.array(((width - 1) / 2, (height - 1) / 2))
        step = _canvas_step(self.scene.camera, self.t, middle) * self.scene.shutter
        reach_px = 0 if np.hypot(*step) < 1 else _MAX_BLUR_PX // 2 + 2
        wide_low = np.maximum(low - reach_px, 0)
        wide_high = np.minimum(high + reach_px, (width, height))
        camera = self.scene.camera[self.t] - np.column_stack([np.zeros((2, 2)), wide_low])
        frame = cv2.warpAffine(
            self.background,
            camera,
            (wide_high - wide_low).tolist(),
            borderMode=cv2.BORDER_REFLECT_101,
        )
        frame = _blur_along(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB), step)
        (left, top), (right, bottom) = low - wide_low, high - wide_low
        return np.ascontiguousarray(frame[top:bottom, left:right])

    def _add(self, frame, index, low, high):
        """Draws a layer over the rectangle of the frame that lies from `low` to `high`."""
        layer, sprite = self.scene.layers[index], self.pictures.sprites[index]
        placed, options, step = self._placing(index)
        margin_px = options["margin_px"]
        is_blurred = max(map(abs, step)) > 1
        reach_px = margin_px + _SOFT_REACH_PX
        within = [v - reach_px for v in low] + [v + reach_px for v in high]
        shadow = None
        if self.scene.cast_shadow is not None and layer.role != "occluder":
            drawn = sprites.drawn_in(sprite, *placed, **options)
            if drawn is None:
                return
            shadow = _Shadow.of(drawn, self.scene.cast_shadow, margin_px if is_blurred else 0)
            within = shadow.needed(within)
        patch = sprites.warp(sprite, *placed, **options, within=within)
        if patch is None:
            return
        rgba = patch.rgba
        if layer.gain[self.t] != 1:
            rgba = _gain(rgba, layer.gain[self.t])
        if layer.softness_px:
            rgba = cv2.GaussianBlur(rgba, (0, 0), layer.softness_px)
        patch = sprites.Patch(rgba, patch.x_px - low[0], patch.y_px - low[1])
        if is_blurred:
            patch = _pad(patch, margin_px)
            patch = patch._replace(rgba=_blur_along(patch.rgba, step))
        if shadow is not None:
            shadow.cast(frame, patch)
        sprites.paste(frame, patch)


def _gain(rgba, gain):
    """Brighter or darker; premultiplied colour stays within its alpha."""
    scaled = cv2.multiply(rgba, (gain, gain, gain, 1.0))
    alpha = rgba[..., 3]
    return cv2.min(scaled, cv2.merge([alpha, alpha, alpha, alpha])) if gain > 1 else scaled


def _pad(patch, pad):
    rgba = cv2.copyMakeBorder(
        patch.rgba, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
    )
    return sprites.Patch(rgba, patch.x_px - pad, patch.y_px - pad)


def _step(path, t):
    """Motion from frame t - 1/2 to t + 1/2, pixels."""
    last = len(path) - 1
    if last == 0:
        return np.zeros(2)
    before, after = max(t - 1, 0), min(t + 1, last)
    return (path[after] - path[before]) / (after - before)


def _canvas_step(camera, t, place_xy):
    """How far the background moves at a place of the frame in one frame, pixels."""
    on_canvas = cv2.invertAffineTransform(camera[t]) @ (*place_xy, 1.0)
    return _step(camera[..., :2] @ on_canvas + camera[..., 2], t)


def _blur_along(image, step_xy_px):
    """Averages along a line of the given length and direction."""
    length = float(min(np.hypot(*step_xy_px), _MAX_BLUR_PX))
    if length < 1:
        return image
    side = int(length) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.uint8)
    half = np.asarray(step_xy_px) / np.hypot(*step_xy_px) * length / 2
    middle = side // 2
    start, stop = ((middle + sign * half) * 256 for sign in (-1, 1))
    cv2.line(
        kernel,
        tuple(int(v) for v in np.round(start)),
        tuple(int(v) for v in np.round(stop)),
        255,
        1,
        cv2.LINE_AA,
        8,
    )
    weights = kernel.astype(np.float32)
    return filter_sparse(image, weights / weights.sum())


class _Shadow(NamedTuple):
    """The blurred silhouette of an object, which darkens the ground beside it."""

    x_px: int  # from the object
    y_px: int
    radius_px: int
    strength: float

    @classmethod
    def of(cls, drawn, cast, pad_px):
        """The shadow of what is drawn in a rectangle and then padded; `cast` is of a `Scene`."""
        left, top, right, bottom = drawn
        size = math.sqrt((right - left + 2 * pad_px) * (bottom - top + 2 * pad_px))
        dx, dy, strength = cast.tolist()
        return cls(round(dx * size), round(dy * size), max(int(0.08 * size), 1), strength)

    def needed(self, within):
        """The rectangle that shows in another one, by itself or by its shadow."""
        left, top, right, bottom = within
        reach = 2 * self.radius_px
        return (
            left - max(self.x_px + reach, 0),
            top - max(self.y_px + reach, 0),
            right + max(reach - self.x_px, 0),
            bottom + max(reach - self.y_px, 0),
        )

    def cast(self, frame, patch):
        side = 2 * self.radius_px + 1
        patch = _pad(patch, 2 * self.radius_px)
        alpha = cv2.multiply(cv2.blur(patch.rgba[..., 3], (side, side)), self.strength)
        black = np.zeros_like(alpha)
        shadow = cv2.merge([black, black, black, alpha])
        place = patch.x_px + self.x_px, patch.y_px + self.y_px
        sprites.paste(frame, sprites.Patch(shadow, *place))


def _expose(frame, scene, t, noise, rng, corner_xy, low_xy, high_xy):
    """Lens, light, exposure, sensor and compression.

    Args:
      frame: [h, w, 3] of a rectangle of the picture that is at least the one to be returned.
      corner_xy: [2] where the latter begins in it. low_xy, high_xy: where it lies in the picture.
    """
    (left, top), (right, bottom) = low_xy, high_xy
    if scene.defocus_px[t] > 0.3:
        frame = cv2.GaussianBlur(frame, (0, 0), float(scene.defocus_px[t]))
    x, y = corner_xy
    frame = frame[y : y + bottom - top, x : x + right - left]
    if scene.light is not None:
        size_wh = tuple(extent - NOISE_TILE_PX for extent in noise.shape[1::-1])
        field = cv2.resize(scene.light[t], size_wh, interpolation=cv2.INTER_LINEAR)
        factor = np.clip(field[top:bottom, left:right] * 128, 0, 255).astype(np.uint8)
        frame = cv2.multiply(frame, cv2.merge([factor] * 3), scale=1 / 128)
    levels = 255 * (np.arange(256) / 255) ** scene.gamma[t]
    table = np.clip(levels[:, None] * scene.gain[t] + 0.5, 0, 255).astype(np.uint8)
    frame = cv2.LUT(frame, table.reshape(1, 256, 3))
    noise_x, noise_y = rng.integers(0, NOISE_TILE_PX, 2)[::-1]
    grain = noise[noise_y + top : noise_y + bottom, noise_x + left : noise_x + right]
    strength = scene.noise / NOISE_SIGMA
    frame = cv2.addWeighted(frame, 1.0, grain, strength, -NOISE_MEAN * strength)
    quality = [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
