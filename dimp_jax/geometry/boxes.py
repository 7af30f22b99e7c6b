"""Boxes in jax: overlap, and the map between image and crop (kept in the tracker's convention)."""

import jax.numpy as jnp


def target_box_in_crop(center_yx, size_hw, sample_pos_yx, sample_scale, crop_size_px: int):
    """The target's box in crop pixels, in the half-pixel convention of the published tracker.

    A target at the sample position is centred on pixel (crop_size_px - 1) / 2 and its corner is
    (size - 1) / 2 before that; the network reads the centre back as x + w / 2, half a pixel
    further. The published weights were trained with this, so it is kept, here only.

    Args:
      center_yx, size_hw: [2] image pixels.
      sample_pos_yx: [2] crop centre, image pixels. sample_scale: image pixels per crop pixel.

    Returns:
      [4] x, y, w, h in crop pixels.
    """
    center = (center_yx - sample_pos_yx) / sample_scale + (crop_size_px - 1) / 2
    size = size_hw / sample_scale
    corner = center - (size - 1) / 2
    return jnp.concatenate([corner[::-1], size[::-1]])


def crop_box_to_image(box_xywh, sample_pos_yx, sample_scale, crop_size_px: int):
    """Centre (y, x) and size (h, w) in the image of a box [4] in crop pixels.

    Not the inverse of `target_box_in_crop`: a box that is not moved comes back half a crop pixel
    further, as in the published tracker.
    """
    center = (box_xywh[:2] + box_xywh[2:] / 2)[::-1]
    center = (center - (crop_size_px - 1) / 2) * sample_scale + sample_pos_yx
    return center, box_xywh[2:][::-1] * sample_scale


def rect_to_relative(box_xywh, size_wh):
    """[P, 4] boxes to (cx / w0, cy / h0, log w, log h) with the reference size [2]."""
    center = box_xywh[:, :2] + box_xywh[:, 2:] / 2
    return jnp.concatenate([center / size_wh[None], jnp.log(box_xywh[:, 2:])], -1)


def relative_to_rect(relative, size_wh):
    """The inverse of `rect_to_relative`."""
    size = jnp.exp(relative[:, 2:])
    return jnp.concatenate([relative[:, :2] * size_wh[None] - size / 2, size], -1)
