"""The whole network: shapes of every architecture, folding, dtypes, classifier parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.models import dimp, resnet
from dimp_jax.models.classifier import ClassifierFeatures, instance_l2_norm
from dimp_jax.models.dimp import DiMP
from dimp_jax.models.filter_init import FilterInitializer
from dimp_jax.models.layers import Conv, Numerics
from dimp_jax.models.roi_pool import roi_pool, xywh_to_xyxy
from dimp_jax.models.train_forward import Batch, forward
from tests.support import small_tracker

ARCHITECTURES = {
    "dimp18": (128, 256, 256),
    "dimp50": (512, 1024, 512),
    "dimp_lite0": (40, 112, 128),
}


@functools.cache
def shapes_of(name):
    """Shapes of the variables, without computing any."""
    model = config.load(name).model
    return jax.eval_shape(lambda: dimp.init_variables(model, jax.random.key(0)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes(name):
    """Strides 8 and 16 of a 288 px crop, a 4 x 4 filter; nothing is computed."""
    layer2, layer3, channels = ARCHITECTURES[name]
    net = DiMP(config.load(name).model)

    def run(variables, images, box):
        maps = net.apply(variables, images, method="features")
        feat = net.apply(variables, maps["layer3"], method="clf_features")
        filt = net.apply(variables, feat, box, method="initial_filter")
        _, params, iou = net.apply(variables, images, box)
        return maps["layer2"], maps["layer3"], feat, filt, params, iou

    images = jax.ShapeDtypeStruct((2, 288, 288, 3), jnp.float32)
    box = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    out = jax.eval_shape(run, shapes_of(name), images, box)
    assert [x.shape for x in out[:4]] == [
        (2, 36, 36, layer2),
        (2, 18, 18, layer3),
        (2, 18, 18, channels),
        (4, 4, channels),
    ]
    assert {k: v.shape for k, v in out[4].items()} == {
        "label": (100,),
        "mask": (100,),
        "weight": (100,),
        "log_step_length": (),
        "filter_reg": (),
    }
    assert out[5].shape == (2, 1)
    assert set(shapes_of(name)["params"]) == {"backbone", "clf", "filter_init", "predictor", "iou"}


def test_bfloat16_is_confined():
    """Backbone maps in bfloat16; parameters, features of the filter and overlaps in float32."""
    model = config.ModelConfig(backbone="resnet18", clf_blocks=1, compute_dtype="bfloat16")
    variables = jax.eval_shape(lambda: dimp.init_variables(model, jax.random.key(0)))
    assert {v.dtype for v in jax.tree.leaves(variables)} == {np.dtype("float32")}
    net = DiMP(model)

    def run(variables, images, box):
        maps = net.apply(variables, images, method="features")
        feat = net.apply(variables, maps["layer3"], method="clf_features")
        return maps["layer3"], feat, *net.apply(variables, images, box)

    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    box = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    layer3, feat, filt, params, iou = jax.eval_shape(run, variables, images, box)
    assert layer3.dtype == jnp.bfloat16
    assert {x.dtype for x in (feat, filt, iou, *params.values())} == {np.dtype("float32")}


@pytest.mark.usefixtures("small_backbone")
def test_folding_the_whole_network():
    """Its parts have different epsilons: 1e-3 in the backbone, 1e-5 elsewhere."""
    variables = small_tracker.variables()
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(0, 255, (1, 64, 64, 3)), jnp.float32)
    box = jnp.asarray([[16.0, 12.0, 30.0, 40.0]])
    run = lambda net, v: jax.jit(net.apply)(v, images, box)
    expected = run(DiMP(small_tracker.MODEL), variables)
    folded = dimp.fold(small_tracker.MODEL, variables)
    assert set(folded) == {"params"}
    out = run(DiMP(small_tracker.MODEL, folded=True), folded)
    for ours, theirs in zip(jax.tree.leaves(out), jax.tree.leaves(expected), strict=True):
        scale = float(abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * scale)


def test_normalize():
    images = jnp.zeros((1, 2, 2, 3), jnp.uint8).at[0, 0, 0].set(255)
    lite = DiMP(config.load("dimp_lite0").model).normalize(images)
    np.testing.assert_allclose(lite[0, 0, 0], 1.0)
    np.testing.assert_allclose(lite[0, 1, 1], -127 / 128)
    torch = DiMP(config.load("dimp18").model).normalize(images)
    np.testing.assert_allclose(torch[0, 0, 0], [2.2489, 2.4286, 2.64], rtol=1e-4)
    np.testing.assert_allclose(torch[0, 1, 1], [-2.1179, -2.0357, -1.8044], rtol=1e-4)


def test_instance_norm():
    x = 50 * np.random.default_rng(0).standard_normal((2, 5, 6, 3)).astype(np.float32) + 3
    norm = jax.jit(lambda x: instance_l2_norm(x, 0.25))
    out = norm(x)
    np.testing.assert_allclose((out**2).mean((1, 2, 3)), 0.25**2, rtol=1e-5)
    np.testing.assert_allclose(out[1] / x[1], (out[1] / x[1]).mean(), rtol=1e-4)
    value, grad = jax.value_and_grad(lambda x: norm(x).sum())(0 * x)
    assert value == 0 and np.isfinite(grad).all()


def test_classifier_features():
    """Mean square 1 / (C K K), whatever the input; blocks are residual."""
    module = ClassifierFeatures(8, 1, 4, Numerics())
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 5)).astype(np.float32)
    variables = jax.jit(module.init)(jax.random.key(1, impl="unsafe_rbg"), x)
    out = jax.jit(module.apply)(variables, 100 * x)
    np.testing.assert_allclose((out**2).mean((1, 2, 3)), 1 / (8 * 16), rtol=1e-4)
    assert variables["params"]["block0"]["conv1"]["conv"]["kernel"].shape == (3, 3, 5, 5)
    assert set(variables["params"]) == {"block0", "conv"}


def test_filter_initializer_convolves_then_pools():
    """Also where it does both in the other order, as in training."""
    rng = np.random.default_rng(0)
    feat = rng.standard_normal((3, 9, 7, 5)).astype(np.float32)
    # Inside, half outside, narrower than a cell.
    box = np.array([[20, 30, 50, 60], [-30, 90, 80, 90], [40, 40, 3, 8]], np.float32)
    conv = {
        "kernel": rng.standard_normal((3, 3, 5, 5)).astype(np.float32),
        "bias": rng.standard_normal(5).astype(np.float32),
    }

    @jax.jit
    def expected(feat, box):
        out = Conv(5, use_bias=True).apply({"params": conv}, feat)
        corners = xywh_to_xyxy(box)
        return sum(roi_pool(out[i], corners[i, None], 4, 1 / 16)[0] for i in range(3)) / 3

    for pool_first in (False, True):
        module = FilterInitializer(4, pool_first=pool_first)
        found = jax.jit(module.apply)({"params": {"conv": conv}}, feat, box)
        np.testing.assert_allclose(found, expected(feat, box), atol=2e-5)
    shapes = [
        jax.eval_shape(FilterInitializer(4, pool_first=p).init, jax.random.key(0), feat, box)
        for p in (False, True)
    ]
    assert shapes[0] == shapes[1]


def test_filter_initializer_is_the_mean_of_the_pooled_targets():
    module = FilterInitializer(4)
    rng = np.random.default_rng(0)
    feat = rng.standard_normal((3, 8, 8, 5)).astype(np.float32)
    box = np.float32([[20, 30, 50, 60], [10, 12, 70, 33], [40, 40, 25, 20]])
    kernel = rng.standard_normal((3, 3, 5, 5)).astype(np.float32)
    params = {"params": {"conv": {"kernel": kernel, "bias": np.ones(5, np.float32)}}}
    run = jax.jit(module.apply)
    filt = run(params, feat, box)
    assert filt.shape == (4, 4, 5)
    # The same as every sample's own filter, here made of three copies of it.
    each = [run(params, feat[[i, i, i]], box[[i, i, i]]) for i in range(3)]
    np.testing.assert_allclose(filt, sum(each) / 3, rtol=1e-4, atol=1e-6)
    # A convolution that copies: what is left is the pooling, without a half-pixel shift.
    copy = np.zeros((3, 3, 5, 5), np.float32)
    copy[1, 1] = np.eye(5)
    identity = {"params": {"conv": {"kernel": copy, "bias": np.ones(5, np.float32)}}}
    corners = np.concatenate([box[:1, :2], box[:1, :2] + box[:1, 2:]], -1)
    pooled = jax.jit(roi_pool, static_argnums=(2, 3))(feat[0] + 1, corners, 4, 1 / 16)[0]
    copied = run(identity, feat[[0, 0, 0]], box[[0, 0, 0]])
    np.testing.assert_allclose(copied, pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.Bottleneck])
def test_residual_blocks(block):
    """The shortcut is the identity, or a strided 1x1 convolution where the shape changes."""
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 8))
    width = 8 if block is resnet.BasicBlock else 2
    same, strided = block(width, Numerics()), block(width, Numerics(), stride=2)
    variables = jax.eval_shape(same.init, jax.random.key(1), x)
    assert "downsample" not in variables["params"]
    zeros = jax.tree.map(lambda v: np.zeros(v.shape, np.float32), variables)
    out = jax.jit(same.apply)(zeros, x)
    np.testing.assert_array_equal(out, jax.nn.relu(x))
    shapes = jax.eval_shape(strided.init, jax.random.key(1), x)
    assert "downsample" in shapes["params"]
    assert jax.eval_shape(strided.apply, shapes, x).shape == (1, 3, 3, 8)


def batch_shapes(b=2, n=3, t=2, p=5, size=64):
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)
    crops = (size, size, 3)
    return Batch(shape(b, n, *crops), shape(b, n, 4), shape(b, t, *crops), shape(b, t, p, 4))


@pytest.mark.parametrize("train", [False, True])
def test_training_forward_shapes(train):
    net = DiMP(config.load("dimp18").model)
    variables = shapes_of("dimp18")
    prediction, stats = jax.eval_shape(
        lambda v, b: forward(net, v, b, train=train), variables, batch_shapes()
    )
    assert prediction.scores.shape == (6, 2, 2, 5, 5)
    assert prediction.iou.shape == (2, 2, 5)
    assert jax.tree.map(lambda s: s.shape, stats) == jax.tree.map(
        lambda s: s.shape, variables["batch_stats"]
    )
