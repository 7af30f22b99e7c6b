"""What a config says of learned parts: one for all iterations or one each, fixed, initial."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.predictor import LearnedParts, PredictorConfig
from dimp_jax.predictor.predict import (
    adapt_params,
    effective_params,
    init_params,
    initial_values,
    optimize_filter,
)
from tests.predictor.test_predict import CONFIG, final_energy, problem, rough_params

PER_ITERATION = LearnedParts(**dict.fromkeys(dataclasses.asdict(LearnedParts()), "per_iteration"))


def with_learned(**modes):
    return dataclasses.replace(CONFIG, num_iter=3, learned=LearnedParts(**modes))


def test_shapes_of_the_parameters():
    shared = {name: np.shape(v) for name, v in init_params(with_learned()).items()}
    assert shared == {n: (10,) for n in ("label", "mask", "weight")} | {
        n: () for n in ("log_step_length", "filter_reg")
    }
    config = dataclasses.replace(CONFIG, num_iter=3, learned=PER_ITERATION)
    each = init_params(config)
    assert {name: np.shape(v) for name, v in each.items()} == {
        n: (3, *s) for n, s in shared.items()
    }
    for name, value in initial_values(config).items():
        np.testing.assert_array_equal(each[name], jnp.stack([value] * 3))
    for objective in ("l2", "kl"):
        config = PredictorConfig(objective=objective)
        assert set(init_params(config)) == {"log_step_length", "filter_reg"}
    more = PredictorConfig(
        solver_parameters=(("momentum", 0.4),), objective_parameters=(("margin", 2.0),)
    )
    assert {n: float(v) for n, v in init_params(more).items() if n in ("momentum", "margin")} == {
        "momentum": np.float32(0.4),
        "margin": 2.0,
    }


@functools.cache
def per_iteration():
    """(rough shared parameters, the same per iteration, their solve, derivative of its end)."""
    config = dataclasses.replace(CONFIG, num_iter=3, learned=PER_ITERATION)
    shared = rough_params(CONFIG)
    each, missing = adapt_params(shared, config)
    assert missing == []

    def run(params, num_iter):
        solve = optimize_filter(params, *problem(), config, num_iter=num_iter)
        return jnp.sum(solve.last**2), solve

    derivative = jax.jit(jax.grad(run, has_aux=True), static_argnums=1)
    return shared, each, derivative, config


def test_parts_that_are_learned_per_iteration():
    shared, each, derivative, config = per_iteration()
    grads, solve = derivative(each, 3)
    one = jax.jit(lambda p: optimize_filter(p, *problem(), CONFIG, num_iter=3))
    plain = one(shared)
    # Copies of shared ones do the same.
    np.testing.assert_allclose(solve.iterates, plain.iterates, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(solve.losses, plain.losses, rtol=1e-5)
    # And one for all gets the sum of their gradients.
    total = jax.jit(jax.grad(final_energy), static_argnums=1)(shared, CONFIG)
    for name, grad in grads.items():
        assert (abs(grad).reshape(3, -1).max(1) > 0).all(), name
        np.testing.assert_allclose(grad.sum(0), total[name], rtol=1e-3, atol=1e-5)
    # Each has its own say: what the last iteration uses does not change the iterates before it.
    other = {name: value.at[2].add(0.3) for name, value in each.items()}
    _, changed = derivative(other, 3)
    np.testing.assert_array_equal(changed.iterates[:3], solve.iterates[:3])
    assert abs(changed.last - solve.last).max() > 1e-3


def test_more_iterations_than_were_learned_use_the_last_ones_values():
    shared, each, _, config = per_iteration()
    longer, _ = adapt_params(each, dataclasses.replace(config, num_iter=5))
    assert longer["label"].shape == (5, 10)
    np.testing.assert_array_equal(longer["label"][3:], jnp.stack([each["label"][2]] * 2))
    shorter, _ = adapt_params(each, dataclasses.replace(config, num_iter=2))
    np.testing.assert_array_equal(shorter["filter_reg"], each["filter_reg"][:2])


def test_fixed_and_initial_parts():
    params = rough_params(CONFIG)
    config = with_learned(label="fixed", mask="initial", log_step_length="initial")
    used = effective_params(params, config)
    np.testing.assert_array_equal(used["label"], params["label"])
    for name in ("mask", "log_step_length"):
        np.testing.assert_array_equal(used[name], init_params(config)[name])
        assert abs(used[name] - params[name]).max() > 0
    grads = jax.jit(jax.grad(final_energy), static_argnums=1)(params, config)
    moved = {name for name, grad in grads.items() if abs(grad).max() > 0}
    assert moved == {"weight", "filter_reg"}


def test_parameters_of_a_checkpoint_for_another_config():
    params = rough_params(CONFIG)
    config = dataclasses.replace(
        CONFIG, solver="momentum", solver_parameters=(("momentum", 0.4),), objective="kl"
    )
    adapted, missing = adapt_params(params, config)
    assert missing == ["momentum"] and adapted["momentum"] == np.float32(0.4)
    assert set(adapted) == {"log_step_length", "filter_reg", "momentum"}
    assert adapted["filter_reg"] is params["filter_reg"]
    _, each, _, _ = per_iteration()
    with pytest.raises(ValueError, match=r"predictor/label was learned per iteration, \(3, 10\)"):
        adapt_params(each, CONFIG)
    modes = dict.fromkeys(dataclasses.asdict(PER_ITERATION), "initial")
    back, _ = adapt_params(each, with_learned(**modes))
    np.testing.assert_array_equal(back["label"], init_params(CONFIG)["label"])
