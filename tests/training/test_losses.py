"""The hinge classification loss and the sum of the training losses, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.training import LossConfig
from dimp_jax.models.box_density import kl_regression
from dimp_jax.training.losses import (
    grid_divergence,
    hinge_loss,
    iou_regression,
    loss_terms,
    normalized_density,
)
from tests.support.golden_files import inputs, recording

LABEL = jnp.asarray([1.0, 0.5, 0.04, 0.0, 0.05])
SCORES = jnp.asarray([0.8, -0.5, -3.0, 0.3, 0.0])


def test_hinge_loss():
    # Inside (label >= 0.05): squared errors 0.04, 1, 0.0025; outside: relu(-3)^2 and 0.3^2.
    np.testing.assert_allclose(hinge_loss(SCORES, LABEL), (0.04 + 1 + 0 + 0.09 + 0.0025) / 5)
    plain = (0.04 + 1 + 3.04**2 + 0.09 + 0.0025) / 5
    np.testing.assert_allclose(hinge_loss(SCORES, LABEL, None), plain, rtol=1e-6)
    everywhere = (0.8**2 + 0.3**2) / 5
    np.testing.assert_allclose(hinge_loss(SCORES, LABEL, 2.0), everywhere, rtol=1e-6)


def test_hinge_loss_gradient():
    grad = jax.grad(hinge_loss)(SCORES, LABEL)
    np.testing.assert_allclose(grad, [2 / 5 * v for v in (-0.2, -1.0, 0.0, 0.3, -0.05)], rtol=1e-5)


def iterates(count):
    rng = np.random.default_rng(0)
    scores = jnp.asarray(rng.standard_normal((count, 2, 3, 4)), jnp.float32)
    return scores, jnp.asarray(rng.uniform(size=(2, 3, 4)), jnp.float32)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_loss_terms(count):
    scores, label = iterates(count)
    box_loss = iou_regression(jnp.asarray([0.5, -0.5]), jnp.asarray([0.0, 0.5]))
    weights = LossConfig(iou=2.0, final=10.0, initial=20.0, iterates=40.0)
    terms = loss_terms(scores, label, box_loss, weights)
    each = [float(hinge_loss(s, label)) for s in scores]
    between = 40 * np.mean(each[1:-1]) if count > 2 else 0
    expected = {
        "iou": 2 * (0.25 + 1) / 2,
        "initial": 20 * each[0],
        "final": 10 * each[-1],
        "iterates": between,
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)


def test_default_weights():
    """Behaviour 5: 1, 100, 100, and 400 over the iterates between."""
    config = LossConfig()
    assert (config.iou, config.final, config.initial, config.iterates) == (1, 100, 100, 400)


def test_perfect_predictions_cost_nothing():
    _, label = iterates(1)
    label = jnp.where(label < 0.05, 0.0, label)
    scores = jnp.stack([jnp.where(label == 0, -7.0, label)] * 4)
    terms = loss_terms(scores, label, iou_regression(jnp.ones(3), jnp.ones(3)), LossConfig())
    assert all(term == 0 for term in terms.values())


def test_too_few_iterates():
    scores, label = iterates(1)
    with pytest.raises(ValueError, match=r"the initial and the final iterate, got \(1, 2, 3, 4\)"):
        loss_terms(scores, label, 0.0, LossConfig())


@pytest.mark.golden
def test_recorded_kl_regression():
    rec = recording("b_layers")
    scores = inputs.nrm("b/kl_scores", (4, 128))
    proposal_density = inputs.uni("b/kl_sd", (4, 128), 0.05, 3)
    target_density = inputs.uni("b/kl_gd", (4, 128), 0, 3)
    loss = kl_regression(scores, jnp.log(proposal_density), target_density)
    rec.check("kl/regression", loss)


def test_kl_regression_by_hand():
    """One box: log((e^s1 / q1 + e^s2 / q2) / 2) - (s1 p1 / q1 + s2 p2 / q2) / 2."""
    scores, q = jnp.asarray([[1.0, -2.0]]), np.array([[0.5, 4.0]])
    p = jnp.asarray([[1.5, 0.2]])
    expected = np.log((np.e / 0.5 + np.exp(-2) / 4) / 2) - (1.5 / 0.5 - 2 * 0.2 / 4) / 2
    np.testing.assert_allclose(kl_regression(scores, jnp.log(q), p), expected, rtol=1e-6)


def test_kl_regression_is_least_at_the_target():
    """Scores of any offset whose density is the target have no gradient; others cost more."""
    rng = np.random.default_rng(0)
    target = jnp.asarray(rng.uniform(0.1, 1.0, (1, 64)), jnp.float32)
    target = target / target.mean()  # normalised under a uniform proposal density of 1
    log_q = jnp.zeros_like(target)
    best = jnp.log(target) + 3.0
    np.testing.assert_allclose(jax.grad(kl_regression)(best, log_q, target), 0, atol=1e-7)
    other = best + jnp.asarray(rng.standard_normal(best.shape), jnp.float32)
    assert kl_regression(other, log_q, target) > kl_regression(best, log_q, target) + 0.1


def test_kl_regression_does_not_overflow():
    scores = jnp.asarray([[500.0, -500.0, 100.0]])
    loss, grad = jax.value_and_grad(kl_regression)(scores, jnp.log(jnp.full((1, 3), 2.0)), scores)
    assert np.isfinite(loss) and np.isfinite(grad).all()


@pytest.mark.golden
def test_recorded_grid_divergence():
    density = inputs.uni("b/kl_grid_gt", (3, 2, 19, 19))
    density = density / density.sum((2, 3), keepdims=True)
    scores = inputs.nrm("b/kl_grid_s", (3, 2, 19, 19))
    recording("b_layers").check("kl/grid", grid_divergence(scores, density))


def test_grid_divergence_is_least_at_the_density():
    """There it is the density's entropy, whatever the offset of the scores."""
    density = normalized_density(jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (2, 5, 5))))
    loss, grad = jax.value_and_grad(grid_divergence)(jnp.log(density) + 3.0, density)
    entropy = -np.mean(np.sum(density * np.log(density), (1, 2)))
    np.testing.assert_allclose(loss, entropy, rtol=1e-5)
    np.testing.assert_allclose(grad, 0, atol=1e-7)
    assert np.isfinite(grid_divergence(jnp.full((1, 5, 5), 500.0), density[:1]))


def test_normalized_density():
    there = jnp.asarray([[[0.2, 0.2], [0.0, 0.1]], [[0.004, 0.0], [0.0, 0.005]]])
    density = normalized_density(there)
    np.testing.assert_allclose(density[0], [[0.4, 0.4], [0.0, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(density[1], 0.25)  # the target is off the map
    grad = jax.grad(lambda d: normalized_density(d)[1].sum())(there)
    assert np.isfinite(grad).all()


def test_divergence_terms():
    """The published weights of PrDiMP: 0.0025, 0.25, 0.25, 1 over the four between."""
    scores, label = iterates(6)
    density = normalized_density(label)
    weights = LossConfig(classification="kl", iou=0.0025, final=0.25, initial=0.25, iterates=1.0)
    terms = loss_terms(scores, density, jnp.float32(2.0), weights)
    each = [float(grid_divergence(s, density)) for s in scores]
    expected = (0.005, 0.25 * each[-1], 0.25 * each[0], np.mean(each[1:-1]))
    np.testing.assert_allclose(list(terms.values()), expected, rtol=1e-5)
    assert list(terms) == ["iou", "final", "initial", "iterates"]
