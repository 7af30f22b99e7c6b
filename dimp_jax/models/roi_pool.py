"""Precise RoI pooling (Jiang et al., ECCV 2018): the exact mean of the bilinear map over each bin.

The integral is separable, so pooling is two small matmuls with integrals of the hat function. It is
exact and differentiable in the map and in the box.
"""

import jax.numpy as jnp

from dimp_jax.predictor.precision import EXACT


def hat_integral(start, end):
    """Integral of the hat function max(0, 1 - |t|) from `start` to `end` >= `start`.

    Each half of the hat is width times mean height. The difference of two antiderivatives would
    lose half the digits of a narrow bin in float32.
    """
    start, end = jnp.clip(start, -1.0, 1.0), jnp.clip(end, -1.0, 1.0)
    rise = (jnp.minimum(start, 0.0), jnp.minimum(end, 0.0))
    fall = (jnp.maximum(start, 0.0), jnp.maximum(end, 0.0))
    rising = (rise[1] - rise[0]) * (1 + (rise[0] + rise[1]) / 2)
    falling = (fall[1] - fall[0]) * (1 - (fall[0] + fall[1]) / 2)
    return rising + falling


def axis_weights(start, end, num_bins: int, size: int):
    """Weight of each pixel in the integral over each bin.

    Args:
      start, end: [P] in cells of the map.

    Returns:
      [P, num_bins, size] weights for the mean over each bin; an empty bin has weights 0.
    """
    width = jnp.maximum(end - start, 0.0) / num_bins  # [P]
    edges = start[:, None] + width[:, None] * jnp.arange(num_bins + 1, dtype=width.dtype)[None]
    offset = edges[:, :, None] - jnp.arange(size, dtype=width.dtype)[None, None]
    integral = hat_integral(offset[:, :-1], offset[:, 1:])
    # The width between the rounded edges, not the exact one: their error would not cancel.
    bin_width = (edges[:, 1:] - edges[:, :-1])[:, :, None]
    some = bin_width > 0
    return jnp.where(some, integral / jnp.where(some, bin_width, 1.0), 0.0)


def roi_pool(feat, box_xyxy, num_bins: int, scale: float):
    """Pools boxes from one map.

    Args:
      feat: [H, W, C]; outside the map it is 0.
      box_xyxy: [P, 4] corners in image pixels.
      num_bins: bins per side.
      scale: cells per pixel, 1 / stride.

    Returns:
      [P, num_bins, num_bins, C]; boxes without area give 0.
    """
    height, width, channels = feat.shape
    box = box_xyxy * scale
    along_y = axis_weights(box[:, 1], box[:, 3], num_bins, height)
    along_x = axis_weights(box[:, 0], box[:, 2], num_bins, width)
    num_boxes = box.shape[0]
    rows = jnp.matmul(
        along_y.reshape(num_boxes * num_bins, height),
        feat.reshape(height, width * channels),
        precision=EXACT,
    )
    rows = rows.reshape(num_boxes, num_bins, width, channels)
    # One weight matrix a row of bins: XLA's CPU backend would transpose `rows` to share one.
    each_row = jnp.broadcast_to(along_x[:, None], (num_boxes, num_bins, *along_x.shape[1:]))
    return jnp.einsum("pijx,pixc->pijc", each_row, rows, precision=EXACT)


def xywh_to_xyxy(box_xywh):
    """Corners of boxes [..., 4]."""
    return jnp.concatenate([box_xywh[..., :2], box_xywh[..., :2] + box_xywh[..., 2:]], -1)
