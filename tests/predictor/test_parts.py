"""Parts that a config names, their parameters and options: what is refused, what arrives."""

import dataclasses
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
from dimp_jax.predictor.objectives import least_squares
from dimp_jax.predictor.predict import effective_params, init_params, optimize_filter
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent
from dimp_jax.studies.learned_loss import functions as learned_loss
from tests.checkpoints.test_store import card_of
from tests.predictor.test_predict import CONFIG, final_energy, problem

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
    with pytest.raises(parts.PartError, match=text):
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
        ({"objective_options": (("a", 1), ("a", 2))}, "objective_options: 'a' is given twice"),
        ({"adjoint_options": (("every", 1),) * 2}, "adjoint_options: 'every' is given twice"),
        (
            {"solver_parameters": (("a", 1.0),), "learned_own": (("a", "fixed"),) * 2},
            "learned_own: 'a' is given twice",
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


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"solver_options": (("num_iter", 3),)},
            "multiple values for argument 'num_iter'; name in",
        ),
        ({"objective_options": (("config", 3),)}, "multiple values for argument 'config'"),
        ({"adjoint_options": (("carry", 3),)}, "multiple values for argument 'carry'"),
        (
            {"solver": f"{__name__}:own_solver"},
            "own_solver': missing a required .*'push'; name in solver_parameters or solver_options "
            "what it takes beside objective, init, num_iter",
        ),
        ({"objective_parameters": (("limit", 1.0),)}, "hinge does not read limit: leave that out"),
        (
            {"objective": f"{__name__}:limited"},
            "limited' reads 'limit', which is missing; parameters are label, .*: name it and its "
            "initial value in objective_parameters, or, an option, in objective_options",
        ),
        ({"objective": f"{__name__}:limited_at_once"}, "at_once' reads 'limit'"),
    ],
)
def test_parts_get_all_that_they_take_and_nothing_twice(changes, text):
    config = dataclasses.replace(CONFIG, **changes)
    with pytest.raises(parts.PartError, match=text):
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


def limited(params, samples, config):
    return least_squares(lambda filt: params["limit"] * filt)


def limited_at_once(params, samples, config):
    return dict(config.objective_options)["limit"]


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
def test_a_checkpoint_does_not_import_code_by_itself(tmp_path, monkeypatch, named):
    """What a card names would run: the user has to have asked for it."""
    (tmp_path / "dimp_jax_not_asked.py").write_text("raise AssertionError('imported')\n")
    model = dataclasses.replace(configs.load("dimp18").model, predictor=named)
    card = card_of() | {"config": configs.to_dict(configs.Config(model=model))}
    path = tmp_path / "checkpoint"
    store.save(path, {"params": {"backbone": {"a": np.ones(1, np.float32)}}}, card)
    monkeypatch.syspath_prepend(tmp_path)
    for load in (dimp_jax.load, learned_loss.read):
        with pytest.raises(ValueError, match="import dimp_jax_not_asked first if you trust it"):
            load(str(path))
    assert "dimp_jax_not_asked" not in sys.modules
