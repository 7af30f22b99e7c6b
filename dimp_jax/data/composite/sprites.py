"""Sprites: objects with soft alpha, warped into a frame; what is drawn tells the exact box.

A sprite has its own unit coordinates: the origin is the centre of its box, and one unit is
sqrt(width * height) of that box. A pose is a [2, 3] matrix from units to frame pixels (pixel
centres on integers).
"""

import math
from typing import NamedTuple

import numpy as np

from dimp_jax.media.opencv import cv2

_LEVELS = 4  # of the pyramid: full size, 1/2, 1/4, 1/8
_FINEST_SCALE = 0.6  # a level is used down to this scale; linear interpolation aliases below it


class Sprite(NamedTuple):
    """An object as a pyramid of premultiplied RGBA images."""

    levels: tuple[np.ndarray, ...]  # each [h, w, 4] uint8, half the size of the one before
    center_xy_px: tuple[float, float]  # the origin in the first level
    unit_px: float  # pixels of the first level in one unit


class Patch(NamedTuple):
    """A part of a frame that a sprite covers."""

    rgba: np.ndarray  # [h, w, 4] uint8, premultiplied
    x_px: int  # left; may be outside the frame
    y_px: int  # top


def make_sprite(rgba) -> Sprite:
    """A sprite of an image [h, w, 4] uint8 with straight alpha, whose box is the whole image."""
    height, width = rgba.shape[:2]
    # Alpha of the alpha is 255: it stays as it is.
    alpha = rgba[..., 3]
    factor = cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)])
    premultiplied = cv2.multiply(rgba, factor, scale=1 / 255)
    # A clear border keeps the edge soft; sides divisible by 8 keep the levels aligned.
    pads = [-side % 8 + (8 if -side % 8 < 4 else 0) for side in (height, width)]
    top, left = pads[0] // 2, pads[1] // 2
    level = cv2.copyMakeBorder(
        premultiplied,
        top,
        pads[0] - top,
        left,
        pads[1] - left,
        cv2.BORDER_CONSTANT,
        value=(0, 0, 0, 0),
    )
    levels = [level]
    for _ in range(_LEVELS - 1):
        half_wh = (level.shape[1] // 2, level.shape[0] // 2)
        level = cv2.resize(level, half_wh, interpolation=cv2.INTER_AREA)
        levels.append(level)
    center_xy_px = (left + (width - 1) / 2, top + (height - 1) / 2)
    return Sprite(tuple(levels), center_xy_px, float(np.sqrt(height * width)))


def crop_sprite(sprite, part_xyxy):
    """The same sprite, clear outside a rectangle [4] in units."""
    levels = []
    for k, level in enumerate(sprite.levels):
        corners_px = np.reshape(part_xyxy, (2, 2)) * sprite.unit_px + sprite.center_xy_px
        left, top, right, bottom = np.rint((corners_px + 0.5) / 2**k).astype(int).clip(0).ravel()
        part = np.zeros_like(level)
        part[top:bottom, left:right] = level[top:bottom, left:right]
        levels.append(part)
    return sprite._replace(levels=tuple(levels))


def drawn_in(sprite: Sprite, pose, size_hw_px, *, margin_px=0, bend=None):
    """Left, top, right, bottom (exclusive) of what `warp` draws without `within`, or None."""
    return _common(_covered(sprite, pose, bend), _widened(size_hw_px, margin_px))


def warp(sprite: Sprite, pose, size_hw_px, *, margin_px=0, bend=None, within=None) -> Patch | None:
    """Draws a sprite alone; None where it lies outside.

    Args:
      pose: [2, 3] units to frame pixels. size_hw_px: [2] of the frame.
      margin_px: what lies outside the frame by less than this is drawn, too.
      bend: [g, g, 2] displacement in units (x, y) at a coarse grid over the covered rectangle, or
        None.
      within: left, top, right, bottom of a rectangle, outside which nothing is drawn; or None.
    """
    covered, frame = _covered(sprite, pose, bend), _widened(size_hw_px, margin_px)
    drawn = _common(covered, frame, frame if within is None else within)
    if drawn is None:
        return None
    left, top, right, bottom = drawn

    scale = math.sqrt(abs(cv2.determinant(pose[:, :2]))) / sprite.unit_px
    k = 0
    while k < _LEVELS - 1 and scale * 2**k < _FINEST_SCALE:
        k += 1
    level_unit_px = sprite.unit_px / 2**k
    (xx, xy, x_offset), (yx, yy, y_offset) = (
        cv2.invertAffineTransform(pose) * level_unit_px
    ).tolist()
    x_offset += (sprite.center_xy_px[0] + 0.5) / 2**k - 0.5
    y_offset += (sprite.center_xy_px[1] + 0.5) / 2**k - 0.5
    x = np.arange(left, right, dtype=np.float32)[None]
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    map_x = np.float32(xx) * x + (np.float32(xy) * y + np.float32(x_offset))
    map_y = np.float32(yx) * x + (np.float32(yy) * y + np.float32(y_offset))
    if bend is not None:
        x0, y0, x1, y1 = covered
        field = cv2.resize(
            (bend * level_unit_px).astype(np.float32),
            (x1 - x0, y1 - y0),
            interpolation=cv2.INTER_CUBIC,
        )[top - y0 : bottom - y0, left - x0 : right - x0]
        map_x += field[..., 0]
        map_y += field[..., 1]
    rgba = cv2.remap(
        sprite.levels[k], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return Patch(rgba, left, top)


def _covered(sprite, pose, bend):
    """Left, top, right, bottom (exclusive) pixels of the rectangle that a sprite may touch."""
    height, width = sprite.levels[0].shape[:2]
    reach_x, reach_y = (width + 1) / (2 * sprite.unit_px), (height + 1) / (2 * sprite.unit_px)
    if bend is not None:
        most = float(np.abs(bend).max())
        reach_x, reach_y = reach_x + most, reach_y + most
    (xx, xy, x), (yx, yy, y) = pose.tolist()
    half_w = abs(xx) * reach_x + abs(xy) * reach_y
    half_h = abs(yx) * reach_x + abs(yy) * reach_y
    left, top = math.floor(x - half_w), math.floor(y - half_h)
    return left, top, math.ceil(x + half_w) + 1, math.ceil(y + half_h) + 1


def _widened(size_hw_px, margin_px):
    """Left, top, right, bottom of a frame and a margin around it."""
    return -margin_px, -margin_px, size_hw_px[1] + margin_px, size_hw_px[0] + margin_px


def _common(*rectangles):
    """Left, top, right, bottom of what all rectangles cover, or None."""
    lefts, tops, rights, bottoms = zip(*rectangles, strict=True)
    left, top, right, bottom = max(lefts), max(tops), min(rights), min(bottoms)
    return (left, top, right, bottom) if left < right and top < bottom else None


def hull_xywh(patch: Patch | None, size_hw_px):
    """The box around what is drawn more than half opaque inside the frame.

    Returns:
      [4] float32 frame pixels, or None where nothing is.
    """
    inside = None if patch is None else clip(patch, size_hw_px)
    if inside is None:
        return None
    x, y, width, height = cv2.boundingRect((inside.rgba[..., 3] > 127).astype(np.uint8))
    if width == 0:
        return None
    return np.array((inside.x_px + x, inside.y_px + y, width, height), np.float32)


def clip(patch, size_hw_px):
    """The part of a patch inside the frame, or None."""
    height, width = patch.rgba.shape[:2]
    left, top = max(-patch.x_px, 0), max(-patch.y_px, 0)
    right = min(width, size_hw_px[1] - patch.x_px)
    bottom = min(height, size_hw_px[0] - patch.y_px)
    if right <= left or bottom <= top:
        return None
    return Patch(patch.rgba[top:bottom, left:right], patch.x_px + left, patch.y_px + top)


def paste(frame, patch):
    """Draws a patch over `frame` [H, W, 3] uint8, in place."""
    inside = clip(patch, frame.shape[:2])
    if inside is None:
        return
    height, width = inside.rgba.shape[:2]
    place = frame[inside.y_px : inside.y_px + height, inside.x_px : inside.x_px + width]
    clear = cv2.merge([255 - inside.rgba[..., 3]] * 3)
    below = cv2.multiply(np.ascontiguousarray(place), clear, scale=1 / 255)
    place[...] = cv2.add(below, cv2.cvtColor(inside.rgba, cv2.COLOR_RGBA2RGB))
