"""Every solver on problems whose answers are known; the common loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.sparse.linalg import cg

from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.predictor import objectives, parts
from dimp_jax.predictor.objectives import least_squares
from dimp_jax.predictor.solvers.conjugate_gradient import conjugate_gradient
from dimp_jax.predictor.solvers.gradient_descent import gradient_descent
from dimp_jax.predictor.solvers.momentum import momentum
from dimp_jax.predictor.solvers.newton import newton
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent
from tests.predictor.test_predict import problem, rough_params

UNKNOWNS = 5
STEP = {"gradient_descent": 0.05}  # the others find theirs


def linear_system():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((12, UNKNOWNS))), jnp.asarray(rng.standard_normal(12))


def piecewise_linear(x):
    """Residual [4] that has kinks, at none of which the tests start."""
    matrix = jnp.asarray([[1.0, -2.0], [0.5, 1.0], [-1.0, 0.3], [2.0, 2.0]], x.dtype)
    return jnp.maximum(matrix @ x, 0.1) - jnp.asarray([0.2, -1.0, 0.4, 0.1], x.dtype)


START = jnp.asarray([0.7, -0.4])


def test_conjugate_gradients_solve_n_unknowns_in_n_iterations():
    with jax.enable_x64():
        matrix, target = linear_system()
        init = jnp.linspace(-1.0, 1.0, UNKNOWNS)

        @jax.jit
        def run(target):
            objective = least_squares(lambda x: matrix @ x - target)
            return conjugate_gradient(objective, init, UNKNOWNS)

        solve = run(target)
        solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
        np.testing.assert_allclose(solve.last, solution, rtol=1e-10)
        assert (np.diff(solve.losses) < 0).all()
        assert solve.optimality < 1e-10
        # As the library's, on the normal equations, after every count of iterations.
        normal = lambda x: matrix.T @ (matrix @ x)
        for count in (1, 3):
            theirs, _ = cg(normal, matrix.T @ target, x0=init, tol=0.0, maxiter=count)
            np.testing.assert_allclose(solve.iterates[count], theirs, rtol=1e-10)
        # Beyond the solution there is nothing to do, and no division by nothing.
        objective = least_squares(lambda x: matrix @ x - target)
        after = jax.jit(lambda x: conjugate_gradient(objective, x, 3).iterates)(solution)
        np.testing.assert_allclose(after, np.tile(solution, (4, 1)), rtol=1e-10)


def test_gradient_descent_by_the_formula():
    """With its own length for every iteration, and the last one beyond them."""
    objective = least_squares(piecewise_linear)
    lengths = jnp.asarray([0.3, 0.1, 0.05])
    solve = jax.jit(lambda x: gradient_descent(objective, x, 4, step_length=lengths))(START)
    gradient = jax.jit(jax.grad(lambda x: 0.5 * (piecewise_linear(x) ** 2).sum()))
    point = START
    for index, length in enumerate([0.3, 0.1, 0.05, 0.05]):
        np.testing.assert_allclose(solve.step_lengths[index], length, rtol=1e-6)
        np.testing.assert_allclose(
            solve.grad_norms[index], jnp.linalg.norm(gradient(point)), rtol=1e-5
        )
        point = point - length * gradient(point)
        np.testing.assert_allclose(solve.iterates[index + 1], point, rtol=1e-5)


def test_momentum_by_the_formula():
    objective = least_squares(piecewise_linear)

    @jax.jit
    def run(x):
        plain = steepest_descent(objective, x, 3, step_length=0.8)
        none = momentum(objective, x, 3, step_length=0.8, momentum=0.0)
        kept = momentum(objective, x, 3, step_length=0.8, momentum=0.25)
        bare = [steepest_descent(objective, x, 1, step_length=0.8) for x in kept.iterates[:-1]]
        return plain, none, kept, jnp.stack([solve.last for solve in bare])

    plain, none, kept, bare = run(START)
    np.testing.assert_allclose(none.iterates, plain.iterates, rtol=1e-6)
    np.testing.assert_allclose(none.step_lengths, plain.step_lengths, rtol=1e-6)
    # Each iterate is the plain step from the one before, and a quarter of the last move.
    moves = np.diff(kept.iterates, axis=0)
    last_moves = np.concatenate([np.zeros((1, 2)), moves[:-1]])
    np.testing.assert_allclose(kept.iterates[1:], bare + 0.25 * last_moves, rtol=1e-5)


def test_newton_is_steepest_descent_where_the_residual_is_piecewise_linear():
    objective = least_squares(piecewise_linear)
    run = lambda solver: solver(objective, START, 4, step_length=0.9, damping=0.1).iterates
    theirs, ours = jax.jit(lambda: (run(steepest_descent), run(newton)))()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_newton_takes_the_step_of_the_hessian():
    """On the Kullback-Leibler objective, whose own Gauss-Newton operator is its Hessian."""
    config = PredictorConfig(objective="kl", solver="newton")
    with jax.enable_x64():
        filt, *arrays = (jnp.asarray(a, jnp.float64) for a in problem(samples=2, cells=3))
        samples = objectives.Samples(*arrays, stride_px=16, filter_cells=filt.shape[0])
        objective = objectives.kl(rough_params(config), samples, config)
        flat = lambda x: objective(x.reshape(filt.shape)).grad.ravel()

        @jax.jit
        def run(filt):
            curved = jax.jacobian(flat)(filt.ravel())
            local = objective(filt)
            solves = [solver(objective, filt, 2) for solver in (newton, steepest_descent)]
            return curved, local.grad.ravel(), *solves

        hessian, grad, solve, gauss_newton = run(filt)
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
        length = (grad @ grad) / (grad @ hessian @ grad)
        np.testing.assert_allclose(solve.step_lengths[0], length, rtol=1e-8)
        moved = solve.iterates[1] - filt
        np.testing.assert_allclose(moved.ravel(), -length * grad, rtol=1e-8)
        np.testing.assert_allclose(solve.iterates, gauss_newton.iterates, rtol=1e-8)


@functools.cache
def solved(name):
    """(`Solve` of three problems at once, the same with float64, gradient at an optimum)."""
    solver = functools.partial(parts.SOLVERS[name], step_length=STEP.get(name, 0.9))
    objective = least_squares(piecewise_linear)
    starts = jnp.stack([START, 2 * START, START[::-1]])
    batched = jax.jit(jax.vmap(lambda x: solver(objective, x, 4)))(starts)
    with jax.enable_x64():
        double = jax.jit(lambda x: solver(objective, x, 4))(jnp.asarray(START, jnp.float64))
    still = lambda x, scale: solver(least_squares(lambda x: scale * x), x, 3).iterates.sum()
    return batched, double, jax.jit(jax.value_and_grad(still, (0, 1)))(jnp.zeros(2), 3.0)


@pytest.mark.parametrize("name", parts.SOLVERS)
def test_every_solver(name):
    batched, double, (rest, grads) = solved(name)
    assert batched.iterates.shape == (3, 5, 2) and batched.step_lengths.shape == (3, 4)
    assert batched.losses.shape == batched.grad_norms.shape == (3, 5)
    np.testing.assert_array_equal(batched.last, batched.iterates[:, -1])
    fall = np.diff(batched.losses, axis=1)
    assert (fall == 0).all() if name == "initializer_only" else (fall[:, 0] < 0).all()
    losses = (np.asarray(jax.vmap(jax.vmap(piecewise_linear))(batched.iterates)) ** 2).sum(-1)
    np.testing.assert_allclose(batched.losses, losses, rtol=1e-5)
    expected = batched.grad_norms[:, -1] / batched.grad_norms[:, 0]
    np.testing.assert_allclose(batched.optimality, expected, rtol=1e-6)
    # One of them alone, with all of its numbers in float64.
    assert all(x.dtype == jnp.float64 for x in jax.tree.leaves(double))
    for alone, together in zip(jax.tree.leaves(double), jax.tree.leaves(batched), strict=True):
        np.testing.assert_allclose(together[0], alone, rtol=1e-4, atol=1e-5)
    # At an optimum nothing moves, and derivatives are finite.
    assert rest == 0 and all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("name", parts.SOLVERS)
def test_counts_of_iterations(name):
    objective = least_squares(piecewise_linear)
    none = parts.SOLVERS[name](objective, START, 0)
    np.testing.assert_array_equal(none.iterates, START[None])
    np.testing.assert_array_equal(none.last, START)
    assert none.losses.shape == (1,) and none.step_lengths.shape == (0,) and none.optimality == 1
    with pytest.raises(ValueError, match="num_iter=-1: expected 0 or more"):
        parts.SOLVERS[name](objective, START, -1)


def test_only_the_initialiser():
    solve = parts.SOLVERS["initializer_only"](least_squares(piecewise_linear), START, 3)
    np.testing.assert_array_equal(solve.iterates, np.tile(START, (4, 1)))
    np.testing.assert_array_equal(solve.step_lengths, np.zeros(3))
