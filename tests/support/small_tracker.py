"""A small random network and trackers on it, shared by the tests that need whole ones."""

import contextlib
import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.models import efficientnet
from dimp_jax.models.dimp import init_variables
from dimp_jax.tracking import tracker, weights

MODEL = config.ModelConfig(backbone="efficientnet_lite0", clf_channels=32, iou_channels=32)


# Four blocks instead of eleven, of the same widths where a tracker looks.
STAGES = (
    efficientnet.Stage(1, 3, 1, 1, 16),
    efficientnet.Stage(1, 3, 2, 2, 24),
    efficientnet.Stage(1, 3, 2, 2, 40),
    efficientnet.Stage(1, 3, 2, 2, 112),
)
PARTS = ("stem", *(f"block{index}" for index in range(len(STAGES))))
TAPS = {"layer2": "block2", "layer3": "block3"}


@contextlib.contextmanager
def small_backbone():
    """Makes the EfficientNets short; whatever traces `MODEL` needs it (see `conftest.py`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet, "STAGES", STAGES)
        patch.setattr(efficientnet, "PARTS", PARTS)
        patch.setattr(efficientnet, "TAPS", TAPS)
        yield


@functools.cache
def variables():
    """Random parameters, as numpy arrays; running statistics and biases that do something.

    The classifier is that of the untrained fallback, less the mean of the neighbouring cells: what
    all cells share is most of a random backbone's output, and would hide the target.
    """
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        name = path[-1].key
        noise = rng.standard_normal(shape.shape).astype(np.float32)
        if name == "kernel":  # the last axis is that of the outputs
            return noise * np.float32((2 / math.prod(shape.shape[:-1])) ** 0.5)
        if name in ("scale", "var"):
            return np.exp(0.2 * noise) if name == "var" else np.ones_like(noise)
        return 0.1 * noise

    with small_backbone():
        made = jax.eval_shape(lambda: init_variables(MODEL, jax.random.key(0)))
        made = jax.tree_util.tree_map_with_path(leaf, made)
        made = weights.with_untrained_heads(MODEL, made, ["clf", "filter_init", "predictor"])
    kernel = made["params"]["clf"]["conv"]["kernel"]  # 3 x 3, a projection in the middle
    kernel -= kernel.sum((0, 1)) / 9
    return made


def settings(method="iou", **changes):
    """A tracker configuration of 128 px crops that learns often, with a memory of 20."""
    samples = 2 if method == "iou_relative" else 0
    base = config.TrackerConfig(
        crop_size_px=128,
        memory=config.MemoryConfig(size=20, train_interval=5, init_iterations=4),
        localize=config.LocalizeConfig(not_found_threshold=0.01, search_growth=(1.5, 2.0)),
        refine=config.RefineConfig(
            method=method, modulation_samples=samples, modulation_iterations=2
        ),
    )
    return dataclasses.replace(base, **changes)


@functools.cache
def make(settings):
    """A `Tracker` with the random network and these settings."""
    whole = config.Config(model=MODEL, tracker=settings)
    return tracker.Tracker(whole, tracker.make_network(whole, variables()))
