"""The training step: known answers, frozen parts, accumulation, dtypes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.training import LossConfig, OptimConfig, ParallelConfig
from dimp_jax.models import dimp, resnet
from dimp_jax.models.box_density import kl_regression
from dimp_jax.models.train_forward import forward
from dimp_jax.training import losses, steps
from dimp_jax.training.losses import iou_regression, loss_terms
from tests.support import small_training
from tests.support.small_training import assert_close, flat, tiny_network  # noqa: F401  (a fixture)

TINY = small_training.TINY
RATES = (("default", 1e-3), ("backbone", 1e-4))
HEADS = OptimConfig(learning_rates=RATES, frozen=("backbone",))
BATCH = small_training.batch(4)


@functools.cache
def compiled(config):
    """(state before, jitted step) of a config."""
    variables = small_training.variables(TINY)
    return steps.init_state(variables, config), jax.jit(steps.make_train_step(config))


def whole(**changes):
    return small_training.settings(TINY, **{"optim": OptimConfig(learning_rates=RATES), **changes})


def heads(**changes):
    return small_training.settings(TINY, optim=dataclasses.replace(HEADS, **changes))


def moments(state):
    """Adam's first moments: after one step a tenth of the gradient."""
    (name,) = (i for i, part in enumerate(state.opt_state) if hasattr(part, "mu"))
    return state.opt_state[name].mu


@pytest.mark.slow
def test_step_is_the_gradient_of_the_published_loss():
    """Loss, terms, gradients and statistics are those of `forward` and `loss_terms`, which the
    golden test compares with recorded numbers."""
    config = whole()
    state, step = compiled(config)
    net = dimp.DiMP(TINY)
    prepared = steps.prepare(net, BATCH)
    label = steps.label_map(BATCH, config)

    def objective(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        prediction, stats = forward(net, variables, prepared, train=True)
        target = 2 * BATCH.proposal_value - 1
        box_loss = iou_regression(prediction.iou, target)
        terms = loss_terms(prediction.scores, label, box_loss, LossConfig())
        return sum(terms.values()), (terms, stats)

    (total, (terms, stats)), grads = jax.jit(jax.value_and_grad(objective, has_aux=True))(
        state.params
    )
    after, metrics = step(state, BATCH)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
    for name in steps.LOSS_TERMS:
        np.testing.assert_allclose(metrics[f"loss/{name}"], terms[name], rtol=1e-5)
    assert_close(jax.tree.map(lambda m: 10 * m, moments(after)), grads, rtol=2e-3)
    assert_close(after.batch_stats, stats, rtol=1e-5)
    length = lambda tree: np.linalg.norm([np.linalg.norm(leaf) for leaf in jax.tree.leaves(tree)])
    for name, part in grads.items():
        np.testing.assert_allclose(metrics[f"grad_norm/{name}"], length(part), rtol=1e-4)
    np.testing.assert_allclose(metrics["grad_norm"], length(grads), rtol=1e-4)
    np.testing.assert_allclose(metrics["predictor/step_length"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(metrics["predictor/regularization"], 0.01, rtol=1e-6)
    assert all(m.shape == () for m in metrics.values())
    # Adam's first update is the rate, where the gradient is far above eps.
    change = after.params["clf"]["conv"]["kernel"] - state.params["clf"]["conv"]["kernel"]
    np.testing.assert_allclose(np.median(np.abs(change)), 1e-3, rtol=1e-2)
    change = after.params["backbone"]["conv1"]["conv"]["kernel"]
    change = change - state.params["backbone"]["conv1"]["conv"]["kernel"]
    np.testing.assert_allclose(np.median(np.abs(change)), 1e-4, rtol=1e-2)


@pytest.mark.slow
def test_loss_falls():
    state, step = compiled(whole())
    history = []
    for _ in range(12):
        state, metrics = step(state, BATCH)
        history.append(float(metrics["loss"]))
    assert history[-1] < 0.6 * history[0], history
    assert int(state.step) == 12 and state.step.dtype == jnp.int32
    assert steps.first_non_finite(metrics) is None


@pytest.mark.slow
def test_frozen_backbone_stays_as_it_is():
    state, step = compiled(heads())
    after, metrics = step(state, BATCH)
    for tree in ("params", "batch_stats"):
        before, now = getattr(state, tree), getattr(after, tree)
        jax.tree.map(np.testing.assert_array_equal, before["backbone"], now["backbone"])
        moved = flat(jax.tree.map(lambda a, b: np.any(a != b), before["iou"], now["iou"]))
        assert any(moved.values())
    assert "grad_norm/backbone" not in metrics and "grad_norm/iou" in metrics
    assert set(moments(after)) == {"clf", "filter_init", "iou", "predictor"}


@pytest.mark.slow
def test_a_non_finite_term_is_named():
    state, step = compiled(heads())
    broken = BATCH._replace(proposal_value=np.full_like(BATCH.proposal_value, np.nan))
    _, metrics = step(state, broken)
    assert steps.first_non_finite(metrics) == "loss/iou"
    assert np.isfinite(metrics["loss/final"]) and not np.isfinite(metrics["loss"])


@pytest.mark.long
def test_micro_batches_give_the_gradient_of_the_whole():
    """With running statistics everywhere, as the samples then do not meet."""
    frozen = ParallelConfig(batch_norm="frozen")
    results = []
    for count in (1, 2):
        optimizer = dataclasses.replace(HEADS, accumulate=count)
        state, step = compiled(small_training.settings(TINY, optim=optimizer, parallel=frozen))
        results.append(step(state, BATCH))
    (whole_state, whole_metrics), (state, metrics) = results
    assert_close(moments(state), moments(whole_state), rtol=1e-3)
    assert_close(metrics, whole_metrics, rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats, whole_state.batch_stats)


def test_micro_batches_do_not_depend_on_the_number_of_devices():
    """Two devices with half of the samples each group as one device with all of them."""
    whole = np.asarray(steps.micro_batches(np.arange(12), 3))
    halves = [
        np.asarray(steps.micro_batches(np.arange(12)[h], 3)) for h in np.split(np.arange(12), 2)
    ]
    np.testing.assert_array_equal(np.concatenate(halves, 1), whole)
    np.testing.assert_array_equal(whole[0], [0, 3, 6, 9])


@pytest.mark.long
def test_bfloat16_is_near_float32():
    state, step = compiled(heads())
    low = dataclasses.replace(TINY, compute_dtype="bfloat16")
    _, low_step = compiled(small_training.settings(low, "bfloat16", optim=HEADS))
    after, metrics = step(state, BATCH)
    low_after, low_metrics = low_step(state, BATCH)
    for name in ("loss", "loss/iou", "loss/initial", "grad_norm/clf"):
        np.testing.assert_allclose(low_metrics[name], metrics[name], rtol=0.1)
    assert float(low_metrics["loss"]) != float(metrics["loss"])
    assert {v.dtype for v in flat(low_after.params).values()} == {np.dtype("float32")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["iou", "kl"])
def test_evaluation(kind):
    """Running statistics; the weighted terms by hand from the predictions."""
    weights = LossConfig(box_regression=kind, iou=0.7, final=2.0, initial=3.0, iterates=4.0)
    config = whole(loss=weights)
    state = steps.init_state(small_training.variables(TINY), config)
    metrics = jax.jit(steps.make_eval_step(config))(state, BATCH)
    net = dimp.DiMP(TINY)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    prediction, _ = jax.jit(functools.partial(forward, net, train=False))(
        variables, steps.prepare(net, BATCH)
    )
    if kind == "iou":
        box = np.mean((prediction.iou - (2 * BATCH.proposal_value - 1)) ** 2)
    else:
        box = kl_regression(prediction.iou, BATCH.proposal_value, BATCH.proposal_target)
    label = steps.label_map(BATCH, config)
    hinge = [losses.hinge_loss(s, label, 0.05) for s in prediction.scores]
    assert len(hinge) == 3
    expected = {
        "iou": 0.7 * box,
        "final": 2 * hinge[2],
        "initial": 3 * hinge[0],
        "iterates": 4 * hinge[1],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[f"loss/{name}"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], sum(expected.values()), rtol=1e-5)
    assert not [name for name in metrics if name.startswith("grad")]


def test_hinge_threshold_is_that_of_the_config():
    scores, label = jnp.array([[[-1.0]], [[-1.0]]]), jnp.array([[0.2]])
    terms = lambda t: losses.loss_terms(scores, label, 0.0, LossConfig(hinge_threshold=t))
    assert float(terms(0.05)["final"]) == pytest.approx(144.0)
    assert float(terms(0.5)["final"]) == 0.0


def test_brightness_and_normalisation():
    net = dimp.DiMP(TINY)
    prepared = steps.prepare(net, BATCH)
    crop, factor = BATCH.train_crops[1, 0].astype(np.float32), BATCH.train_brightness[1, 0]
    lit = np.clip(crop * factor, 0, 255) / 255
    expected = (lit - np.array(resnet.IMAGENET_MEAN)) / np.array(resnet.IMAGENET_STD)
    np.testing.assert_allclose(prepared.train_inputs[1, 0], expected, atol=1e-5)
    bright = BATCH._replace(test_brightness=np.full_like(BATCH.test_brightness, 1e3))
    highest = np.asarray(steps.prepare(net, bright).test_inputs).max((0, 1, 2, 3))
    np.testing.assert_allclose(
        highest, (1 - np.array(resnet.IMAGENET_MEAN)) / resnet.IMAGENET_STD, rtol=1e-5
    )


def test_label_is_one_at_the_target():
    box = np.array([[[16.0, 16.0, 32.0, 32.0]]] * 4, np.float32)  # centred on cell 2 of 0..4
    label = np.asarray(steps.label_map(BATCH._replace(test_box=box), whole()))
    assert label.shape == (4, 1, 5, 5)
    assert label[0, 0, 2, 2] == 1.0
    np.testing.assert_allclose(label[0, 0, 2, 3], np.exp(-0.5 / 0.9**2), rtol=1e-6)


def traced(config, batch):
    variables = small_training.variables(TINY)
    state = jax.eval_shape(lambda: steps.init_state(variables, config))
    return jax.eval_shape(steps.make_train_step(config), state, batch)


def test_refused():
    with pytest.raises(ValueError, match="size_px=72: expected a multiple of .* stride, 16"):
        traced(whole(), small_training.batch(2, crop_px=72))
    with pytest.raises(ValueError, match="accumulate=3: the 4 sequences of a device do not"):
        traced(heads(accumulate=3), BATCH)
    with pytest.raises(ValueError, match="frozen: no parameter is under 'bakbone'"):
        traced(heads(frozen=("bakbone",)), BATCH)


@pytest.mark.long
def test_running_norms_are_trained_with_running_statistics():
    optimizer = OptimConfig(
        learning_rates=RATES, frozen=("iou", "backbone/conv1"), running_norms=("backbone",)
    )
    state, step = compiled(small_training.settings(TINY, optim=optimizer))
    after, _ = step(state, BATCH)
    assert_close(after.batch_stats["backbone"], state.batch_stats["backbone"], rtol=1e-7)
    for part, trained in (("layer1_0", True), ("conv1", False)):
        leaves = jax.tree.leaves(
            jax.tree.map(
                lambda a, b: not np.array_equal(a, b),
                after.params["backbone"][part],
                state.params["backbone"][part],
            )
        )
        assert all(leaves) if trained else not any(leaves), part


@pytest.mark.long
def test_types_do_not_depend_on_x64():
    """The variables of a new network, and the state after a step."""
    shapes = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            made = jax.eval_shape(lambda: dimp.init_variables(TINY, jax.random.key(0)))
            state = steps.init_state(small_training.variables(TINY), whole())
            step = steps.make_train_step(whole())
            shapes.append(
                jax.tree.map(lambda s: s.dtype, (made, jax.eval_shape(step, state, BATCH)))
            )
    assert shapes[0] == shapes[1]
