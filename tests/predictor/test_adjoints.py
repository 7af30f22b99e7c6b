"""Gradients through a solve: exact where they claim to be, and how wrong where they do not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.predictor import adjoints
from dimp_jax.predictor.objectives import least_squares
from dimp_jax.predictor.predict import optimize_filter
from dimp_jax.predictor.solvers.gradient_descent import gradient_descent
from dimp_jax.predictor.solvers.momentum import momentum
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent
from tests.predictor.test_predict import problem, rough_params

SMALL = PredictorConfig(num_bins=6, bin_width_cells=0.7, init_filter_reg=0.5)
IMPLICIT = functools.partial(adjoints.implicit, max_iterations=50, tolerance=1e-12)
EVERY_ADJOINT = {
    "unrolled": adjoints.unrolled,
    "checkpointed": adjoints.checkpointed,
    "truncated": functools.partial(adjoints.truncated, every=2),
    "one_step": adjoints.one_step,
    "implicit": IMPLICIT,
}


def double(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def predictor_arguments(config):
    """Parameters, filter, features and weights of a small problem, float64; and the boxes."""
    filt, feat, box, weight = double(problem(samples=2, cells=3))
    return (double(rough_params(config)), filt, feat, weight), box


def curved(x, theta):
    """A residual [3] of two unknowns, with a parameter [3]."""
    return jnp.stack([x[0] ** 2 - x[1], jnp.sin(x[1]) + 2.0, x[0] * x[1] - 1.0]) - theta


# The first point, and the parameter.
CURVED = (np.array([0.7, -1.3]), np.array([0.1, 0.2, -0.3]))


def assert_close(got, expected, rtol):
    """Every leaf within `rtol` of its largest value."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(initial=0))


@pytest.mark.parametrize("num_iter", [0, 1, 5])
def test_forward_values_are_the_same(num_iter):
    with jax.enable_x64():
        init, theta = double(CURVED)

        @jax.jit
        def run(init, theta):
            objective = least_squares(functools.partial(curved, theta=theta))
            # With a state that is carried, too.
            return [momentum(objective, init, num_iter, adjoint=a) for a in EVERY_ADJOINT.values()]

        first, *others = run(init, theta)
        assert first.iterates.shape == (num_iter + 1, 2) and first.iterates.dtype == jnp.float64
        for other in others:
            assert_close(other, first, rtol=1e-12)


EXACT = {
    "steepest_descent": "l2",
    "gradient_descent": "hinge",
    "momentum": "hinge",
    "conjugate_gradient": "kl",
    "newton": "kl",
}


@pytest.mark.parametrize("solver", EXACT)
def test_unrolled_and_checkpointed_are_exact(solver):
    """By central differences of all outputs, along a random direction of all inputs.

    (Steepest descent on the hinge, each input apart: test_predict.py.)
    """
    config = dataclasses.replace(SMALL, solver=solver, objective=EXACT[solver])
    config = dataclasses.replace(config, init_step_length=0.2 if "gradient_" in solver else 0.9)
    if solver == "momentum":
        config = dataclasses.replace(config, solver_parameters=(("momentum", 0.3),))
    checkpointed = dataclasses.replace(config, adjoint="checkpointed")
    rng = np.random.default_rng(5)
    with jax.enable_x64():
        args, box = predictor_arguments(config)
        draw = lambda x: jnp.asarray(rng.standard_normal(x.shape), jnp.float64)
        random = functools.partial(jax.tree.map, draw)
        direction = random(args)

        def outputs(args, config):
            params, filt, feat, weight = args
            solve = optimize_filter(params, filt, feat, box, weight, config, num_iter=5)
            return solve.iterates, solve.losses, solve.step_lengths, solve.last

        cotangent = random(jax.eval_shape(lambda a: outputs(a, config), args))

        def total(args, config):
            products = jax.tree.map(jnp.vdot, outputs(args, config), cotangent)
            return sum(products)

        derivative = jax.jit(lambda args: jax.value_and_grad(total)(args, config))
        values = lambda args: derivative(args)[0]
        _, unrolled = derivative(args)
        if solver in ("momentum", "conjugate_gradient"):  # those with a state
            again = jax.jit(lambda args: jax.grad(total)(args, checkpointed))(args)
            assert_close(again, unrolled, rtol=1e-10)
        eps = 1e-6
        moved = lambda s: jax.tree.map(lambda x, d: x + s * eps * d, args, direction)
        measured = (values(moved(1)) - values(moved(-1))) / (2 * eps)
        along = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, unrolled, direction)))
        np.testing.assert_allclose(along, measured, rtol=1e-6)
        # The gradient reaches everything, the solver's own parameters included.
        for leaf in jax.tree.leaves(unrolled):
            assert abs(leaf).max() > 0


def by_hand(init, theta, cuts, num_iter):
    """All iterates of steepest descent, written out, and detached before `cuts`."""
    residual = functools.partial(curved, theta=theta)
    half = lambda x: 0.5 * (residual(x) ** 2).sum()
    point, points = init, [init]
    for index in range(num_iter):
        point = jax.lax.stop_gradient(point) if index in cuts else point
        grad = jax.grad(half)(point)
        along = jax.jvp(residual, (point,), (grad,))[1]
        point = point - (grad @ grad) / (along @ along) * grad
        points.append(point)
    return jnp.stack(points)


def test_truncated_and_one_step_are_what_they_say():
    """As written out with `stop_gradient`, for all iterates and for the last one alone."""
    every = lambda k: functools.partial(adjoints.truncated, every=k)
    pairs = [(every(2), (2,)), (every(3), ()), (adjoints.one_step, range(3))]
    with jax.enable_x64():
        init, theta = double(CURVED)

        def library(init, theta, adjoint):
            objective = least_squares(functools.partial(curved, theta=theta))
            solve = steepest_descent(objective, init, 3, adjoint=adjoint)
            return solve.iterates, solve.last

        def written(init, theta, cuts):
            points = by_hand(init, theta, cuts, 3)
            return points, points[-1]

        @jax.jit
        def derivatives(init, theta):
            jacobian = lambda f, how: jax.jacrev(f, (0, 1))(init, theta, how)
            return [(jacobian(library, a), jacobian(written, cuts)) for a, cuts in pairs]

        found = derivatives(init, theta)
        for got, expected in found:
            assert_close(got, expected, rtol=1e-10)
        # So with all iterations it is the derivative itself, and it is biased below.
        (_, (by_init, by_theta)), (_, (_, exact_by_theta)) = found[0][0], found[1][0]
        np.testing.assert_array_equal(by_init, 0 * by_init)
        assert abs(by_theta - exact_by_theta).max() > 1e-2 * abs(exact_by_theta).max()


def test_bias_on_a_quadratic_is_the_contraction():
    """L = |x - theta|^2_A: an iteration of length h contracts by M = 1 - h A. Of the solution's
    derivative 1, unrolled I iterations have 1 - M^I, k of them 1 - M^k, one 1 - M, implicit all."""
    with jax.enable_x64():
        root = jnp.asarray([[1.0, 0.2, 0.0], [0.2, 0.8, 0.1], [0.0, 0.1, 0.5]])
        length, count = 0.4, 6

        @jax.jit
        def derivatives(theta):
            def last(theta, adjoint):
                objective = least_squares(lambda x: root @ (x - theta))
                return gradient_descent(
                    objective, jnp.zeros(3), count, step_length=length, adjoint=adjoint
                ).last

            return {n: jax.jacrev(last)(theta, a) for n, a in EVERY_ADJOINT.items()}

        found = derivatives(jnp.asarray([1.0, -2.0, 0.5]))
        contraction = np.eye(3) - length * root.T @ root
        power = functools.partial(np.linalg.matrix_power, contraction)
        bias = {"unrolled": power(count), "checkpointed": power(count), "truncated": power(2)}
        bias |= {"one_step": contraction, "implicit": np.zeros((3, 3))}
        for name, jacobian in found.items():
            np.testing.assert_allclose(jacobian, np.eye(3) - bias[name], atol=1e-10, err_msg=name)


def test_gradients_under_vmap():
    """Two solves at once are two solves; of all iterates, with a state that is carried."""
    with jax.enable_x64():
        init, theta = double(CURVED)
        starts = jnp.stack([init, init + 0.3])

        def total(init, theta, adjoint):
            objective = least_squares(functools.partial(curved, theta=theta))
            solve = momentum(objective, init, 2, adjoint=adjoint)
            return (solve.iterates**2).sum() + solve.losses.sum()

        def every(init, theta):
            found = EVERY_ADJOINT.values()
            return [jax.grad(total, (0, 1))(init, theta, adjoint) for adjoint in found]

        together = jax.jit(jax.vmap(every, (0, None)))(starts, theta)
        alone = jax.jit(every)
        for index, start in enumerate(starts):
            this = jax.tree.map(lambda x, i=index: x[i], together)
            assert_close(this, alone(start, theta), rtol=1e-9)


def test_a_cut_every_zero_iterations_is_refused():
    adjoint = functools.partial(adjoints.truncated, every=0)
    with pytest.raises(ValueError, match="truncate_every=0: expected 1 or more"):
        steepest_descent(least_squares(jnp.sin), jnp.ones(2), 2, adjoint=adjoint)
