"""Batch norm, folding, several devices, bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dimp_jax.models.layers import (
    BatchNorm,
    Conv,
    ConvNorm,
    LinearNorm,
    Numerics,
    fold_batch_norm,
)
from tests.models.random_arrays import normal, randomized

DEVICES = 4  # of conftest.py


# ----------------------------------------------------------------------------------- batch norm

STATS = {"mean": np.float32([1.0, -2.0, 0.5]), "var": np.float32([4.0, 1.0, 0.25])}
AFFINE = {"scale": np.float32([1.0, 2.0, 3.0]), "bias": np.float32([0.0, 1.0, -1.0])}
VARIABLES = {"params": AFFINE, "batch_stats": STATS}
BATCH = normal(3, (8, 4, 4, 3)) * 3 + 5


def row(v):
    return np.reshape(v, (1, 1, 1, -1))


def test_batch_norm_evaluation_uses_running_statistics():
    out = BatchNorm(Numerics(norm_eps=0.1)).apply(VARIABLES, BATCH)
    expected = (np.asarray(BATCH) - row(STATS["mean"])) / np.sqrt(row(STATS["var"]) + 0.1)
    expected = expected * row(AFFINE["scale"]) + row(AFFINE["bias"])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_batch_norm_training_standardises_and_moves_the_statistics():
    module = BatchNorm(Numerics(norm_eps=1e-6, norm_momentum=0.75))
    out, updated = module.apply(VARIABLES, BATCH, train=True, mutable=["batch_stats"])
    standard = (np.asarray(out) - row(AFFINE["bias"])) / row(AFFINE["scale"])
    np.testing.assert_allclose(standard.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std((0, 1, 2)), 1, rtol=1e-4)
    values = np.asarray(BATCH, np.float64)
    for name, now in (("mean", values.mean((0, 1, 2))), ("var", values.var((0, 1, 2), ddof=1))):
        expected = 0.75 * STATS[name] + 0.25 * now  # the variance is the unbiased one
        np.testing.assert_allclose(updated["batch_stats"][name], expected, rtol=1e-5)


def test_one_value_a_channel_stays_finite():
    module, one = BatchNorm(Numerics()), jnp.ones((1, 3))
    out, updated = module.apply(VARIABLES, one, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(out, AFFINE["bias"][None])
    assert all(np.isfinite(v).all() for v in jax.tree.leaves(updated))


def test_norm_axis_on_four_devices_equals_one_on_the_whole_batch():
    assert jax.local_device_count() >= DEVICES
    numerics = lambda axis: Numerics(norm_axis=axis)

    def loss(x, axis):
        out, updated = BatchNorm(numerics(axis)).apply(
            VARIABLES, x, train=True, mutable=["batch_stats"]
        )
        return (jnp.sin(out) * out).sum(), (out, updated["batch_stats"])

    value_and_grad = lambda axis: jax.value_and_grad(lambda x: loss(x, axis), has_aux=True)
    (_, (out, stats)), grad = jax.jit(value_and_grad(None))(BATCH)
    shards = BATCH.reshape(DEVICES, 2, 4, 4, 3)
    (_, (outs, all_stats)), grads = jax.pmap(value_and_grad("batch"), axis_name="batch")(shards)
    np.testing.assert_allclose(outs.reshape(out.shape), out, rtol=1e-4, atol=1e-5)
    # The sum over devices is differentiated: pmean carries gradients from one to the others.
    np.testing.assert_allclose(grads.reshape(grad.shape), grad, rtol=1e-3, atol=1e-5)
    for name, expected in stats.items():
        for device in range(DEVICES):
            np.testing.assert_allclose(all_stats[name][device], expected, rtol=1e-5)
    alone = jax.pmap(lambda x: loss(x, None)[1][1])(shards)
    assert abs(alone["mean"][0] - stats["mean"]).max() > 1e-3, "shards must differ to tell"


# --------------------------------------------------------------------------- folding, bfloat16


class Small(nn.Module):
    """One of every kind of layer with a norm, two levels deep, and one without."""

    numerics: Numerics

    @nn.compact
    def __call__(self, x, train=False):
        x = ConvNorm(6, self.numerics, stride=2, name="plain")(x, train)
        x = ConvNorm(6, self.numerics, 3, padding="same", depthwise=True, name="wise")(x, train)
        x = ConvNorm(5, self.numerics, 1, use_bias=True, activation=None, name="point")(x, train)
        x = Conv(5, use_bias=True, dtype=self.numerics.dtype, name="bare")(x)
        return LinearNorm(4, self.numerics, name="linear")(x.mean((1, 2)), train)


class Nested(nn.Module):
    numerics: Numerics

    def setup(self):
        self.inner = Small(self.numerics)

    def __call__(self, x, train=False):
        return self.inner(x, train)


IMAGES = normal(7, (3, 6, 7, 3))


def small_variables(module):
    return randomized(jax.eval_shape(module.init, jax.random.key(0), IMAGES))


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_folding_keeps_the_output(eps):
    module = Nested(Numerics(norm_eps=eps))
    variables = small_variables(module)
    params = fold_batch_norm(variables["params"], variables["batch_stats"], eps)
    assert not any("norm" in str(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
    out = jax.jit(Nested(Numerics(folded=True)).apply)({"params": params}, IMAGES)
    expected = jax.jit(module.apply)(variables, IMAGES)
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    # The bare convolution has no norm to take in.
    bare = params["inner"]["bare"]
    np.testing.assert_array_equal(bare["kernel"], variables["params"]["inner"]["bare"]["kernel"])


@pytest.mark.parametrize("train", [False, True])
def test_bfloat16(train):
    """Parameters and running statistics in float32; outputs within 4 % of the largest value."""
    half = Nested(Numerics(dtype=jnp.bfloat16))
    variables = small_variables(half)
    shapes = jax.eval_shape(half.init, jax.random.key(0), IMAGES)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    apply = lambda module: jax.jit(lambda v, x: module.apply(v, x, train, mutable=["batch_stats"]))(
        variables, IMAGES
    )
    out, updated = apply(half)
    expected, _ = apply(Nested(Numerics()))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {np.dtype("float32")}
    error = abs(out.astype(jnp.float32) - expected).max() / abs(expected).max()
    assert 0 < error < 0.04, error
