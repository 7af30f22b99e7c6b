"""`dimp_jax.tracking.augment` in jax: the samples of the first frame, their shifts drawn there."""

import math

import jax.numpy as jnp
import numpy as np

from dimp_jax.export import windows
from dimp_jax.tracking import augment


def unshifted(config, crop_px):
    """The transforms of an `AugmentConfig` without their random shifts.

    Raises:
      ValueError: a blur with sigma <= 0.
    """
    # Numbers of 0.5 shift nothing.
    middle = np.full((augment.num_random_shifts(config), 2), 0.5)
    return augment.build_transforms(config, crop_px, middle)


def make(patch, config, crop_px, shift_uniforms, further_shift_yx):
    """The samples from which the first filter is learned.

    Args:
      patch: [E, E, 3] float32, E = `augment.expansion_size_px`.
      config: `AugmentConfig`, static. crop_px: static, side of a sample.
      shift_uniforms: [n, 2] in [0, 1), n = `augment.num_random_shifts`.
      further_shift_yx: [2] crop pixels by which every sample is moved.

    Returns:
      samples [A, P, P, 3] float32; shifts [A, 2] int32 (y, x) of their content, crop pixels.
    """
    transforms = unshifted(config, crop_px)
    random = (shift_uniforms - 0.5) * windows.kept(jnp.float32(crop_px))
    random = (random * windows.kept(jnp.float32(config.random_shift_factor))).astype(jnp.int32)
    fixed = np.array([transform.shift_yx for transform in transforms], np.int32)
    shifts = fixed + jnp.pad(random, ((len(fixed) - len(random), 0), (0, 0)))
    shifts = (shifts + further_shift_yx[None]).astype(jnp.int32)
    samples = [_sample(patch, *each, crop_px) for each in zip(transforms, shifts, strict=True)]
    return jnp.stack(samples), shifts


def _sample(patch, transform, shift_yx, crop_px):
    side = patch.shape[0]
    # Beyond the patch its border is replicated, as by `search_crops.cut_replicated`.
    start_yx = (side - crop_px) // 2 - shift_yx
    rows, columns = (
        jnp.clip(start + jnp.arange(crop_px, dtype=jnp.int32), 0, side - 1) for start in start_yx
    )
    match transform.kind:
        case "flip":
            columns = side - 1 - columns
        case "blur":
            patch = _blurred(patch, transform.parameters)
        case "rotate":
            return _rotated(patch, rows[:, None], columns[None, :], *transform.parameters)
    return patch[rows[:, None], columns[None, :]]


def _blurred(patch, sigmas_yx_px):
    """Separable, with zeros beyond the border."""
    for axis, sigma in enumerate(sigmas_yx_px):
        kernel = augment.gaussian(sigma)
        half, size = len(kernel) // 2, patch.shape[axis]
        padded = jnp.pad(patch, [(half, half) if a == axis else (0, 0) for a in range(3)])
        patch = sum(
            float(weight) * jnp.take(padded, jnp.arange(at, at + size, dtype=jnp.int32), axis)
            for at, weight in enumerate(kernel)
        )
    return patch


def _rotated(patch, rows, columns, angle):
    """The pixels at `rows` [P, 1] and `columns` [1, P] of the patch turned about its centre."""
    last = patch.shape[0] - 1
    sin, cos = math.sin(angle), math.cos(angle)
    y, x = (at.astype(jnp.float32) - last / 2 for at in (rows, columns))
    pairs, weights = [], []
    for source in (sin * x + cos * y + last / 2, cos * x - sin * y + last / 2):
        low = jnp.floor(source)
        pairs.append([jnp.clip(low.astype(jnp.int32) + more, 0, last) for more in (0, 1)])
        weights.append(source - low)
    return windows.bilinear(patch, *pairs, *weights)
