"""`geometry/search_crops.py` in jax: the search window, cut from any image into a fixed patch.

The arithmetic of the window (truncations, roundings, subsampling) is that of
`search_crops.sample_patch`, bit for bit; the resize is exactly bilinear, from which OpenCV's
differs by up to 7e-3 grey levels.
"""

import jax
import jax.numpy as jnp

F32, I32 = jnp.float32, jnp.int32


def cut(image, center_yx, size_px, output_px, *, border_mode, max_scale_change, arithmetic):
    """Cuts the window of `size_px` (both sides) around a centre and resizes it.

    Args:
      image: [H, W, 3] uint8; H and W may be symbolic.
      center_yx: [2] float32 image pixels. size_px: [] float32 image pixels.
      output_px: static, side of the patch.
      border_mode, max_scale_change, arithmetic: static, as for `search_crops.sample_patch`.

    Returns:
      patch [P, P, 3] float32; coord_yxyx [4] float32, as of `search_crops.sample_patch`.
    """
    image_hw = jnp.stack([jnp.int32(extent) for extent in image.shape[:2]])
    sizes = jnp.stack([size_px, size_px])
    inside = border_mode != "replicate"
    if inside:
        sizes = _shrunk(sizes, image_hw, border_mode, max_scale_change)
    ratio = divided(sizes, output_px).min()
    # int(float64(ratio) - 0.1) without a float64: the fraction is exact.
    whole = jnp.floor(ratio)
    stride = jnp.maximum(whole.astype(I32) - (ratio - whole < F32(0.1)), 1)

    position = center_yx.astype(I32)  # towards zero, as Python's int()
    phase = jnp.minimum(position % stride, image_hw - 1)
    extent = -(-(image_hw - phase) // stride)
    start, stop = _span(position // stride, divided(sizes, stride), arithmetic)
    if inside:
        start, stop = _shifted_inside(start, stop, extent.astype(F32))
    first, length = start.astype(I32), stop.astype(I32) - start.astype(I32)

    axes = []
    for axis in range(2):
        low, weight = _sources(length[axis], output_px)
        pair = [
            # The window's border first, then the image's.
            jnp.clip(first[axis] + jnp.clip(at, 0, length[axis] - 1), 0, extent[axis] - 1)
            for at in (low, low + 1)
        ]
        axes.append(([at * stride + phase[axis] for at in pair], weight))
    (rows, weight_y), (columns, weight_x) = axes
    patch = bilinear(
        image,
        [at[:, None] for at in rows],
        [at[None, :] for at in columns],
        weight_y[:, None],
        weight_x[None, :],
    )
    return patch, stride.astype(F32) * jnp.concatenate([start, stop])


def position_and_scale(coord_yxyx, crop_px):
    """As `search_crops.sample_position_scale`: centre [2] image px, image px per patch px []."""
    top_left, bottom_right = coord_yxyx[:2], coord_yxyx[2:]
    ratio_hw = divided(bottom_right - top_left, crop_px)
    return 0.5 * (top_left + bottom_right - 1), jnp.sqrt(ratio_hw[0] * ratio_hw[1])


def inside_shift_yx(center_yx, size_px, image_hw):
    """As `search_crops.inside_shift_yx`: how far "inside" moves a window; [2] image pixels."""
    start, stop = _span(center_yx.astype(I32), jnp.stack([size_px, size_px]), "2019")
    extent = jnp.stack([jnp.float32(size) for size in image_hw])
    return _shifted_inside(start, stop, extent)[0] - start


def bilinear(image, rows, columns, weight_y, weight_x):
    """Blends four pixels for each output pixel.

    Args:
      image: [H, W, 3]. rows, columns: pairs (lower, upper) of int indices inside the image that
        broadcast to [P, P]. weight_y, weight_x: of the upper ones, in [0, 1); broadcast likewise.

    Returns:
      [P, P, 3] float32.
    """
    pixel = lambda row, column: (
        image.at[row, column].get(mode="promise_in_bounds").astype(F32)  # [P, P, 3]
    )
    weight_y, weight_x = weight_y[..., None], weight_x[..., None]
    upper, lower = (
        pixel(row, columns[0]) * (1 - weight_x) + pixel(row, columns[1]) * weight_x for row in rows
    )
    return upper * (1 - weight_y) + lower * weight_y


def kept(number):
    """Keeps XLA from merging a constant: the last bit can decide where a window ends."""
    return jax.lax.optimization_barrier(number)


def divided(numbers, by):
    """numbers [n] / by, [n] or a scalar; XLA would multiply by the inverse of a scalar."""
    return numbers / kept(jnp.broadcast_to(F32(by), numbers.shape))


def _sources(length, output_px):
    """Lower source pixel [P] of each output pixel, and the weight [P] of the next; in integers."""
    numerator = (2 * jnp.arange(output_px, dtype=I32) + 1) * length - output_px
    unit = 2 * output_px
    return numerator // unit, (numerator % unit).astype(F32) / unit


def _shrunk(sizes, image_hw, border_mode, max_scale_change):
    ratios = divided(sizes, image_hw)
    factor = ratios.max() if border_mode == "inside" else ratios.min()
    factor = jnp.maximum(factor, 1.0)
    if max_scale_change is not None:
        factor = jnp.minimum(factor, F32(max_scale_change))
    return jnp.trunc(divided(sizes, factor))


def _span(position, sizes, arithmetic):
    """Start and stop of the window [2] each, in subsampled pixels; whole or half, so exact."""
    length = jnp.maximum(jnp.round(sizes).astype(I32), 2)
    if arithmetic == "2019":
        start, stop = position - (length - 1) // 2, position + length // 2 + 1
        return start.astype(F32), stop.astype(F32)
    position, length = position.astype(F32), length.astype(F32)
    return position - (length - 1) / 2, position + length / 2 + 1


def _shifted_inside(start, stop, extent):
    shift = jnp.maximum(-start, 0) - jnp.maximum(stop - extent, 0)
    start, stop = start + shift, stop + shift
    outside = jnp.floor((jnp.maximum(-start, 0) + jnp.maximum(stop - extent, 0)) / 2)
    shift = jnp.where(outside > 0, -start - outside, 0)
    return start + shift, stop + shift
