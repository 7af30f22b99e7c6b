"""A small random network and trackers on it, shared by the tests that need whole ones."""

import dataclasses
import functools

import jax
import numpy as np

from dimp_jax import config
from dimp_jax.models.dimp import init_variables
from dimp_jax.tracking import tracker, weights

MODEL = config.ModelConfig(backbone="efficientnet_lite0", clf_channels=32, iou_channels=32)


@functools.cache
def variables():
    """Random parameters, as numpy arrays; running statistics and biases that do something.

    The classifier is that of the untrained fallback, less the mean of the neighbouring cells: what
    all cells share is most of a random backbone's output, and would hide the target.
    """
    rng = np.random.default_rng(0)

    def leaf(path, value):
        name = path[-1].key
        value = np.asarray(value)
        noise = rng.standard_normal(value.shape).astype(np.float32)
        if name == "var":
            return np.exp(0.2 * noise)
        return value + 0.1 * noise if name in ("mean", "bias") else value

    # This generator compiles in half the time of the default one.
    made = init_variables(MODEL, jax.random.key(0, impl="unsafe_rbg"))
    made = jax.tree_util.tree_map_with_path(leaf, made)
    made = weights.with_untrained_heads(MODEL, made, ["clf", "filter_init"])
    kernel = made["params"]["clf"]["conv"]["kernel"]  # 3 x 3, a projection in the middle
    kernel -= kernel.sum((0, 1)) / 9
    return made


def settings(method="iou", **changes):
    """A tracker configuration of 128 px crops that learns often, with a memory of 20."""
    base = config.TrackerConfig(
        crop_size_px=128,
        memory=config.MemoryConfig(size=20, train_interval=5, init_iterations=4),
        localize=config.LocalizeConfig(not_found_threshold=0.01),
        refine=config.RefineConfig(method=method),
    )
    return dataclasses.replace(base, **changes)


@functools.cache
def make(settings):
    """A `Tracker` with the random network and these settings."""
    whole = config.Config(model=MODEL, tracker=settings)
    return tracker.Tracker(whole, tracker.make_network(whole, variables()))
