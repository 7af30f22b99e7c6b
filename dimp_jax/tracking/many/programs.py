"""The device work of several lanes: the programs of `programs.py` over a leading axis.

Lanes differ in nothing but what they learn. To store a sample is one program for all lanes, with a
mask; iterations are run for the lanes that are due, a few at a time. The stacked memories are
donated: what is stored is written in place, where the single tracker copies its memory to stay
replayable.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dimp_jax.config import ModelConfig, TrackerConfig
from dimp_jax.tracking import draws, programs
from dimp_jax.tracking import memory as memories


@struct.dataclass
class Stack:
    """What the device holds of all lanes; the leading axis of every leaf counts them."""

    filt: jax.Array  # [B, K, K, C]
    memory: memories.Memory
    modulation: object  # Levels of [B, 1, F], or None without an IoU network
    key: jax.Array  # [B]


class View(NamedTuple):
    """The search windows of a frame: of every lane (leading axis B), or one for all of them."""

    crops: np.ndarray  # [n, P, P, 3] in 0..255
    position_yx: np.ndarray  # [n, 2] image pixels
    scale: np.ndarray  # [n] image pixels per crop pixel


# How the lanes share the device. "vmap": all at once, as an accelerator wants it. "loop": one after
# the other inside the program, idle ones skipped: on a CPU the maps of several crops do not stay in
# its caches (`look` of 4 and of 8 lanes of dimp_lite0 takes 1.4 and 1.5 times as long by "vmap").
# "shared": all look at the same `View`, and what depends on nothing else is computed once.
Form = Literal["vmap", "loop", "shared"]
UPDATED_TOGETHER = {"vmap": 4, "loop": 1, "shared": 1}  # by a call of `update`; 4: not measured


class LanePrograms(NamedTuple):
    """Jitted; each compiles once, `update` once for each number of iterations."""

    start: Callable  # of all lanes on the same first frame
    put: Callable
    look: Callable
    store: Callable
    update: Callable


def default_form() -> Form:
    """What suits the backend."""
    return "loop" if jax.default_backend() == "cpu" else "vmap"


@functools.lru_cache(maxsize=32)
def build(model: ModelConfig, tracker: TrackerConfig, form: Form) -> LanePrograms:
    """The programs of lanes; the same arguments give the same, already compiled ones."""
    single = programs.build(model, tracker)

    def put(stack, lane, one):
        write = lambda whole, part: jax.lax.dynamic_update_index_in_dim(whole, part, lane, 0)
        return jax.tree.map(write, stack, one)

    def look_one(params, filt, modulation, key, frame, pose, base_size, image_hw, view):
        uniforms = None
        if tracker.refine.method != "scale_search":
            uniforms = draws.for_frame(key, frame, tracker.refine.num_random_boxes)
        crops, position, scale = view
        seen = single.look(
            params, filt, modulation, crops, pose, base_size, image_hw, position, scale, uniforms
        )
        return seen._replace(scores=None)

    def look(params, active, lanes, view):
        """active bool [B]; lanes: what `look_one` takes of every lane, but for the view."""
        if form != "loop":
            axes = (None, *(0 for _ in lanes), None if form == "shared" else 0)
            return jax.vmap(look_one, in_axes=axes)(params, *lanes, view)
        seen = lambda lane: look_one(params, *lane)
        shapes = jax.eval_shape(seen, jax.tree.map(lambda leaf: leaf[0], (*lanes, view)))
        nothing = lambda lane: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        branch = lambda packed: jax.lax.cond(packed[0], seen, nothing, packed[1])
        return jax.lax.map(branch, (active, (*lanes, view)))

    def store(memory, feat, box_xywh, rate, stored):
        """feat [B, H, W, C]; box_xywh [B, 4]; rate [B]; stored bool [B]."""
        minimum = tracker.memory.init_samples_minimum_weight
        insert = lambda m, f, b, r, s: memories.insert(m, f, b, r, minimum, stored=s)
        return jax.vmap(insert)(memory, feat, box_xywh, rate, stored)

    def update(params, filt, memory, sample, lanes, *, num_iter):
        """lanes int32 [G]; a number past the last lane stands for none.

        Learns from memory or from sample (feat, box_xywh, rate of every lane); the other is None.
        """
        learn = functools.partial(single.learn, insert=False, num_iter=num_iter)
        every = (filt, memory, sample or (None, None, None))
        chosen = jax.tree.map(lambda leaf: leaf.at[lanes].get(mode="clip"), every)
        learned = jax.vmap(lambda f, m, s: learn(params, f, m, *s)[0])(*chosen)
        return filt.at[lanes].set(learned, mode="drop")

    # Patches are the same for all lanes; boxes and dropout are not.
    start = jax.vmap(single.start, in_axes=(None, None, 0, 0))
    return LanePrograms(
        jax.jit(start),
        jax.jit(put, donate_argnames="stack"),
        jax.jit(look),
        jax.jit(store, donate_argnames="memory"),
        jax.jit(update, donate_argnames="filt", static_argnames="num_iter"),
    )
