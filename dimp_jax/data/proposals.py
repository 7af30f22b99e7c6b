"""Boxes around the target from which the IoU network learns (behaviour 4.2, step 5).

"perturb" are DiMP's proposals with their overlaps. "gaussian_mixture" are those of PrDiMP: drawn in
the relative space [cx / w0, cy / h0, log w, log h] around the true box of size (w0, h0), with the
densities that the Kullback-Leibler loss needs.
"""

import math

import numpy as np

from dimp_jax.data.draws import Draws
from dimp_jax.geometry.box_mixture import gaussian_log_density, mixture_log_density

MAX_TRIES = 100
SHRINK = 0.9  # of the perturbation after every box that overlaps too little
MIN_SIDE_PX = 1.0
# A side that came out too small is replaced by this part of the true one.
SMALL_SIDE_RANGE = (0.15, 0.5)


def iou_xywh(box_xywh, other_xywh) -> float:
    """Overlap of two boxes with positive sides, 0..1."""
    x0, y0, w0, h0 = box_xywh
    x1, y1, w1, h1 = other_xywh
    width = max(min(x0 + w0, x1 + w1) - max(x0, x1), 0.0)
    height = max(min(y0 + h0, y1 + h1) - max(y0, y1), 0.0)
    return width * height / (w0 * h0 + w1 * h1 - width * height)


def perturb_box(box_xywh, min_iou: float, sigma: float, draws: Draws):
    """A box near the true one, with integer corners.

    Centre and size get normal noise of sigma * sqrt(w h) each; a box that overlaps by no more than
    `min_iou` is drawn anew with less noise, `MAX_TRIES` times at most: the last one is returned as
    it is.

    Args:
      box_xywh: [4] pixels, sides positive.
      draws: four of Z a try (cx, cy, w, h); one of U for each side that came out too small.

    Returns:
      ((x, y, w, h), overlap): floats.
    """
    x, y, width, height = (float(value) for value in box_xywh)
    middle_x, middle_y = x + 0.5 * width, y + 0.5 * height
    std = math.sqrt(width * height) * sigma
    for _ in range(MAX_TRIES):
        along_x, along_y, along_width, along_height = draws.gausses(4)
        new_width = _large_enough(width + along_width * std, width, draws)
        new_height = _large_enough(height + along_height * std, height, draws)
        left = round(middle_x + along_x * std - 0.5 * new_width)
        top = round(middle_y + along_y * std - 0.5 * new_height)
        new_width = _large_enough(round(new_width), width, draws)
        new_height = _large_enough(round(new_height), height, draws)
        proposal = (float(left), float(top), float(new_width), float(new_height))
        overlap = iou_xywh(proposal, (x, y, width, height))
        if overlap > min_iou:
            break
        std *= SHRINK
    return proposal, overlap


def _large_enough(side_px, true_side_px, draws):
    if side_px > MIN_SIDE_PX:
        return side_px
    low, high = SMALL_SIDE_RANGE
    return true_side_px * (low + (high - low) * float(draws.uniforms(1)[0]))


def perturbed_proposals(box_xywh, count: int, min_iou: float, sigmas, draws: Draws):
    """`count` calls of `perturb_box`, each with one of `sigmas` (one of U before it).

    Returns:
      boxes_xywh: [count, 4] float32.
      overlap: [count] float32.
    """
    drawn = [perturb_box(box_xywh, min_iou, draws.choice(sigmas), draws) for _ in range(count)]
    boxes, overlaps = zip(*drawn, strict=True)
    return np.array(boxes, np.float32), np.array(overlaps, np.float32)


def mixture_proposals(box_xywh, count: int, stds, true_std, draws: Draws):
    """Boxes from a Gaussian mixture around the true one, with two densities in relative space.

    Args:
      box_xywh: [..., 4] pixels, sides positive.
      stds: (position, size) standard deviations of each component; all weigh the same.
      true_std: (position, size) of the distribution that stands for the true box.
      draws: `count` of U for the components of each box, and count * 4 of Z for each.

    Returns:
      boxes_xywh: [..., count, 4] float32.
      log_density: [..., count] float32, log of the mixture's density.
      target_density: [..., count] float32, under `true_std`.
    """
    box = np.asarray(box_xywh, np.float64)[..., None, :]
    shape = (*box.shape[:-2], count)
    components = np.array(stds, np.float64)[draws.integers(len(stds), *shape)]  # [..., count, 2]
    offset = draws.normals(*shape, 4).astype(np.float64) * np.repeat(components, 2, axis=-1)
    center_xy = box[..., :2] + (0.5 + offset[..., :2]) * box[..., 2:]
    size_wh = box[..., 2:] * np.exp(offset[..., 2:])
    boxes = np.concatenate([center_xy - 0.5 * size_wh, size_wh], axis=-1)
    return (
        boxes.astype(np.float32),
        mixture_log_density(offset, stds).astype(np.float32),
        np.exp(gaussian_log_density(offset, true_std)).astype(np.float32),
    )
