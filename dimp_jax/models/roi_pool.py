"""Precise RoI pooling (Jiang et al., ECCV 2018): the exact mean of the bilinear map over each bin.

The integral is separable, so pooling is two small matmuls with integrals of the hat function. It is
exact and differentiable in the map and in the box.
"""

import jax.numpy as jnp


def hat_integral(u):
    """Integral of the hat function max(0, 1 - |t|) from minus infinity to u."""
    c = jnp.clip(u, -1.0, 1.0)
    return 0.5 + c - c * jnp.abs(c) / 2


def axis_weights(start, end, num_bins: int, size: int):
    """Weight of each pixel in the integral over each bin.

    Args:
      start, end: [P] in cells of the map.

    Returns:
      [P, num_bins, size] weights and the bin width [P]; an inverted interval has width 0.
    """
    width = jnp.maximum(end - start, 0.0) / num_bins  # [P]
    edges = start[:, None] + width[:, None] * jnp.arange(num_bins + 1, dtype=width.dtype)[None]
    pixels = jnp.arange(size, dtype=width.dtype)
    integral = hat_integral(edges[:, :, None] - pixels[None, None])  # [P, bins + 1, size]
    return integral[:, 1:] - integral[:, :-1], width


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
    along_y, bin_h = axis_weights(box[:, 1], box[:, 3], num_bins, height)
    along_x, bin_w = axis_weights(box[:, 0], box[:, 2], num_bins, width)
    num_boxes = box.shape[0]
    rows = along_y.reshape(num_boxes * num_bins, height) @ feat.reshape(height, width * channels)
    rows = rows.reshape(num_boxes, num_bins, width, channels)
    total = jnp.einsum("pjx,pixc->pijc", along_x, rows)
    area = bin_h * bin_w
    inverse = jnp.where(area > 0, 1.0 / jnp.where(area > 0, area, 1.0), 0.0)
    return total * inverse[:, None, None, None]


def xywh_to_xyxy(box_xywh):
    """Corners of boxes [..., 4]."""
    return jnp.concatenate([box_xywh[..., :2], box_xywh[..., :2] + box_xywh[..., 2:]], -1)
