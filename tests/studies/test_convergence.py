"""The study `convergence`: the measurements of a problem, tracking with its arms, rounding."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import Config
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.host.rounded_products import products
from dimp_jax.media.images import InputError
from dimp_jax.predictor import predict
from dimp_jax.studies import convergence, problems
from dimp_jax.studies.convergence import arms as solver_arms
from dimp_jax.studies.convergence import measure, tracked
from dimp_jax.tracking import online
from dimp_jax.tracking import tracker as trackers
from tests.support import small_tracker, study_problems


def arguments(out, **changes):
    small = dict(
        after=(0, 2),
        tracked=(),
        iterations=3,
        later=2,
        horizon=4,
        lanczos_steps=5,
        lanczos_starts=2,
    )
    return convergence.Arguments(out=out, **{**small, **changes})


def test_record_of_a_problem(monkeypatch, tmp_path):
    own_arms = lambda own, *_: [
        solver_arms.Arm(name, solver_arms.solver_of(own, solver), 1.0)
        for name, solver in (
            (solver_arms.CONJUGATE, "conjugate_gradient"),
            ("gd", "gradient_descent"),
        )
    ]
    monkeypatch.setattr(solver_arms, "own_objective_arms", own_arms)
    monkeypatch.setattr(solver_arms, "ROLES", ())
    monkeypatch.setattr(solver_arms, "REFERENCE_ITERATIONS", 6)
    model = dataclasses.replace(
        small_tracker.MODEL, predictor=PredictorConfig(num_bins=10, objective="kl", alpha_eps=0.1)
    )
    config = Config(model=model)
    params = predict.init_params(model.predictor)
    meter = measure.Meter(config, {"predictor": params}, arguments(tmp_path))
    problem = study_problems.random_problem()
    record = meter.record(problem, [])
    solvers = meter.solvers(problem)
    assert record["kl"] is None  # the config's own objective
    own = record["own"]
    for start, by_arm in own["curves"].items():
        for curve in by_arm.values():
            assert (
                len(curve["losses"]) == len(curve["hit"]) == 4 and len(curve["step_lengths"]) == 3
            )
            assert curve["losses"][-1] < curve["losses"][0], start
            assert own["least"] <= min(curve["losses"])
    # Divergence of a uniform prediction from the label, at zero: log of the number of cells.
    assert own["zero"] == pytest.approx(np.log(49), rel=1e-4)
    product = problems.objective_of(predict.init_params(model.predictor), problem, model.predictor)(
        problem.initial
    ).product
    columns = [product(e.reshape(4, 4, 4)).ravel() for e in jnp.eye(64)]
    eigenvalues = np.linalg.eigvalsh(np.stack(columns))
    spectrum = record["spectrum"]
    for values in spectrum["initialiser"]["values"]:
        assert eigenvalues[0] - 1e-6 <= min(values)
        assert max(values) == pytest.approx(eigenvalues[-1], rel=0.05)
    assert spectrum["regularization"] == pytest.approx(0.01)
    shares = np.array(solvers["fixed_steps"]) * eigenvalues[-1]
    np.testing.assert_allclose(shares, solver_arms.FIXED_STEPS, rtol=0.05)
    # Scores, gradient and the scores along the direction; gradient descent does without the last.
    correlation = 2 * 3 * 36 * 64
    flops = solvers["flops"]
    assert 3 * correlation < flops[solver_arms.CONJUGATE] < 4.5 * correlation
    assert 2 * correlation < flops["gd"] < 3 * correlation


def test_arms_take_the_solver_of_the_config_as_it_is():
    own = PredictorConfig(solver="momentum", solver_parameters=(("momentum", 0.2),))
    arms = solver_arms.own_objective_arms(own, (0.5,), (0.1, 0.2))
    by_name = {arm.name: arm for arm in arms}
    assert by_name["momentum 0.5, step learned"].predictor.solver_parameters == (("momentum", 0.5),)
    assert arms[0].name == "momentum" and arms[0].predictor.solver_parameters == (
        ("momentum", 0.2),
    )
    assert by_name["steepest descent, step learned"].predictor.solver_parameters == ()
    assert [by_name[f"gradient descent, step {s}"].step_length for s in (0.1, 0.2)] == [0.1, 0.2]
    assert {arm.predictor.objective for arm in solver_arms.kl_arms(own)} == {"kl"}


# ----------------------------------------------------------------------------------------- tracking


def test_updates_have_iterations_in_proportion():
    arm = solver_arms.Arm("cg", PredictorConfig(solver="conjugate_gradient"))
    config = Config(model=small_tracker.MODEL)
    counts = lambda memory: (
        memory.init_iterations,
        memory.update_iterations,
        memory.hard_negative_iterations,
        memory.update,
    )
    of = lambda count: counts(tracked.changed(config, arm, count).tracker.memory)
    assert of(20) == (20, 4, 2, "memory")
    assert of(2) == (2, 1, 1, "memory")
    assert of(0)[0] == 0 and of(0)[3] == "none"
    assert tracked.changed(config, arm, 5).model.predictor.solver == "conjugate_gradient"


def test_a_tracker_has_the_step_length_of_its_arm(monkeypatch):
    own, params = PredictorConfig(), {"log_step_length": jnp.zeros(()), "label": jnp.ones(3)}
    network = online.Network({"predictor": params, "clf": {}}, None, 4, 4)
    make = lambda config: trackers.Tracker(config, network)
    monkeypatch.setattr(trackers, "build", make)
    config = Config(model=small_tracker.MODEL)
    step = lambda arm: tracked.build(config, arm, 5).network.params["predictor"]["log_step_length"]
    assert float(step(solver_arms.Arm("learned", own))) == 0
    assert float(step(solver_arms.Arm("step 0.5", own, 0.5))) == pytest.approx(np.log(0.5))
    assert float(params["log_step_length"]) == 0


# ------------------------------------------------------------------------------------ rounding


def test_every_product_of_a_solve_has_a_role():
    problem, own = study_problems.random_problem(), PredictorConfig(num_bins=10)
    params = predict.init_params(own)
    run = lambda: measure._optimized(params, problem.initial, problem, predictor=own, num_iter=2)
    roles = [measure.role(eqn) for eqn in products(run)]
    assert set(roles) == set(solver_arms.ROLES)
    # In the loop and after it; the direction's scores and the gradient in the loop alone.
    assert (roles.count("target maps"), roles.count("scores"), roles.count("gradient")) == (3, 3, 2)


def test_rounded_products_move_the_filter_and_are_judged_exactly():
    problem, own = study_problems.random_problem(), PredictorConfig(num_bins=10)
    params = predict.init_params(own)
    run = lambda rounding: measure.solve(
        params, problem.initial, problem, predictor=own, num_iter=3, rounding=rounding
    )
    exact, curves = run(None)
    everything, rounded_curves = run(solver_arms.Rounding("bfloat16"))
    gradient, _ = run(solver_arms.Rounding("bfloat16", "gradient"))
    off = lambda filt: float(jnp.linalg.norm(filt - exact) / jnp.linalg.norm(exact))
    assert 1e-4 < off(gradient) < off(everything) < 0.05
    # The first iterate is the same, and so is its loss: it is not the rounded solve's own.
    assert float(rounded_curves["losses"][0]) == pytest.approx(float(curves["losses"][0]), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "--iterations 0: expected 1 or more"),
        ({"after": (-1,)}, "--after -1: expected frames from 0 on"),
        ({"tracked": (0,)}, "--tracked 0: expected 1 or more"),
        ({"lanczos_steps": -1}, "--lanczos-steps -1: expected 1 or more"),
        ({"momentum": (1.0,)}, "--momentum 1: expected numbers from 0 to below 1"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        convergence.checked(arguments(tmp_path, **changes))


def test_quick_never_enlarges(tmp_path):
    assert convergence.quick(arguments(tmp_path, after=(3,))).after == (3,)
    assert convergence.quick(arguments(tmp_path, iterations=90)).iterations == 10
