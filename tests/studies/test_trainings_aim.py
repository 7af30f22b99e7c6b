"""Hits of the trainings: a fitted filter finds the target, features are made once."""

import dataclasses
import types

import jax
import numpy as np
import pytest
import rich.console

from dimp_jax import config as configs
from dimp_jax.studies.trainings import aim, train

CELLS, CHANNELS = 8, 16


def blob(center):
    """Stride-16 features of one frame: two channels say where the target is not, one where."""
    yx = np.stack(np.meshgrid(*[np.arange(CELLS) + 0.5] * 2, indexing="ij"), -1)
    near = np.exp(-((yx - center) ** 2).sum(-1))
    return np.stack([near, 1 - near, np.ones_like(near)], -1).astype(np.float32)


def box(center):
    return np.float32([16 * center[1] - 16, 16 * center[0] - 16, 32, 32])


@pytest.fixture(scope="module")
def setting():
    """A group of two members behind features of three channels, and their heads."""
    base = configs.load("dimp_lite0")
    model = dataclasses.replace(base.model, clf_channels=CHANNELS, iou_channels=4)
    config = dataclasses.replace(base, model=model)
    rng = np.random.default_rng(0)
    draw = lambda *shape: (0.3 * rng.standard_normal(shape)).astype(np.float32)
    heads = {
        "clf": {"conv": {"kernel": draw(3, 3, 3, CHANNELS)}},
        "filter_init": {
            "conv": {"kernel": draw(3, 3, CHANNELS, CHANNELS), "bias": draw(CHANNELS)},
        },
    }
    group = train.grouped([train.Member("base", 0, config), train.Member("no_label", 0, config)])
    unused = {"kernel": np.zeros(1, np.float32)}
    shared = {"params": {"backbone": unused, "iou": unused}, "batch_stats": {}}
    states = train.init_states(group, shared, lambda seed: {"params": heads, "batch_stats": {}})
    return group, states


def clip(offset):
    """The target in the middle of the first frame; later ones where it is said to be `offset`."""
    centers = [(4.0, 4.0), (3.0, 5.0), (5.0, 3.0), (3.5, 3.5)]
    first = np.stack([blob(center) for center in centers])
    told = [(y + offset, x + offset) for y, x in centers]
    boxes = np.stack([box(center) for center in centers])
    weight = np.float32([1, 1, 1, 0])
    return aim.Clip(first, boxes, first, np.stack([box(c) for c in told]), weight)


def test_a_fitted_filter_hits_where_the_target_is(setting):
    groups, states = setting
    found = {"there": clip(0.0), "elsewhere": clip(-3.0)}
    hits = aim.hits(groups, states, found, 50)
    assert list(hits) == ["base-0", "no_label-0"]
    assert hits["base-0"] == {"there": 1.0, "elsewhere": 0.0} == hits["no_label-0"]


def test_features_are_made_once(monkeypatch, tmp_path):
    calls = []

    def make(tracked, features, sequence):
        calls.append(sequence.name)
        return None if sequence.name == "short" else clip(0.0)

    monkeypatch.setattr(aim, "_clip_of", make)
    monkeypatch.setattr(aim.maker, "extractor", lambda *_: None)
    monkeypatch.setattr(aim.tracker, "make_network", lambda *_: None)
    sequences = [dataclasses.make_dataclass("S", ["name"])(name) for name in ("long", "short")]
    config, console = configs.load("dimp_lite0"), rich.console.Console(quiet=True)
    for _ in range(2):
        found = aim.clips(config, None, sequences, tmp_path / "clips", console)
    assert calls == ["long", "short"] and list(found) == ["long"]
    jax.tree.map(np.testing.assert_array_equal, found["long"], clip(0.0))


def test_first_samples_are_the_trackers_without_those_of_dropout():
    config = configs.load("dimp_lite0")
    tracked = types.SimpleNamespace(
        config=config, network=types.SimpleNamespace(clf_channels=CHANNELS)
    )
    image = np.zeros((120, 160, 3), np.uint8)
    patches, boxes = aim._first_samples(tracked, image, np.float32([60, 40, 30, 20]))
    side = config.tracker.crop_size_px
    assert patches.shape[1:] == (side, side, 3) and boxes.shape == (len(patches), 4)
    np.testing.assert_allclose(boxes[0, :2] + boxes[0, 2:] / 2, side / 2, atol=4)
