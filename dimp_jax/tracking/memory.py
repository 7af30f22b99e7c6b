"""The sample memory: a fixed number of slots, each with features, a box and a weight (6.8).

An empty slot has weight 0 and so takes no part in the loss; no shape ever changes.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Memory:
    """What the filter is fitted to."""

    feat: jax.Array  #: [M, H, W, C] classification features
    box_xywh: jax.Array  #: [M, 4] crop pixels
    weight: jax.Array  #: [M] of a sample in the loss; 0: the slot is empty
    num_stored: jax.Array  #: int32 []; counts on when the memory is full
    last_slot: jax.Array  #: int32 [], -1 before the first update
    num_init: int = struct.field(pytree_node=False)  #: slots of the first frame's samples


def create(feat, box_xywh, size: int) -> Memory:
    """A memory of `size` slots whose first N hold the samples of the first frame.

    Raises:
      ValueError: more samples than slots.
    """
    num_init = feat.shape[0]
    if num_init > size:
        raise ValueError(
            f"memory.size={size}: too small for the {num_init} samples of the first frame"
        )
    empty = size - num_init
    return Memory(
        feat=jnp.pad(feat, ((0, empty), (0, 0), (0, 0), (0, 0))),
        box_xywh=jnp.pad(box_xywh, ((0, empty), (0, 0))),
        weight=jnp.pad(jnp.full(num_init, 1 / num_init, jnp.float32), (0, empty)),
        num_stored=jnp.int32(num_init),
        last_slot=jnp.int32(-1),
        num_init=num_init,
    )


def update_weights(weight, num_stored, last_slot, num_init: int, rate, init_minimum: float):
    """Chooses the slot of a new sample and reweighs all.

    Args:
      weight: [M]. num_stored, last_slot: int32 scalars as in `Memory`.
      num_init: static, slots of the first frame.
      rate: learning rate in (0, 1]; at 1 only the new sample counts, in slot 0.
      init_minimum: static, total weight kept for the first frame; 0 lets its slots be replaced.

    Returns:
      (weight [M], slot int32 []).

    Raises:
      ValueError: `init_minimum` keeps every slot for the first frame.
    """
    size = weight.shape[0]
    protected = num_init if init_minimum else 0
    if protected >= size:
        raise ValueError(
            f"memory.size={size}: the {num_init} samples of the first frame leave no slot for "
            "another; enlarge it, or set memory.init_samples_minimum_weight=0"
        )
    replaced = protected + jax.lax.argmin(weight[protected:], 0, jnp.int32)
    slot = jnp.where(num_stored < size, num_stored, replaced).astype(jnp.int32)

    # The others are not decayed: each new sample weighs 1 / (1 - rate) times the one before it.
    keep = jnp.where(rate < 1, 1 - rate, 1.0)
    first = (weight / keep).at[slot].set(rate)
    later = weight.at[slot].set(weight[last_slot] / keep)
    updated = jnp.where(last_slot < 0, first, later)
    updated = updated / updated.sum()
    if init_minimum:
        initial = updated[:num_init].sum()
        floored = updated / (init_minimum + updated[num_init:].sum())
        floored = floored.at[:num_init].set(init_minimum / num_init)
        updated = jnp.where(initial < init_minimum, floored, updated)

    reset = (rate >= 1) | (num_stored == 0)
    only_new = jnp.zeros_like(weight).at[0].set(1.0)
    return jnp.where(reset, only_new, updated), jnp.where(reset, 0, slot).astype(jnp.int32)


def insert(memory: Memory, feat, box_xywh, rate, init_minimum: float, *, stored=True) -> Memory:
    """Stores one sample: feat [H, W, C], box_xywh [4] crop pixels.

    Where `stored` (bool []) is False all stays as it is, without a copy of the features: so `vmap`
    can insert into some memories only.
    """
    weight, slot = update_weights(
        memory.weight, memory.num_stored, memory.last_slot, memory.num_init, rate, init_minimum
    )
    place = jnp.where(stored, slot, memory.weight.shape[0])  # writes beyond the end are dropped
    return dataclasses.replace(
        memory,
        feat=memory.feat.at[place].set(feat),
        box_xywh=memory.box_xywh.at[place].set(box_xywh),
        weight=jnp.where(stored, weight, memory.weight),
        num_stored=memory.num_stored + jnp.int32(stored),
        last_slot=jnp.where(stored, slot, memory.last_slot),
    )
