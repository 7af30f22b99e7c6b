"""The hinge classification loss and the sum of the training losses, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.losses import LossWeights, dimp_loss, hinge_loss

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
def test_dimp_loss(count):
    scores, label = iterates(count)
    iou, target = jnp.asarray([0.5, -0.5]), jnp.asarray([0.0, 0.5])
    weights = LossWeights(iou=2.0, final=10.0, initial=20.0, iterates=40.0)
    total, terms = dimp_loss(scores, label, iou, target, weights)
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
    np.testing.assert_allclose(total, sum(expected.values()), rtol=1e-5)


def test_default_weights():
    """Behaviour 5: 1, 100, 100, and 400 over the iterates between."""
    assert LossWeights() == (1.0, 100.0, 100.0, 400.0)


def test_perfect_predictions_cost_nothing():
    _, label = iterates(1)
    label = jnp.where(label < 0.05, 0.0, label)
    scores = jnp.stack([jnp.where(label == 0, -7.0, label)] * 4)
    total, _ = dimp_loss(scores, label, jnp.ones(3), jnp.ones(3), LossWeights())
    assert total == 0


def test_too_few_iterates():
    scores, label = iterates(1)
    with pytest.raises(ValueError, match=r"the initial and the final iterate, got \(1, 2, 3, 4\)"):
        dimp_loss(scores, label, jnp.ones(1), jnp.ones(1), LossWeights())
