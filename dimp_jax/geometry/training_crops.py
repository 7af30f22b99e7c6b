"""Search-region crops of training frames: the crop of the 2019 release and that of April 2020.

Host code (numpy and OpenCV). Boxes are (left, top, width, height), 0-based image pixels. The maps
and the window of 2020 are computed in float32, as the published ones were.
"""

import math
from typing import NamedTuple

import numpy as np

from dimp_jax.geometry import search_crops
from dimp_jax.media.opencv import cv2

F32 = np.float32
# Above this, a window that leaves the image is interpolated where it is instead of being copied
# with its replicated border: rare jitters of large objects ask for windows of a gigabyte.
MAX_COPIED_PX = 2048
UNSTRETCHED = (1.0, 1.0)


class Window(NamedTuple):
    """A rectangle of whole image pixels; may lie partly or fully outside."""

    corner_xy: list[int]
    size_wh: list[int]


def resized_window(image, corner_xy, size_wh, output_px, out=None):
    """A window of an image, its part outside replicated, resized to a square.

    Windows of more than `MAX_COPIED_PX` are interpolated in place, and differ in rounding.

    Args:
      image: [H, W, 3] uint8.
      corner_xy, size_wh: [2] each, ints: the window in image pixels; may lie fully outside.
      output_px: side of the result.
      out: array for the result, or None.

    Returns:
      [output_px, output_px, 3] uint8, `out` if it was given.
    """
    side = (output_px, output_px)
    if max(size_wh) > MAX_COPIED_PX and not _is_inside(image, corner_xy, size_wh):
        scale_xy = np.array(size_wh) / output_px
        matrix = np.column_stack([np.diag(scale_xy), 0.5 * scale_xy - 0.5 + np.array(corner_xy)])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            image, matrix, side, dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    (x, y), (width, height) = corner_xy, size_wh
    window = search_crops.cut_replicated(image, (y, x), (y + height, x + width))
    return cv2.resize(window, side, dst=out, interpolation=cv2.INTER_LINEAR)


def resized_window_fast(image, corner_xy, size_wh, output_px, out=None):
    """`resized_window`, but only what shows the image is resized, and its border replicated then.

    Equal to it to the bit inside the image, and up to 1 in the replicated rows, whose rounding in
    OpenCV depends on the row. Half the time for a window twice as wide and three times as high as
    the image.
    """
    (x, y), (size_w, size_h) = corner_xy, size_wh
    if max(size_wh) > MAX_COPIED_PX or _is_inside(image, corner_xy, size_wh):
        return resized_window(image, corner_xy, size_wh, output_px, out)
    height, width = image.shape[:2]
    col, stop_col, used_w, left, right = _shown(x, size_w, width, output_px)
    row, stop_row, used_h, top, bottom = _shown(y, size_h, height, output_px)
    # Factors rather than a size: the scale stays that of the whole window.
    fx, fy = output_px / size_w, output_px / size_h
    if (round(used_w * fx), round(used_h * fy)) == (used_w, used_h):  # OpenCV would copy
        return resized_window(image, corner_xy, size_wh, output_px, out)
    # What nothing is interpolated from stays as it was allocated.
    window = np.empty((used_h, used_w, 3), np.uint8)
    place = window[top - y : bottom - y, left - x : right - x]
    search_crops.cut_replicated(image, (top, left), (bottom, right), out=place)
    part = cv2.resize(window, None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(
        part[row:stop_row, col:stop_col],
        row,
        output_px - stop_row,
        col,
        output_px - stop_col,
        cv2.BORDER_REPLICATE,
        dst=out,
    )


def place_2019(box_extract_xywh, box_gt_xywh, area_factor, output_px, stretch_wh=UNSTRETCHED):
    """The window of a crop centred on `box_extract_xywh`, and a box in the crop.

    The box map is the half-pixel convention of the tracker (`boxes.target_box_in_crop`), relative
    to the extract box's centre before the window was rounded to pixels: a target at that centre is
    centred on pixel (output_px - 1) / 2.

    Args:
      box_extract_xywh: [4] box that places the window (the jittered target box).
      box_gt_xywh: [4] box to map into the crop.
      area_factor: side of the window, in units of sqrt(width * height) of the extract box.
      output_px: side of the crop.
      stretch_wh: [2] of product 1, by which the image is to appear wider and higher: the window
        becomes so much narrower and lower.

    Returns:
      window: `Window`.
      box_xywh: [4] float32, crop pixels; may lie partly or wholly outside.

    Raises:
      ValueError: the extract box has no positive, finite area.
    """
    extract = np.asarray(box_extract_xywh, F32)
    side_px = math.sqrt(_area(extract)) * area_factor
    size_wh = [math.ceil(side_px / stretch) for stretch in stretch_wh]

    box_gt = np.asarray(box_gt_xywh, F32)
    scale_wh = F32(output_px) / np.array(size_wh, F32)
    offset_xy = _center_xy(box_gt) - _center_xy(extract)
    box_wh = box_gt[2:] * scale_wh
    corner_xy = F32((output_px - 1) / 2) + offset_xy * scale_wh - F32(0.5) * box_wh
    window = Window(_centred_corner(extract, size_wh), size_wh)
    return window, np.concatenate([corner_xy, box_wh])


def place_2020(
    image_size_hw,
    box_extract_xywh,
    box_gt_xywh,
    area_factor,
    output_px,
    stretch_wh=UNSTRETCHED,
    *,
    mode,
    max_scale_change,
):
    """A window that is shifted into the image as far as it fits, in every mode.

    Larger than the image, it is centred on it. The box map has no half-pixel term: a target at the
    window's centre is centred on pixel output_px / 2, half a pixel further than in the tracker.

    Args:
      image_size_hw: [2] pixels.
      box_extract_xywh, box_gt_xywh, area_factor, output_px, stretch_wh: as for `place_2019`.
      mode: "replicate", or "inside" / "inside_major": the window is shrunk until it fits along
        both axes / along one.
      max_scale_change: the most by which it is shrunk, or None for no limit.

    Returns:
      As `place_2019`.

    Raises:
      ValueError: an unknown mode, or an extract box without positive, finite area.
    """
    if mode not in search_crops.BORDER_MODES:
        raise ValueError(f"mode={mode!r}: expected one of {search_crops.BORDER_MODES}")
    extract = np.asarray(box_extract_xywh, F32)
    area_ratio = F32(_area(extract)) / F32(output_px**2)
    side_px = F32(output_px) * np.sqrt(area_ratio) * F32(area_factor)
    size_wh = [math.ceil(side_px / F32(stretch)) for stretch in stretch_wh]
    image_wh = image_size_hw[::-1]
    if mode != "replicate":
        ratios = [F32(size) / F32(extent) for size, extent in zip(size_wh, image_wh, strict=True)]
        factor = max(F32(1), max(ratios) if mode == "inside" else min(ratios))
        if max_scale_change is not None:
            factor = min(factor, F32(max_scale_change))
        size_wh = [math.floor(F32(size) / factor) for size in size_wh]
    corner_xy = list(map(_shift_inside, _centred_corner(extract, size_wh), size_wh, image_wh))

    scale_wh = F32(output_px) / np.array(size_wh, F32)
    box = np.asarray(box_gt_xywh, F32) - np.array((*corner_xy, 0, 0), F32)
    return Window(corner_xy, size_wh), box * np.tile(scale_wh, 2)


def _area(box_xywh):
    x, y, width, height = box_xywh.tolist()
    area = width * height
    if not (min(width, height) > 0 and math.isfinite(area) and math.isfinite(x + y)):
        raise ValueError(
            f"box_extract_xywh={box_xywh.tolist()}: expected finite numbers and a positive width "
            "and height; drop frames without a target before cropping"
        )
    return area


def _center_xy(box_xywh):
    return box_xywh[:2] + F32(0.5) * box_xywh[2:]


def _centred_corner(box_xywh, size_wh):
    center_xy = _center_xy(box_xywh).tolist()
    return [round(c - size / 2) for c, size in zip(center_xy, size_wh, strict=True)]  # half to even


def _shift_inside(start, size_px, extent):
    if size_px > extent:
        return -((size_px - extent) // 2)
    return min(max(start, 0), extent - size_px)


def seen(image):
    """What crops are made of: the image without its last row and column.

    The published crops pad one pixel more than needed on the right and at the bottom; kept, as the
    weights were trained so.
    """
    height, width = (max(extent - 1, 1) for extent in image.shape[:2])
    return image[:height, :width]


def _is_inside(image, corner_xy, size_wh):
    (x, y), (width, height) = corner_xy, size_wh
    return min(x, y) >= 0 and x + width <= image.shape[1] and y + height <= image.shape[0]


def _shown(start, size, extent, output_px):
    """What of a window shows the image, along one axis.

    Args:
      start, size: of the window, image pixels. extent: of the image.

    Returns:
      first, stop: pixels of the result; those before and after repeat `first` and `stop - 1`.
      used: length of the window's part, from its start, that is to be resized.
      low, high: first and stop image pixel from which pixels `first` to `stop - 1` are made.
    """
    scale = size / output_px
    position = lambda pixel: (pixel + 0.5) * scale - 0.5 + start  # in the image
    last = output_px - 1
    first = min(max(math.floor((0.5 - start) / scale - 0.5), 0), last)
    stop = min(max(math.ceil((extent - 0.5 - start) / scale - 0.5), first), last) + 1
    used = math.floor(position(stop - 1)) + 2 - start
    used = min(max(used, math.ceil(stop * scale)), size)
    return first, stop, used, max(math.floor(position(first)), start), start + used
