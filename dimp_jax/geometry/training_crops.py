"""Search-region crops of training frames: the crop of the 2019 release and that of April 2020.

Host code (numpy and OpenCV). Boxes are (left, top, width, height), 0-based image pixels. The maps
and the window of 2020 are computed in float32, as the published ones were.
"""

import math

import numpy as np

from dimp_jax.geometry import search_crops
from dimp_jax.media.opencv import cv2

F32 = np.float32
# Above this, a window that leaves the image is interpolated where it is instead of being copied
# with its replicated border: rare jitters of large objects ask for windows of a gigabyte.
MAX_COPIED_PX = 2048


def crop_2019(image, box_extract_xywh, box_gt_xywh, area_factor, output_px):
    """A crop centred on `box_extract_xywh`, its part outside the image replicated.

    The box map is the half-pixel convention of the tracker (`boxes.target_box_in_crop`), relative
    to the extract box's centre before the window was rounded to pixels: a target at that centre is
    centred on pixel (output_px - 1) / 2.

    Args:
      image: [H, W, 3] uint8.
      box_extract_xywh: [4] box that places the window (the jittered target box).
      box_gt_xywh: [4] box to map into the crop.
      area_factor: side of the window, in units of sqrt(width * height) of the extract box.
      output_px: side of the crop.

    Returns:
      crop: [output_px, output_px, 3] uint8.
      box_xywh: [4] float32, crop pixels; may lie partly or wholly outside.

    Raises:
      ValueError: the extract box has no positive, finite area.
    """
    extract = np.asarray(box_extract_xywh, F32)
    size_px = math.ceil(math.sqrt(_area(extract)) * area_factor)
    crop = _cut(image, *_centred_corner(extract, size_px), size_px, output_px)

    box_gt = np.asarray(box_gt_xywh, F32)
    scale = F32(output_px) / F32(size_px)
    offset_xy = _center_xy(box_gt) - _center_xy(extract)
    size_wh = box_gt[2:] * scale
    corner_xy = F32((output_px - 1) / 2) + offset_xy * scale - F32(0.5) * size_wh
    return crop, np.concatenate([corner_xy, size_wh])


def crop_2020(
    image, box_extract_xywh, box_gt_xywh, area_factor, output_px, *, mode, max_scale_change
):
    """A crop whose window is shifted into the image as far as it fits, in every mode.

    The box map has no half-pixel term: a target at the window's centre is centred on pixel
    output_px / 2, half a pixel further than in the tracker.

    Arguments and results are those of `crop_2019`; `mode`, `max_scale_change` and errors those of
    `search_window_2020`.
    """
    x, y, size_px, _ = search_window_2020(
        image.shape[:2],
        box_extract_xywh,
        area_factor,
        output_px,
        mode=mode,
        max_scale_change=max_scale_change,
    )
    scale = F32(output_px) / F32(size_px)
    box = (np.asarray(box_gt_xywh, F32) - np.array((x, y, 0, 0), F32)) * scale
    return _cut(image, x, y, size_px, output_px), box


def search_window_2020(
    image_size_hw, box_extract_xywh, area_factor, output_px, *, mode, max_scale_change
):
    """The square window of `crop_2020`.

    Args:
      image_size_hw: [2] pixels.
      box_extract_xywh, area_factor, output_px: as for `crop_2019`.
      mode: "replicate", or "inside" / "inside_major": the window is shrunk until it fits along
        both axes / along one.
      max_scale_change: the most by which it is shrunk, or None for no limit.

    Returns:
      (left, top, width, height), integers; larger than the image: centred on it.

    Raises:
      ValueError: an unknown mode, or an extract box without positive, finite area.
    """
    if mode not in search_crops.BORDER_MODES:
        raise ValueError(f"mode={mode!r}: expected one of {search_crops.BORDER_MODES}")
    extract = np.asarray(box_extract_xywh, F32)
    area_ratio = F32(_area(extract)) / F32(output_px**2)
    size_px = math.ceil(F32(output_px) * np.sqrt(area_ratio) * F32(area_factor))
    if mode != "replicate":
        ratios = [F32(size_px) / F32(extent) for extent in image_size_hw]
        factor = max(F32(1), max(ratios) if mode == "inside" else min(ratios))
        if max_scale_change is not None:
            factor = min(factor, F32(max_scale_change))
        size_px = math.floor(F32(size_px) / factor)
    corner_xy = [
        _shift_inside(start, size_px, extent)
        for start, extent in zip(
            _centred_corner(extract, size_px), reversed(image_size_hw), strict=True
        )
    ]
    return (*corner_xy, size_px, size_px)


def _area(box_xywh):
    area = float(box_xywh[2]) * float(box_xywh[3])
    if not (min(box_xywh[2:]) > 0 and math.isfinite(area) and np.isfinite(box_xywh).all()):
        raise ValueError(
            f"box_extract_xywh={box_xywh.tolist()}: expected finite numbers and a positive width "
            "and height; drop frames without a target before cropping"
        )
    return area


def _center_xy(box_xywh):
    return box_xywh[:2] + F32(0.5) * box_xywh[2:]


def _centred_corner(box_xywh, size_px):
    return [round(float(c) - size_px / 2) for c in _center_xy(box_xywh)]  # half to even


def _shift_inside(start, size_px, extent):
    if size_px > extent:
        return -((size_px - extent) // 2)
    return min(max(start, 0), extent - size_px)


def _cut(image, x, y, size_px, output_px):
    # The published crops pad one pixel more than needed on the right and at the bottom, so the
    # last row and column of the image are never seen; kept, as the weights were trained so.
    height, width = (max(extent - 1, 1) for extent in image.shape[:2])
    outside = min(x, y) < 0 or x + size_px > width or y + size_px > height
    if size_px > MAX_COPIED_PX and outside:
        scale = size_px / output_px
        corner_xy = 0.5 * scale - 0.5 + np.array((x, y))
        return cv2.warpAffine(
            np.ascontiguousarray(image[:height, :width]),
            np.array(((scale, 0, corner_xy[0]), (0, scale, corner_xy[1]))),
            (output_px, output_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    window = search_crops.cut_replicated(image[:height, :width], (y, x), (y + size_px, x + size_px))
    return cv2.resize(
        np.ascontiguousarray(window), (output_px, output_px), interpolation=cv2.INTER_LINEAR
    )
