"""The implicit gradient: that of a converged solve, and what it is of another."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

from dimp_jax.config.training import OptimConfig
from dimp_jax.predictor.objectives import dimp_residual, regularization
from dimp_jax.predictor.predict import optimize_filter
from dimp_jax.predictor.target_maps import distance_basis, target_center_yx, target_maps
from dimp_jax.training import steps
from tests.predictor.test_adjoints import SMALL, assert_close, predictor_arguments
from tests.support import small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)


@functools.cache
def converged(objective):
    """Implicit derivatives of a converged solve, by finite differences, and of two iterations."""
    config = dataclasses.replace(
        SMALL,
        solver="conjugate_gradient",
        init_step_length=1.0,
        objective=objective,
        adjoint="implicit",
        implicit_tolerance=1e-12,
    )
    args, box = predictor_arguments(config)
    args[0]["log_step_length"] = jnp.zeros(())
    probe = jnp.asarray(np.random.default_rng(2).standard_normal(args[1].shape))

    def total(args, num_iter, config):
        params, filt, feat, weight = args
        solve = optimize_filter(params, filt, feat, box, weight, config, num_iter=num_iter)
        return jnp.vdot(solve.last, probe), solve

    unrolled = dataclasses.replace(config, adjoint="unrolled")
    implicit = jax.jit(lambda args: jax.grad(total, has_aux=True)(args, 60, config))
    short = jax.jit(
        lambda args: [jax.grad(total, has_aux=True)(args, 2, c) for c in (config, unrolled)]
    )
    return args, box, probe, implicit, short(args)


def cosine_and_ratio(a, b):
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    a, b = flat(a), flat(b)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("objective", ["hinge", "kl"])
def test_implicit_is_the_derivative_of_the_solution(objective):
    with jax.enable_x64():
        args, _, probe, implicit, short = converged(objective)
        grads, solve = implicit(args)
        assert solve.optimality < 1e-9
        rng = np.random.default_rng(7)
        for index in (0, 2, 3):  # parameters, features, sample weights
            direction = jax.tree.map(lambda x: rng.standard_normal(x.shape), args[index])

            def moved(step, index=index, direction=direction):
                other = jax.tree.map(lambda x, d: x + step * d, args[index], direction)
                changed = tuple(other if i == index else a for i, a in enumerate(args))
                return jnp.vdot(implicit(changed)[1].last, probe)

            measured = (moved(1e-5) - moved(-1e-5)) / 2e-5
            along = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grads[index], direction)))
            np.testing.assert_allclose(along, measured, rtol=1e-5)
        # A solution depends neither on where it was started nor on how it was reached.
        np.testing.assert_array_equal(grads[1], 0 * grads[1])
        assert grads[0]["log_step_length"] == 0

        # After two iterations it is not the derivative of what was computed, and the optimality
        # says so.
        (wrong, two), (exact, _) = short
        assert two.optimality > 1e-2
        cosine, ratio = cosine_and_ratio((wrong[0], wrong[2]), (exact[0], exact[2]))
        assert cosine < 0.99 or abs(np.log(ratio)) > 0.05


def test_implicit_agrees_with_optimistix():
    """Levenberg-Marquardt with its implicit adjoint, on DiMP's residual."""
    with jax.enable_x64():
        args, box, probe, implicit, _ = converged("hinge")
        basis = distance_basis(target_center_yx(box, 16, 2), (4, 4), 6, 0.7)

        def residual(filt, args):
            params, _, feat, weight = args
            maps = target_maps(params, basis, weight)
            return dimp_residual(filt, feat, maps, regularization(params, SMALL))

        @jax.jit
        @jax.grad
        def theirs(args):
            found = optimistix.least_squares(
                residual,
                optimistix.LevenbergMarquardt(rtol=1e-12, atol=1e-12),
                args[1],
                args,
                adjoint=optimistix.ImplicitAdjoint(),
                throw=False,
            )
            return jnp.vdot(found.value, probe)

        ours, expected = implicit(args)[0], theirs(args)
        for index in (0, 2, 3):
            assert_close(ours[index], expected[index], rtol=1e-6)


@pytest.mark.long
def test_training_logs_the_optimality():
    """Next to the implicit gradient, and only there."""

    def settings(adjoint):
        predictor = dataclasses.replace(small_training.TINY.predictor, adjoint=adjoint)
        model = dataclasses.replace(small_training.TINY, predictor=predictor)
        optim = OptimConfig(learning_rates=(("default", 1e-3),), accumulate=2)
        return small_training.settings(model, optim=optim)

    config, batch = settings("implicit"), small_training.batch(2)
    state = steps.init_state(small_training.variables(small_training.TINY), config)
    name = "predictor/optimality"
    _, metrics = jax.eval_shape(steps.make_train_step(config), state, batch)
    assert metrics[name].shape == ()
    _, metrics = jax.eval_shape(steps.make_train_step(settings("one_step")), state, batch)
    assert name not in metrics
    # Two iterations: better than none, and no solution.
    assert 1e-3 < jax.jit(steps.make_eval_step(config))(state, batch)[name] < 1
