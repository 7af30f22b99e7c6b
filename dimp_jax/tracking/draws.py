"""All random numbers of the tracker, drawn from an explicit key and passed in as arrays.

Types are explicit: with `jax_enable_x64` other numbers would be drawn for the default ones.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dimp_jax.tracking.augment import num_random_shifts


class InitDraws(NamedTuple):
    """Uniform numbers in [0, 1) for the first frame."""

    shift: jax.Array  # [n, 2] of the flip, blurs and rotations
    dropout: jax.Array  # [samples, C] of the feature channels


@functools.partial(jax.jit, static_argnames=("augment", "channels"))
def for_init(key, augment, channels: int):
    """(`InitDraws`, the key of the later frames); augment: `AugmentConfig`."""
    init_key, frame_key = jax.random.split(key)
    shift_key, dropout_key = jax.random.split(init_key)
    drawn = InitDraws(
        jax.random.uniform(shift_key, (num_random_shifts(augment), 2), jnp.float32),
        jax.random.uniform(dropout_key, (augment.dropout_samples, channels), jnp.float32),
    )
    return drawn, frame_key


@functools.partial(jax.jit, static_argnames="num_boxes")
def for_frame(key, frame, num_boxes: int):
    """[num_boxes, 4] uniform numbers for the boxes tried in one frame."""
    return jax.random.uniform(jax.random.fold_in(key, frame), (num_boxes, 4), jnp.float32)
