"""Steepest descent with Gauss-Newton step lengths on residuals whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dimp_jax.predictor.objectives import least_squares
from dimp_jax.predictor.solve import squared_norm
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent

NUM_A, NUM_B = 3, 2  # sizes of the two leaves of the linear problem


def linear_problem():
    """A residual on a pytree of two leaves, linear; and its least-squares solution."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((12, NUM_A + NUM_B)).astype(np.float32)
    target = rng.standard_normal(12).astype(np.float32)
    solution, rest, _, _ = np.linalg.lstsq(matrix, target, rcond=None)

    def residual_fn(tree):
        x = jnp.concatenate([tree["a"], tree["b"].reshape(-1)])
        flat = matrix @ x - target
        return {"top": flat[:5], "bottom": (flat[5:].reshape(7, 1),)}

    init = {"a": jnp.zeros(NUM_A), "b": jnp.zeros((1, NUM_B))}
    return residual_fn, init, solution, float(rest[0])


def curved_residual(x):
    return jnp.stack([x[0] ** 2 - x[1], jnp.sin(x[1]) + 2.0, x[0] * x[1] - 1.0])


CURVED_INIT = jnp.asarray([0.7, -1.3])


def test_reaches_the_least_squares_solution_of_two_leaves():
    residual_fn, init, solution, rest = linear_problem()
    descent = steepest_descent(least_squares(residual_fn), init, 200)
    got = np.concatenate([np.ravel(descent.last["a"]), np.ravel(descent.last["b"])])
    np.testing.assert_allclose(got, solution, rtol=0, atol=1e-5)
    np.testing.assert_allclose(descent.losses[-1], rest, rtol=1e-5)
    assert descent.iterates["a"].shape == (201, NUM_A)
    assert descent.iterates["b"].shape == (201, 1, NUM_B)
    assert descent.losses.shape == (201,)


def test_losses_are_those_of_the_iterates_and_fall():
    residual_fn, init, _, _ = linear_problem()
    descent = steepest_descent(least_squares(residual_fn), init, 8, step_length=0.9)
    np.testing.assert_array_equal(descent.iterates["a"][0], init["a"])
    losses = jax.vmap(lambda x: squared_norm(residual_fn(x)))(descent.iterates)
    np.testing.assert_allclose(descent.losses, losses, rtol=1e-6)
    assert (np.diff(descent.losses) < 0).all()


def test_a_step_length_of_one_is_the_exact_line_search():
    residual_fn, init, _, _ = linear_problem()
    objective = least_squares(residual_fn)
    run = jax.jit(lambda s: steepest_descent(objective, init, 1, step_length=s).losses[-1])
    after = lambda s: float(run(s))
    assert after(1.0) < after(0.95) and after(1.0) < after(1.05)
    before = float(squared_norm(residual_fn(init)))
    # A parabola in the step length with its vertex at 1.
    for step in (0.0, 0.5, 1.5):
        expected = after(1.0) + (before - after(1.0)) * (1 - step) ** 2
        np.testing.assert_allclose(after(step), expected, rtol=1e-5)


def test_no_iteration_returns_the_start():
    descent = steepest_descent(least_squares(curved_residual), CURVED_INIT, 0)
    assert descent.iterates.shape == (1, 2) and descent.losses.shape == (1,)
    np.testing.assert_array_equal(descent.last, CURVED_INIT)
    np.testing.assert_allclose(descent.losses[0], (curved_residual(CURVED_INIT) ** 2).sum())


@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("step_length", [1.0, 0.3])
def test_one_step_by_the_formula(damping, step_length):
    """x - step |g|^2 / (|J g|^2 + damping |g|^2) g with g the gradient of half the loss."""
    grad = jax.grad(lambda x: 0.5 * (curved_residual(x) ** 2).sum())(CURVED_INIT)
    along = jax.jacobian(curved_residual)(CURVED_INIT) @ grad
    alpha = (grad @ grad) / (along @ along + damping * (grad @ grad))
    descent = steepest_descent(
        least_squares(curved_residual), CURVED_INIT, 1, step_length=step_length, damping=damping
    )
    moved = descent.last - CURVED_INIT
    np.testing.assert_allclose(moved, -step_length * alpha * grad, rtol=1e-5)
    cosine = -(moved @ grad) / jnp.linalg.norm(moved) / jnp.linalg.norm(grad)
    np.testing.assert_allclose(cosine, 1.0, rtol=1e-6)


def test_linearises_anew_at_every_iterate():
    """Two iterations are one iteration twice."""
    once = steepest_descent(least_squares(curved_residual), CURVED_INIT, 1)
    again = steepest_descent(least_squares(curved_residual), once.last, 1)
    twice = steepest_descent(least_squares(curved_residual), CURVED_INIT, 2)
    np.testing.assert_allclose(twice.last, again.last, rtol=1e-6)
    np.testing.assert_allclose(twice.losses, [*once.losses, again.losses[-1]], rtol=1e-6)


def test_stays_at_an_optimum():
    residual_fn = lambda x: 3.0 * x
    run = lambda x: steepest_descent(least_squares(residual_fn), x, 3)
    descent = run(jnp.zeros(2))
    np.testing.assert_array_equal(descent.iterates, jnp.zeros((4, 2)))
    np.testing.assert_array_equal(descent.losses, jnp.zeros(4))
    assert np.isfinite(jax.jacobian(lambda x: run(x).last)(jnp.zeros(2))).all()


def test_derivatives():
    """Of the last iterate and all losses, with respect to what the residual closes over too."""
    with jax.enable_x64():

        def run(init, target, step_length, damping):
            residual_fn = lambda x: jnp.concatenate([curved_residual(x) - target, 0.1 * x])
            descent = steepest_descent(
                least_squares(residual_fn), init, 3, step_length=step_length, damping=damping
            )
            return descent.iterates, descent.losses

        args = (np.array([0.7, -1.3]), np.array([0.1, 0.2, -0.3]), 0.9, 0.2)
        args = jax.tree.map(lambda x: jnp.asarray(x, float), args)
        assert args[0].dtype == jnp.float64
        check_grads(run, args, 1, modes=("rev",), eps=1e-5, rtol=1e-6, atol=1e-6)


def test_jit_and_vmap():
    run = lambda x: steepest_descent(least_squares(curved_residual), x, 4)
    starts = jax.random.normal(jax.random.key(0), (5, 2))
    together = jax.jit(jax.vmap(run))(starts)
    for index, start in enumerate(starts):
        alone = run(start)
        np.testing.assert_allclose(together.iterates[index], alone.iterates, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together.losses[index], alone.losses, rtol=1e-4)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="num_iter=-1: expected 0 or more"):
        steepest_descent(least_squares(curved_residual), CURVED_INIT, -1)
