"""What a config says of the predictor: learned parts, parameters of parts, and names of parts."""

import dataclasses
import functools
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dimp_jax
from dimp_jax import config as configs
from dimp_jax.checkpoints import store
from dimp_jax.config.predictor import LearnedParts, PredictorConfig
from dimp_jax.predictor import parts
from dimp_jax.predictor.predict import (
    adapt_params,
    effective_params,
    init_params,
    initial_values,
    optimize_filter,
)
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent
from dimp_jax.studies.learned_loss import functions as learned_loss
from tests.checkpoints.test_store import card_of
from tests.predictor.test_predict import CONFIG, problem, rough_params

PER_ITERATION = LearnedParts(**dict.fromkeys(dataclasses.asdict(LearnedParts()), "per_iteration"))


def with_learned(**modes):
    return dataclasses.replace(CONFIG, num_iter=3, learned=LearnedParts(**modes))


def final_energy(params, config, num_iter=3):
    return jnp.sum(optimize_filter(params, *problem(), config, num_iter=num_iter).last ** 2)


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


# --------------------------------------------------------------------- names and their errors

ONE_OF = "expected one of steepest_descent, gradient_descent, .*, or module:function"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "steepest_decent",
            f"predictor.solver='steepest_decent': did you mean 'steepest_descent'. {ONE_OF}",
        ),
        ("zzz", f"predictor.solver='zzz': {ONE_OF}"),
        (":f", ONE_OF),
        ("module:", ONE_OF),
        ("dimp_jax_nowhere:f", f"No module named 'dimp_jax_nowhere'; {ONE_OF}"),
        (
            "dimp_jax.geometry.boxes:nothing",
            f"dimp_jax.geometry.boxes has no function 'nothing'; {ONE_OF}",
        ),
        ("dimp_jax:__version__", "dimp_jax has no function '__version__'"),
    ],
)
def test_unknown_parts(name, text):
    with pytest.raises(ValueError, match=text):
        parts.find("solver", name, parts.SOLVERS)


def test_names_are_refused_as_soon_as_there_are_parameters():
    """Without an import of what a config names."""
    for field, near in (("objective", "hinges"), ("adjoint", "unroled")):
        with pytest.raises(ValueError, match=f"predictor.{field}='{near}': did you mean"):
            init_params(PredictorConfig(**{field: near}))
    init_params(PredictorConfig(solver="dimp_jax_nowhere:f"))


def test_parameters_must_fit_the_parts():
    for name in ("label", "filter_reg", "damping", "step_length"):
        with pytest.raises(ValueError, match=f"predictor parameter '{name}': the name is taken"):
            init_params(PredictorConfig(solver_parameters=((name, 1.0),)))
    config = dataclasses.replace(CONFIG, solver_parameters=(("momentum", 0.4),))
    text = (
        "solver_parameters: steepest_descent has no argument 'momentum'.*it takes objective, init"
    )
    with pytest.raises(ValueError, match=text):
        optimize_filter(init_params(config), *problem(), config, num_iter=1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"objective_parameters": (("a", 1.0),), "solver_options": (("a", 2),)},
            "parameter 'a': the name is taken",
        ),
        ({"learned_own": (("a", "fixed"),)}, "learned_own: 'a' 'fixed'.*own .there are none"),
        (
            {"solver_parameters": (("a", 1.0),), "learned_own": (("a", "fxied"),)},
            "'fxied': expected one of a and one of shared, per_iteration, fixed, initial",
        ),
        (
            {"solver_parameters": (("a", "ones"),)},
            "solver_parameters='ones': expected a number or module:function",
        ),
        (
            {"solver_parameters": (("a", "dimp_jax_nowhere:f"),)},
            "parameter a='dimp_jax_nowhere:f': No module named",
        ),
    ],
)
def test_parameters_of_ones_own_that_cannot_be(changes, text):
    with pytest.raises(ValueError, match=text):
        init_params(dataclasses.replace(CONFIG, **changes))


@pytest.mark.parametrize("part", ["solver", "objective", "adjoint"])
def test_options_must_fit_the_parts(part):
    config = dataclasses.replace(CONFIG, **{f"{part}_options": (("odd", 1),)})
    name = getattr(CONFIG, part)
    text = f"predictor.{part}_options: {name} has no argument 'odd', which it is given; it takes "
    with pytest.raises(ValueError, match=text):
        optimize_filter(init_params(config), *problem(), config, num_iter=1)


def test_options_are_given_as_they_are():
    """A learned number, a constant in its place, and the field of ours that an option overrides."""
    learned = dataclasses.replace(
        CONFIG, solver="momentum", solver_parameters=(("momentum", 0.4),), adjoint="truncated"
    )
    params = init_params(learned)
    fixed = dataclasses.replace(learned, learned_own=(("momentum", "fixed"),), truncate_every=2)
    back = dataclasses.replace(learned, learned_own=(("momentum", "initial"),), truncate_every=2)
    constant = dataclasses.replace(
        learned,
        solver_parameters=(),
        solver_options=(("momentum", 0.4),),
        adjoint_options=(("every", 2),),
    )
    run = jax.jit(
        lambda p: [jax.grad(final_energy)(p, c) for c in (fixed, back, constant, learned)]
    )
    of_fixed, of_back, of_constant, of_learned = run(params)
    for name in LearnedParts.__dataclass_fields__:
        np.testing.assert_allclose(of_constant[name], of_fixed[name], rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(of_back[name], of_fixed[name], rtol=1e-5, atol=1e-8)
    assert of_fixed["momentum"] == of_back["momentum"] == 0 != of_learned["momentum"]
    moved = effective_params(params | {"momentum": jnp.float32(0.9)}, back)
    assert moved["momentum"] == np.float32(0.4)


def own_solver(objective, init, num_iter, *, step_length, damping, adjoint, push):
    return steepest_descent(
        objective, init, num_iter, step_length=push * step_length, damping=damping, adjoint=adjoint
    )


def too_narrow(objective, init, num_iter, *, step_length, adjoint):
    raise AssertionError("never called")


def test_parts_of_other_modules(monkeypatch):
    module = types.ModuleType("dimp_jax_tests_own")
    module.solver, module.narrow = own_solver, too_narrow
    monkeypatch.setitem(sys.modules, module.__name__, module)
    config = dataclasses.replace(
        CONFIG, solver="dimp_jax_tests_own:solver", solver_parameters=(("push", 0.5),)
    )
    params = init_params(config)
    lengths, grad = jax.jit(
        lambda p: (
            optimize_filter(p, *problem(), config, num_iter=1).step_lengths,
            jax.grad(final_energy)(p, config, 1)["push"],
        )
    )(params)
    plain = init_params(CONFIG)
    whole = optimize_filter(plain, *problem(), CONFIG, num_iter=1).step_lengths
    np.testing.assert_allclose(lengths, 0.5 * whole, rtol=1e-5)
    assert abs(grad) > 1e-4
    narrow = dataclasses.replace(CONFIG, solver="dimp_jax_tests_own:narrow")
    with pytest.raises(ValueError, match="predictor.solver: .*narrow has no argument 'damping'"):
        optimize_filter(plain, *problem(), narrow, num_iter=1)


@pytest.mark.parametrize(
    "named",
    [
        PredictorConfig(objective="dimp_jax_not_asked:loss"),
        PredictorConfig(solver_parameters=(("a", "dimp_jax_not_asked:loss"),)),
    ],
)
def test_a_checkpoint_does_not_import_code_by_itself(tmp_path, named):
    """What a card names would run: the user has to have asked for it."""
    (tmp_path / "dimp_jax_not_asked.py").write_text("raise AssertionError('imported')\n")
    model = dataclasses.replace(configs.load("dimp18").model, predictor=named)
    card = card_of() | {"config": configs.to_dict(configs.Config(model=model))}
    path = tmp_path / "checkpoint"
    store.save(path, {"params": {"backbone": {"a": np.ones(1, np.float32)}}}, card)
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ValueError, match="import dimp_jax_not_asked first if you trust it"):
            dimp_jax.load(path)
        with pytest.raises(ValueError, match="import dimp_jax_not_asked first if you trust it"):
            learned_loss.read(str(path))
    finally:
        sys.path.remove(str(tmp_path))
    assert "dimp_jax_not_asked" not in sys.modules
