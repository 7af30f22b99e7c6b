"""Fits the IoU network to its target on the first frame, whose box is known. Not published.

The modulation tells the network what its target looks like, but not where that target ends. Here it
is scaled, channel by channel, until the density over boxes that the network gives is the right one
on zoomed, shifted and mirrored copies of the first frame. The loss is that of the training; a
penalty keeps the factors near 1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from dimp_jax.geometry.box_mixture import gaussian_log_density, mixture_log_density
from dimp_jax.models.box_density import kl_regression
from dimp_jax.predictor.precision import EXACT

ZOOM_STD = 0.15  # of the logarithm
REACH = 0.3  # of the shifts, in target sizes
NUM_BOXES = 16  # around the target in each copy, others in every step
STDS = ((0.05, 0.05), (0.3, 0.3))  # of their centres and log sizes; half of the boxes each
TRUE_STD = (0.05, 0.05)  # of the density that stands for the known box
ADAM_B1, ADAM_B2, ADAM_EPS = 0.9, 0.999, 1e-8


def copies(patch, box_xywh, count: int):
    """Copies of a crop's middle part, zoomed and shifted, every second one mirrored.

    The target is in the middle, but for the shift. What lies outside the crop is its border,
    repeated.

    Args:
      patch: [P, P, 3]. box_xywh: [4] crop pixels, as of `target_box_in_crop`.
      count: static.

    Returns:
      ([count, Q, Q, 3] with Q = 3 / 4 P, to multiples of 16, [count, 4] boxes of the target, whose
      x + w / 2 is an index of pixels, as in the training).
    """
    rng = np.random.default_rng(0)
    zoom = np.exp(rng.normal(0, ZOOM_STD, count)).astype(np.float32)
    shift = rng.uniform(-REACH, REACH, (count, 2)).astype(np.float32)
    zoom[0], shift[0] = 1, 0
    mirror = np.where(np.arange(count) % 2 == 1, -1, 1).astype(np.float32)
    return jax.vmap(functools.partial(_copy, patch, box_xywh))(zoom, shift, mirror)


def _copy(patch, box_xywh, zoom, shift_xy, mirror):
    side, size = patch.shape[0], box_xywh[2:]
    new_side = max(side * 3 // 4 // 16, 1) * 16  # the rest costs time and tells little
    center = box_xywh[:2] + (size - 1) / 2
    new_size = zoom * size
    new_center = (new_side - 1) / 2 + shift_xy * jnp.sqrt(new_size[0] * new_size[1])
    pixel = jnp.arange(side, dtype=jnp.float32)

    def weights(axis, step):
        """[Q, P] of the crop's columns or rows in those of the copy: linear interpolation."""
        place = center[axis] + step * (pixel[:new_side] - new_center[axis])
        return jnp.maximum(1 - jnp.abs(jnp.clip(place, 0, side - 1)[:, None] - pixel[None]), 0)

    of_columns, of_rows = weights(0, mirror / zoom), weights(1, 1 / zoom)
    sample = jnp.einsum("xp,yq,qpc->yxc", of_columns, of_rows, patch, precision=EXACT)
    return sample, jnp.concatenate([new_center - new_size / 2, new_size])


def boxes_around(box_xywh, steps: int):
    """Boxes from a mixture of two normals around given ones, as in the training.

    Args:
      box_xywh: [n, 4]. steps: static.

    Returns:
      ([steps, n, N, 4], the logarithm of their density [steps, n, N], the density [steps, n, N]
      that stands for the given boxes), densities in (cx / w0, cy / h0, log w, log h).
    """
    rng = np.random.default_rng(1)
    shape = (steps, len(box_xywh), NUM_BOXES)
    std = np.array(STDS)[np.arange(NUM_BOXES) % len(STDS)]
    offset = rng.normal(size=(*shape, 4)) * np.repeat(std, 2, axis=-1)
    log_density = mixture_log_density(offset, STDS).astype(np.float32)
    true = np.exp(gaussian_log_density(offset, TRUE_STD)).astype(np.float32)
    offset = offset.astype(np.float32)
    position, size = box_xywh[None, :, None, :2], box_xywh[None, :, None, 2:]
    new_size = size * np.exp(offset[..., 2:])
    new_position = position + size * (offset[..., :2] + 0.5) - new_size / 2
    return jnp.concatenate([new_position, new_size], -1), log_density, true


def fitted(modulation, iou_fn, box_xywh, config):
    """The modulation, scaled until the network finds known boxes: `modulation_iterations` of Adam.

    Args:
      modulation: tree of [1, F].
      iou_fn: (modulation, [n, N, 4]) -> [n, N], the log densities in n samples.
      box_xywh: [n, 4] of the target in them.
      config: `RefineConfig`.
    """
    flat, unflatten = ravel_pytree(modulation)
    steps = np.arange(1, config.modulation_iterations + 1)
    rate = config.modulation_rate * np.sqrt(1 - ADAM_B2**steps) / (1 - ADAM_B1**steps)

    def scaled(change):
        return unflatten(flat * jnp.maximum(1 + change, 0))

    def loss(change, boxes, log_density, true):
        divergence = kl_regression(iou_fn(scaled(change), boxes), log_density, true)
        return divergence + config.modulation_penalty * jnp.mean(change**2)

    def step(carry, given):
        change, mean, square = carry
        rate, boxes = given
        gradient = jax.grad(loss)(change, *boxes)
        mean = ADAM_B1 * mean + (1 - ADAM_B1) * gradient
        square = ADAM_B2 * square + (1 - ADAM_B2) * gradient**2
        change = change - rate * mean / (jnp.sqrt(square) + ADAM_EPS)
        return (change, mean, square), None

    given = rate.astype(np.float32), boxes_around(box_xywh, config.modulation_iterations)
    (change, _, _), _ = jax.lax.scan(step, (jnp.zeros_like(flat),) * 3, given)
    return scaled(change)
