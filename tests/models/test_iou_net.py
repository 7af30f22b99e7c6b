"""The IoU network, tiny: modulation, independence of boxes, derivatives, bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from dimp_jax.geometry.boxes import relative_to_rect
from dimp_jax.models.iou_net import IoUNet, Levels
from dimp_jax.models.layers import Numerics, fold_batch_norm
from dimp_jax.models.roi_pool import roi_pool, xywh_to_xyxy

F, C3, C4 = 4, 3, 5
RNG = np.random.default_rng(0)
LAYER2 = jnp.asarray(RNG.standard_normal((2, 8, 8, C3)), jnp.float32)
LAYER3 = jnp.asarray(RNG.standard_normal((2, 4, 4, C4)), jnp.float32)
TARGET = jnp.asarray([[20.0, 14.0, 22.0, 31.0], [9.0, 12.0, 30.0, 17.0]])
BOXES = jnp.asarray(
    [
        [[20.0, 14.0, 22.0, 31.0], [15.5, 18.0, 25.0, 27.0], [3.0, 2.0, 50.0, 55.0]],
        [[9.0, 12.0, 30.0, 17.0], [12.0, 9.0, 21.0, 23.5], [31.0, 30.0, 13.0, 9.0]],
    ]
)


def whole(net, layer2, layer3, target, boxes, train=False):
    modulation = net.modulation(layer2, layer3, target, train)
    features = net.features(layer2, layer3, train)
    return modulation, features, net(modulation, features, boxes, train)


@functools.cache
def variables():
    net = IoUNet(F, Numerics())
    init = lambda key: net.init(key, LAYER2, LAYER3, TARGET, BOXES, method=whole)
    rng = np.random.default_rng(1)

    def leaf(path, value):
        noise = rng.standard_normal(value.shape).astype(np.float32)
        if path[-1].key in ("scale", "var"):
            return np.exp(np.float32(0.2) * noise)
        return noise * np.float32((2 / np.prod(value.shape[:-1])) ** 0.5 if value.ndim > 1 else 0.1)

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(init, jax.random.key(0)))


@functools.partial(jax.jit, static_argnames=("method", "numerics"))
def apply(variables, *args, method, numerics=Numerics()):  # noqa: B008 (frozen)
    method = {"whole": whole}.get(method, method)
    return IoUNet(F, numerics).apply(variables, *args, method=method)


def outputs():
    return apply(variables(), LAYER2, LAYER3, TARGET, BOXES, method="whole")


def test_shapes_and_sign():
    modulation, features, iou = outputs()
    assert [m.shape for m in modulation] == [(2, F), (2, F)]
    assert [f.shape for f in features] == [(2, 8, 8, F), (2, 4, 4, F)]
    assert iou.shape == (2, 3)
    for vector in modulation:
        assert (vector >= 0).all() and (vector > 0).any()
    assert len(np.unique(np.asarray(iou).round(5))) > 2, "dead: all boxes look the same"


def test_boxes_are_independent_of_each_other():
    modulation, features, iou = outputs()
    order = jnp.asarray([2, 0, 1])
    shuffled = apply(variables(), modulation, features, BOXES[:, order], method="__call__")
    np.testing.assert_allclose(shuffled, iou[:, order], rtol=1e-5, atol=1e-6)
    single = apply(variables(), modulation, features, BOXES[:, 1:2], method="__call__")
    np.testing.assert_allclose(single, iou[:, 1:2], rtol=1e-5, atol=1e-6)


def test_images_are_independent_of_each_other():
    args = (LAYER2[1:], LAYER3[1:], TARGET[1:], BOXES[1:])
    for alone, both in zip(
        jax.tree.leaves(apply(variables(), *args, method="whole")),
        jax.tree.leaves(outputs()),
        strict=True,
    ):
        np.testing.assert_allclose(alone, both[1:], rtol=1e-5, atol=1e-6)


def test_modulating_the_map_is_the_same():
    """The definition modulates the whole map and pools after; the code modulates the bins."""
    modulation, features, iou = outputs()
    modulated = Levels(*(f * m[:, None, None] for f, m in zip(features, modulation, strict=True)))
    ones = jax.tree.map(jnp.ones_like, modulation)
    by_map = apply(variables(), ones, modulated, BOXES, method="__call__")
    np.testing.assert_allclose(by_map, iou, rtol=1e-5, atol=1e-6)


def test_prediction_by_hand():
    """Flattened (y, x, channel) bins of both levels through linear, norm, ReLU; then one score."""
    modulation, features, iou = outputs()
    params, stats = variables()["params"], variables()["batch_stats"]
    rows = []
    for level, bins, stride, name in (("level3", 5, 8, "fc3_rt"), ("level4", 3, 16, "fc4_rt")):
        feat = getattr(features, level)[0] * getattr(modulation, level)[0][None, None]
        pooled = roi_pool(feat, xywh_to_xyxy(BOXES[0]), bins, 1 / stride).reshape(3, -1)
        layer, stat = params[name], stats[name]["norm"]
        y = pooled @ layer["linear"]["kernel"] + layer["linear"]["bias"][None]
        y = (y - stat["mean"][None]) / jnp.sqrt(stat["var"][None] + 1e-5)
        rows.append(jax.nn.relu(y * layer["norm"]["scale"][None] + layer["norm"]["bias"][None]))
    last = params["iou_predictor"]
    expected = jnp.concatenate(rows, -1) @ last["kernel"] + last["bias"][None]
    np.testing.assert_allclose(iou[0], expected[:, 0], rtol=1e-4, atol=1e-5)


def test_folded():
    params = fold_batch_norm(variables()["params"], variables()["batch_stats"], 1e-5)
    args = (LAYER2, LAYER3, TARGET, BOXES)
    folded = apply({"params": params}, *args, method="whole", numerics=Numerics(folded=True))
    for ours, theirs in zip(jax.tree.leaves(folded), jax.tree.leaves(outputs()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bfloat16_ends_in_float32():
    """What leaves the network is float32, within 5 % of the largest value."""
    half = Numerics(dtype=jnp.dtype("bfloat16"))
    args = (LAYER2, LAYER3, TARGET, BOXES)
    out = apply(variables(), *args, method="whole", numerics=half)
    for ours, exact in zip(jax.tree.leaves(out), jax.tree.leaves(outputs()), strict=True):
        assert ours.dtype == jnp.float32
        error = abs(ours - exact).max() / abs(exact).max()
        assert 0 < error < 0.05, error


def test_a_box_without_area_stays_finite():
    modulation, features, _ = outputs()
    box = jnp.asarray([[[20.0, 14.0, 0.0, 31.0], [1e5, 1e5, 9.0, 9.0]]] * 2)
    total = lambda b: apply(variables(), modulation, features, b, method="__call__").sum()
    value, grad = jax.value_and_grad(total)(box)
    assert np.isfinite(value) and np.isfinite(grad).all()


def test_derivative_of_the_objective_of_ascent():
    """Of the summed overlap, in pixels and in relative coordinates, in float64."""
    with jax.enable_x64():
        as_double = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
        modulation, features, _ = as_double(outputs())
        params, boxes = as_double(variables()), as_double(BOXES)[0]
        # Off the pixel centres of either level: there the derivative in the box has a kink.
        boxes = boxes + jnp.asarray([[0.37, 0.61, 0.23, 0.41]])
        exact = Numerics(dtype=jnp.dtype("float64"))
        one = lambda tree: jax.tree.map(lambda x: x[:1], tree)

        def predict(b, mod, feat):
            return apply(params, mod, feat, b[None], method="__call__", numerics=exact)[0]

        args = (boxes, one(modulation), one(features))
        assert predict(*args).dtype == jnp.float64
        check_grads(predict, args, 1, modes=("rev",), eps=1e-6, rtol=1e-5, atol=1e-6)
        size_wh = boxes[0, 2:]
        relative = jnp.concatenate(
            [(boxes[:, :2] + boxes[:, 2:] / 2) / size_wh[None], jnp.log(boxes[:, 2:])], -1
        )
        in_relative = lambda r, *rest: predict(relative_to_rect(r, size_wh), *rest)
        args = (relative, *args[1:])
        check_grads(in_relative, args, 1, modes=("rev",), eps=1e-6, rtol=1e-5, atol=1e-6)
