"""Search-region patches for the tracker, and the maps between image and patch coordinates.

Host code (numpy and OpenCV). Positions are (y, x) pixels of the image, pixel centres on integers.
All position arithmetic is float32, as in the published tracker: its truncations and roundings are
part of the result.
"""

import numpy as np

from dimp_jax.media.opencv import cv2

F32 = np.float32
BORDER_MODES = ("replicate", "inside", "inside_major")
ARITHMETICS = ("2019", "2022")


def sample_patch(
    image,
    center_yx,
    sample_size_hw_px,
    output_size_hw_px,
    *,
    border_mode,
    max_scale_change,
    arithmetic,
):
    """Cuts the window of `sample_size_hw_px` around `center_yx` and resizes it.

    What lies outside the image is the replicated border. A window much larger than the output is
    first subsampled by an integer step, without smoothing (behaviour of the published tracker).

    Args:
      image: [H, W, 3] uint8 or float32, contiguous or not.
      center_yx: [2] image pixels; truncated to integers.
      sample_size_hw_px: [2] image pixels.
      output_size_hw_px: [2] patch pixels.
      border_mode: "replicate" keeps the window where it is. "inside" and "inside_major" shrink it
        by at most `max_scale_change` (until it fits along both axes, or along one) and then shift
        it into the image; what still sticks out is centred.
      max_scale_change: limit of that shrinking, or None for no limit.
      arithmetic: "2019" computes the window in integers: it has exactly the rounded size. "2022"
        keeps half pixels in `coord_yxyx` and truncates them for indexing, so that the window is
        one pixel larger for even sizes.

    Returns:
      patch: [h, w, 3] float32, in the range of the image.
      coord_yxyx: [4] float32 image pixels: top-left corner and (exclusive) bottom-right corner.

    Raises:
      ValueError: an unknown `border_mode` or `arithmetic`.
    """
    if border_mode not in BORDER_MODES:
        raise ValueError(f"border_mode={border_mode!r}: expected one of {BORDER_MODES}")
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic={arithmetic!r}: expected one of {ARITHMETICS}")
    inside = border_mode != "replicate"
    image_hw = image.shape[:2]
    sizes = [F32(s) for s in sample_size_hw_px]
    if inside:
        sizes = _shrink(sizes, image_hw, border_mode, max_scale_change)
    ratio = min(s / F32(o) for s, o in zip(sizes, output_size_hw_px, strict=True))
    stride = max(int(float(ratio) - 0.1), 1)

    phases, spans = [], []
    for center, size, extent in zip(center_yx, sizes, image_hw, strict=True):
        position = int(center)
        # The reference fails on an image smaller than the phase; the last pixel is used here.
        phase = min(position % stride, extent - 1)
        extent = -(-(extent - phase) // stride)
        start, stop = _span(position // stride, size / F32(stride), arithmetic)
        if inside:
            start, stop = _shift_inside(start, stop, extent)
        phases.append(phase)
        spans.append((start, stop))
    start_yx, stop_yx = zip(*spans, strict=True)

    if stride > 1:
        image = image[phases[0] :: stride, phases[1] :: stride]
    window = cut_replicated(image, [int(s) for s in start_yx], [int(s) for s in stop_yx])
    coord_yxyx = stride * np.array((*start_yx, *stop_yx), F32)
    return resize(window, output_size_hw_px), coord_yxyx


def sample_position_scale(coord_yxyx, crop_size_px):
    """The centre of a patch in the image, and its scale.

    Args:
      coord_yxyx: [4] as returned by `sample_patch`.
      crop_size_px: side of the square patch.

    Returns:
      position_yx: [2] float32 image pixels, (top-left + bottom-right - 1) / 2.
      scale: float32 scalar, image pixels per patch pixel (geometric mean of both axes).
    """
    top_left, bottom_right = np.asarray(coord_yxyx, F32).reshape(2, 2)
    position_yx = F32(0.5) * (top_left + bottom_right - F32(1))
    ratio_hw = (bottom_right - top_left) / F32(crop_size_px)
    return position_yx, np.sqrt(ratio_hw[0] * ratio_hw[1])


def inside_shift_yx(center_yx, size_px, image_hw):
    """How far border mode "inside" moves a window into the image; [2] image pixels (y, x)."""
    shifts = []
    for center, extent in zip(center_yx, image_hw, strict=True):
        start, stop = _span(int(center), F32(size_px), "2019")
        shifts.append(_shift_inside(start, stop, extent)[0] - start)
    return np.array(shifts)


def resize(image, size_hw_px):
    """Bilinear resize to float32, pixel areas aligned (not corners), no smoothing; [h, w, 3]."""
    image = image.astype(F32)
    height, width = (int(s) for s in size_hw_px)
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def cut_replicated(image, start_yx, stop_yx, out=None):
    """The window [start, stop) of `image`, its outside part replicated; may lie fully outside.

    Only the window is touched, never the whole image. Returns [h, w, 3], dtype of the image: `out`
    if it was given, else a view of the image if the window lies inside.
    """
    slices, pads = [], []
    for start, stop, extent in zip(start_yx, stop_yx, image.shape[:2], strict=True):
        first = min(max(start, 0), extent - 1)
        last = min(max(stop, first + 1), extent)
        before = min(max(first - start, 0), stop - start - 1)
        slices.append(slice(first, last))
        pads += [before, (stop - start) - (last - first) - before]
    window = image[slices[0], slices[1]]
    if any(pads) or out is not None:
        return cv2.copyMakeBorder(window, *pads, cv2.BORDER_REPLICATE, dst=out)
    return window


def _shrink(sizes, image_hw, border_mode, max_scale_change):
    ratios = [s / F32(e) for s, e in zip(sizes, image_hw, strict=True)]
    factor = max(ratios) if border_mode == "inside" else min(ratios)
    factor = max(factor, F32(1))
    if max_scale_change is not None:
        factor = min(factor, F32(max_scale_change))
    return [F32(int(s / factor)) for s in sizes]


def _span(position, size, arithmetic):
    """Start and stop of the window along one axis, in subsampled pixels."""
    length = max(int(np.rint(size)), 2)
    if arithmetic == "2019":
        return position - (length - 1) // 2, position + length // 2 + 1
    return position - (length - 1) / 2, position + length / 2 + 1


def _shift_inside(start, stop, extent):
    shift = max(-start, 0) - max(stop - extent, 0)
    start, stop = start + shift, stop + shift
    outside = (max(-start, 0) + max(stop - extent, 0)) // 2  # floored in both arithmetics
    shift = -start - outside if outside > 0 else 0
    return start + shift, stop + shift
