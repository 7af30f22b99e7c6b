"""Every form of a convolution gives what XLA's own does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.models import dimp, resnet, winograd_layers
from dimp_jax.models.convolutions import depthwise, plain, pointwise, window, winograd
from dimp_jax.models.layers import Conv, ConvNorm, Numerics
from dimp_jax.tracking.tracker import make_network
from tests.models.random_arrays import normal, randomized


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size_hw", [(7, 8), (8, 5)])
def test_conv1x1(size_hw, stride):
    x, kernel = normal(0, (2, *size_hw, 3)), normal(1, (1, 1, 3, 5))
    expected = plain.convolve_xla(x, kernel, stride, ((0, 0), (0, 0)))
    np.testing.assert_allclose(
        pointwise.convolve(x, kernel, stride), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size_hw", [(7, 8), (8, 5), (2, 1)])
@pytest.mark.parametrize("k", [3, 5])
def test_depthwise(k, size_hw, stride):
    x, kernel = normal(0, (2, *size_hw, 4)), normal(1, (k, k, 1, 4))
    pads = window.pad_amounts(size_hw, k, stride, "same")
    fast = jax.jit(depthwise.convolve, static_argnums=(2, 3))(x, kernel, stride, pads)
    assert fast.shape == (2, -(-size_hw[0] // stride), -(-size_hw[1] // stride), 4)
    grouped = plain.convolve_xla(x, kernel, stride, pads, groups=4)
    np.testing.assert_allclose(fast, grouped, rtol=1e-5, atol=1e-5)
    same = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    np.testing.assert_allclose(fast, same, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (8, 3, 1, (1, 1)),
        (8, 3, 2, (0, 1)),  # even: the odd pixel goes to the end
        (7, 3, 2, (1, 1)),
        (8, 5, 2, (1, 2)),
        (7, 5, 2, (2, 2)),
        (8, 1, 2, (0, 0)),  # never negative
        (288, 3, 2, (0, 1)),
    ],
)
def test_same_padding(size, kernel, stride, expected):
    assert window.same_padding(size, kernel, stride) == expected
    assert window.pad_amounts((size, 8), kernel, stride, "same")[0] == expected


def test_other_paddings():
    assert window.pad_amounts((8, 9), 3, 2, "torch") == ((1, 1), (1, 1))
    assert window.pad_amounts((8, 9), 7, 2, "torch") == ((3, 3), (3, 3))
    assert window.pad_amounts((8, 9), 3, 1, "valid") == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "use_bias": True},
        {"kernel_size": 3, "stride": 2, "padding": "same", "depthwise": True, "use_bias": True},
        {"kernel_size": 3, "padding": "valid"},
    ],
)
def test_conv_module(options):
    """The module picks a form and adds the bias; XLA's convolution is the oracle."""
    x = normal(0, (2, 6, 7, 4))
    module = Conv(4, **options)
    params = randomized(jax.eval_shape(module.init, jax.random.key(0), x)["params"])
    groups = 4 if module.depthwise else 1
    pads = window.pad_amounts((6, 7), module.kernel_size, module.stride, module.padding)
    assert params["kernel"].shape == (module.kernel_size,) * 2 + (4 // groups, 4)
    expected = plain.convolve_xla(x, params["kernel"], module.stride, pads, groups=groups)
    expected = expected + np.reshape(params.get("bias", np.zeros(4, np.float32)), (1, 1, 1, 4))
    assert ("bias" in params) == module.use_bias
    out = module.apply({"params": params}, x)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------- Winograd


@pytest.mark.parametrize("size_hw", [(8, 8), (5, 7), (1, 2)])
def test_winograd(size_hw):
    """The bound is of float32: 1e-6 of the largest output."""
    x, kernel = normal(0, (2, *size_hw, 16)), normal(1, (3, 3, 16, 8))
    weights = winograd.transform_kernel(kernel)
    assert [w.shape for w in weights.values()] == [(4, 16, 8)] * 4
    expected = plain.convolve_xla(x, kernel, 1, ((1, 1), (1, 1)))
    out = jax.jit(winograd.convolve_transformed)(x, weights)
    assert out.dtype == jnp.float32
    assert abs(out - expected).max() < 1e-6 * abs(expected).max()


def test_winograds_gradients():
    """In float64 nothing but rounding is left, of the outputs and of both gradients."""
    rng = np.random.default_rng(0)
    pads = ((1, 1), (1, 1))
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.standard_normal(s)) for s in ((2, 5, 6, 3), (3, 3, 3, 2)))
        run = lambda conv: jax.jit(
            jax.value_and_grad(lambda x, k: jnp.sum(jnp.sin(conv(x, k))), argnums=(0, 1))
        )(x, kernel)
        expected = run(lambda x, k: plain.convolve_xla(x, k, 1, pads))
        leaves = map(jax.tree.leaves, (run(winograd.convolve), expected))
        for got, wanted in zip(*leaves, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["dimp18", "dimp50", "dimp_lite0"])
def test_kernels_of_a_tracker_for_winograd(name):
    """All 3x3 kernels of stride 1 that a frame needs, and no other, change their form."""
    model = config.load(name).model
    shapes = jax.eval_shape(lambda: dimp.init_variables(model, jax.random.key(0)))["params"]
    paths = winograd_layers.convolutions(model)
    for path in paths:
        node = shapes
        for key in path:
            node = node[key]
        assert node["kernel"].shape[:2] == (3, 3)
    of_backbone = {"dimp18": 10, "dimp50": 11, "dimp_lite0": 0}[name]
    assert sum(path[0] == "backbone" for path in paths) == of_backbone
    assert len(paths) == of_backbone + {"dimp18": 2, "dimp50": 0, "dimp_lite0": 0}[name] + 5


def test_a_network_in_winograds_form(monkeypatch):
    """The same output; left as it is on other backends and in bfloat16."""
    model = config.ModelConfig(backbone="resnet18", clf_channels=256, iou_channels=8)
    shapes = jax.eval_shape(lambda: dimp.init_variables(model, jax.random.key(0)))
    variables = randomized(shapes)
    params = dimp.fold(model, variables)["params"]
    fast = winograd_layers.transformed(model, params)
    assert "kernel" not in fast["clf"]["conv"]
    assert "winograd" not in fast["iou"]["conv3_1t"]["conv"], "too small to pay"
    net = dimp.DiMP(model, folded=True)
    run = jax.jit(lambda p, x: net.apply({"params": p}, x, method="features"))
    images = normal(0, (1, 64, 80, 3))
    for name, expected in run(params, images).items():
        error = abs(run(fast, images)[name] - expected).max() / abs(expected).max()
        assert error < 5e-6, name
    made = lambda portable: make_network(config.Config(model=model), variables, portable=portable)
    assert "winograd" in made(False).params["clf"]["conv"]
    assert "kernel" in made(True).params["clf"]["conv"], "for programs of every backend"
    half = dataclasses.replace(model, compute_dtype="bfloat16")
    assert winograd_layers.transformed(half, params) is params
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert winograd_layers.transformed(model, params) is params


def test_winograds_form_is_refused_where_it_does_not_hold():
    module = ConvNorm(4, Numerics(folded=True), stride=2)
    weights = winograd.transform_kernel(normal(0, (3, 3, 4, 4)))
    params = {"conv": {"winograd": weights, "bias": np.zeros(4, np.float32)}}
    with pytest.raises(ValueError, match="conv: Winograd's form is for 3x3 of stride 1"):
        module.apply({"params": params}, normal(1, (1, 6, 6, 4)))


def test_max_pool():
    x = np.maximum(normal(0, (2, 9, 6, 3)), 0)
    expected = jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    np.testing.assert_array_equal(resnet.max_pool(x), expected)
