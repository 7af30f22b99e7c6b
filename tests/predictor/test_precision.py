"""The predictor's products are exact on every device; what its iterates lose if they are not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.predictor import LearnedParts, PredictorConfig
from dimp_jax.host.rounded_products import MANTISSA_BITS, is_exact, is_product, products, rounded
from dimp_jax.predictor import parts, predict
from dimp_jax.predictor.objectives import Samples, least_squares
from dimp_jax.predictor.predict import optimize_filter
from tests.predictor.test_predict import problem, rough_params

CONFIG = PredictorConfig(num_bins=6, bin_width_cells=0.7, num_iter=3)
PER_ITERATION = LearnedParts(label="per_iteration", log_step_length="per_iteration")


def with_part(field, name):
    return pytest.param(dataclasses.replace(CONFIG, **{field: name}), id=name)


def differentiated(function, *args):
    """The products of `function` and of a derivative of all its results by all arguments."""

    def total(args):
        leaves = jax.tree.leaves(function(*args))
        return sum(jnp.sum(leaf**2) for leaf in leaves)

    return products(jax.value_and_grad(total), args)


@pytest.mark.parametrize("objective", parts.OBJECTIVES)
def test_all_that_an_objective_gives(objective):
    config = dataclasses.replace(CONFIG, objective=objective)
    filt, feat, box, weight = problem()

    def every(params, filt, feat, weight, direction):
        samples = Samples(feat, box, weight, 16, filt.shape[0])
        local = predict.objective_of(params, samples, config)(filt, 0)
        return local.loss, local.grad, local.product(direction), local.curvature(direction)

    found = differentiated(every, rough_params(config), filt, feat, weight, filt)
    assert len(found) > 10 and all(map(is_exact, found))


@pytest.mark.parametrize(
    "config",
    [
        *(with_part("solver", name) for name in parts.SOLVERS),
        *(with_part("adjoint", name) for name in parts.ADJOINTS if name != "unrolled"),
        pytest.param(dataclasses.replace(CONFIG, learned=PER_ITERATION), id="per_iteration"),
        pytest.param(dataclasses.replace(CONFIG, score_activation="bentpar"), id="bentpar"),
        pytest.param(dataclasses.replace(CONFIG, solver="newton", objective="kl"), id="prdimp"),
    ],
)
def test_a_solve_and_its_gradient(config):
    """By the solver alone: `optimize_filter` makes everything exact inside of it."""
    filt, feat, box, weight = problem()

    def solve(params, filt, feat, weight):
        samples = Samples(feat, box, weight, 16, filt.shape[0])
        return parts.SOLVERS[config.solver](
            predict.objective_of(params, samples, config),
            filt,
            config.num_iter,
            step_length=jnp.exp(params["log_step_length"]),
            damping=config.alpha_eps,
            adjoint=predict._adjoint(config),
        )

    found = differentiated(solve, rough_params(config), filt, feat, weight)
    assert len(found) > 10 and all(map(is_exact, found))


def careless(params, samples, config):
    """An objective of another package, whose product names no precision."""
    flat = samples.feat.reshape(-1, samples.feat.shape[-1])
    return least_squares(lambda filt: flat @ filt.reshape(-1, filt.shape[-1]).T - 1.0)


def test_parts_of_other_packages():
    config = dataclasses.replace(CONFIG, objective=f"{__name__}:careless")
    filt, feat, box, weight = problem()
    solve = lambda params, filt, feat: optimize_filter(
        params, filt, feat, box, weight, config, num_iter=2
    )
    samples = Samples(feat, box, weight, 16, filt.shape[0])
    alone = products(lambda f: careless({}, samples, config)(f, 0).grad, filt)
    assert not all(map(is_exact, alone))
    found = differentiated(solve, rough_params(config), filt, feat)
    assert found and all(map(is_exact, found))


@functools.cache
def iterates(name, which=lambda eqn: not is_exact(eqn)):
    """Iterates and gradient of a solve whose products are rounded, and how far they are off.

    `name` is one of `MANTISSA_BITS`, or None for float32.
    """
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem(samples=5, cells=9)

    def solve(feat):
        iterates = optimize_filter(params, filt, feat, box, weight, CONFIG, num_iter=5).iterates
        return jnp.sum(iterates[-1] ** 2), iterates

    run = jax.grad(solve, has_aux=True)
    if name is not None:
        run = rounded(run, MANTISSA_BITS[name], which=which)
    gradient, found = jax.jit(run)(feat)
    return np.asarray(gradient), np.asarray(found)


@pytest.mark.parametrize("name", MANTISSA_BITS)
def test_rounded_products_leave_the_iterates_alone(name):
    """And would not, were the products not exact."""
    error = lambda got, expected: np.abs(got - expected).max() / np.abs(expected).max()
    expected = iterates(None)
    kept, lost = iterates(name), iterates(name, is_product)
    assert all(error(*pair) < 1e-5 for pair in zip(kept, expected, strict=True))
    assert all(error(*pair) > 1e-4 for pair in zip(lost, expected, strict=True))
