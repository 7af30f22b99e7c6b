"""A tiny network, its training config and batches, shared by the tests of the training step."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.data.source import Sample
from dimp_jax.models import resnet
from dimp_jax.models.dimp import init_variables
from dimp_jax.predictor import predict
from dimp_jax.tracking import programs
from dimp_jax.training import start

CROP_PX, TRAIN, TEST, PROPOSALS = 64, 2, 1, 4
MODEL = config.ModelConfig(
    backbone="efficientnet_lite0",
    clf_channels=16,
    iou_channels=16,
    predictor=config.PredictorConfig(num_iter=2),
)
# The fastest to compile, after `shrink_resnet`.
TINY = dataclasses.replace(MODEL, backbone="resnet18")
WIDTHS = (8, 16, 24)
BLOCKS = {18: (resnet.BasicBlock, (1, 1, 1)), 50: (resnet.Bottleneck, (1, 1, 1))}


def shrink_resnet(patch=setattr):
    """Makes the ResNets networks of one narrow block a level; `monkeypatch.setattr` in tests."""
    patch(resnet, "WIDTHS", WIDTHS)
    patch(resnet, "BLOCKS", BLOCKS)


def settings(model=MODEL, dtype="float32", **changes):
    """A `Config`; `changes` are of `TrainingConfig`."""
    model = dataclasses.replace(model, compute_dtype=dtype)
    training = dataclasses.replace(config.TrainingConfig(start="random"), **changes)
    return config.Config(model=model, training=training)


@functools.cache
def variables(model=MODEL):
    """Random parameters as numpy arrays; nothing is compiled for them."""
    assert model.backbone != "resnet18" or resnet.BLOCKS is BLOCKS, "call shrink_resnet first"
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        name = path[-1].key
        if name == "kernel":  # the last axis is that of the outputs
            fan_in = math.prod(shape.shape[:-1])
            return rng.normal(0, fan_in**-0.5, shape.shape).astype(np.float32)
        if name in ("scale", "var"):
            return np.ones(shape.shape, np.float32)
        assert name in ("bias", "mean"), path
        return np.zeros(shape.shape, np.float32)

    made = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    learned_loss = jax.tree.map(np.asarray, predict.init_params(model.predictor))
    made["params"]["predictor"] = learned_loss
    return jax.tree_util.tree_map_with_path(
        lambda path, x: x if isinstance(x, np.ndarray) else leaf(path, x), made
    )


def batch(size, seed=0, crop_px=CROP_PX, train=TRAIN, test=TEST, proposals=PROPOSALS):
    """A `Sample` [size, ...] of noise with a bright square on the target."""
    rng = np.random.default_rng(seed)

    def frames(count):
        crops = rng.integers(0, 128, (size, count, crop_px, crop_px, 3), np.uint8)
        side = rng.uniform(0.2, 0.4, (size, count, 2)) * crop_px
        corner = rng.uniform(0.2, 0.4, (size, count, 2)) * crop_px
        box = np.concatenate([corner, side], -1).astype(np.float32)
        for index in np.ndindex(size, count):
            x, y, w, h = box[index].astype(int)
            crops[(*index, slice(y, y + h), slice(x, x + w))] += 120
        return crops, box, rng.uniform(0.8, 1.2, (size, count)).astype(np.float32)

    train_frames, test_frames = frames(train), frames(test)
    shift = rng.uniform(-0.1, 0.1, (size, test, proposals, 4)) * crop_px
    return Sample(
        *train_frames,
        *test_frames,
        proposals=(test_frames[1][:, :, None] + shift).astype(np.float32),
        proposal_value=rng.uniform(0.1, 1, (size, test, proposals)).astype(np.float32),
        proposal_target=rng.uniform(0.1, 1, (size, test, proposals)).astype(np.float32),
    )


@pytest.fixture(autouse=True, scope="module")
def tiny_network():
    """The tiny network; programs that know a network by its config alone are made anew."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_resnet(patch.setattr)
        _forget_programs()
        yield
    _forget_programs()


def _forget_programs():
    for made in (start._draw, programs.build, programs.build_kept):
        made.cache_clear()


def flat(tree):
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree.leaves_with_path(tree)}


def assert_close(got, expected, rtol):
    """Every array within `rtol` of its largest value; all below a millionth of the largest of any
    array is rounding (the bias before a batch norm has no gradient)."""
    got, expected = flat(got), flat(expected)
    assert got.keys() == expected.keys()
    largest = {name: np.abs(value).max() for name, value in expected.items()}
    for name, value in expected.items():
        error = np.abs(got[name] - value).max()
        scale = max(largest[name], 1e-6 * max(largest.values()) / rtol)
        assert error <= rtol * scale, (
            f"{name}: off by {error:.3g}, largest value {largest[name]:.3g}"
        )
