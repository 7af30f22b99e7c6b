"""The study `convergence`: its problems, what it measures, going on after a stop, its report."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import Config
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.host.rounded_products import products
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.models.dimp import DiMP
from dimp_jax.predictor import predict
from dimp_jax.studies import __main__, convergence, problems, study
from dimp_jax.studies.convergence import arms as solver_arms
from dimp_jax.studies.convergence import measure, plots, report, results, tracked
from dimp_jax.tracking import online
from dimp_jax.tracking import tracker as trackers
from tests.media.test_sequences import make_sequence
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


def sequence(folder, count=10, absent=()):
    (found,) = sequences.load_folder(make_sequence(folder, count=count))
    found.groundtruth[list(absent)] = np.nan
    return found


# ------------------------------------------------------------------------------------ problems


def test_frames_are_spread_and_test_frames_have_ground_truth_there_and_before(tmp_path):
    found = sequence(tmp_path / "s", count=10, absent=(3,))
    assert problems.fit_frames(found, (0, 2, 5, 9, 20), 4) == [0, 2, 5]  # none follows the ninth
    assert problems.later_frames(found, 2, 4, 4) == [5, 6]  # 3 is hidden, so 4 has no window
    assert problems.later_frames(found, 0, 4, 4) == [1, 2]
    assert problems.later_frames(found, 5, 2, 4) == [6, 9]
    assert problems.later_frames(found, 9, 2, 4) == []


def test_memory_and_held_out_frames_of_a_tracked_sequence(tmp_path):
    found = sequence(tmp_path / "s")
    drawn = problems.from_tracking(
        study_problems.Tracker(),
        study_problems.Extractor(),
        found,
        [0, 3],
        later=3,
        horizon=2,
        seed=0,
    )
    (first, at_first), (second, at_second) = drawn
    assert (first, second) == (0, 3)
    assert float(at_first.tracked[0, 0, 0]) == 0 and float(at_second.tracked[0, 0, 0]) == 3
    assert at_second.test_feat.shape == (3, 4, 4, 3)
    np.testing.assert_array_equal(at_second.test_weight, [1, 1, 0])  # two frames, one filled up
    # The target moves by a pixel a frame; the window of 60 px becomes a crop of 64.
    center = at_second.test_box_xywh[:, :2] + at_second.test_box_xywh[:, 2:] / 2
    np.testing.assert_allclose(center[0], [32 + 64 / 60, 32], atol=0.6)


def test_the_initial_filter_is_the_weighted_mean_of_each_samples_filter():
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    params = {"filter_init": {"conv": {"kernel": normal(3, 3, 2, 2), "bias": normal(2)}}}
    extractor = problems.Extractor(small_tracker.MODEL, params)
    feat, box = normal(2, 4, 4, 2), jnp.array([[8.0, 8.0, 40.0, 40.0], [16.0, 8.0, 20.0, 30.0]])
    share = lambda *values: extractor.initial_filter(feat, box, jnp.array(values))
    expected = DiMP(small_tracker.MODEL, folded=True).apply(
        {"params": params}, feat, box, method="initial_filter"
    )
    np.testing.assert_allclose(share(0.5, 0.5), expected, atol=1e-6)
    np.testing.assert_allclose(
        0.25 * share(1.0, 0) + 0.75 * share(0, 1.0), share(0.25, 0.75), atol=1e-6
    )


def test_quality_of_known_scores():
    problem = study_problems.random_problem(count=2)
    spots = jnp.zeros((2, 6, 6, 4)).at[0, 3, 3, 0].set(1.0).at[1, 0, 0, 0].set(0.5)
    problem = problem._replace(test_feat=spots)
    filt = jnp.zeros((4, 4, 4)).at[2, 2, 0].set(1.0)  # a copy of the features
    # Centre (3, 3): the first frame's peak is there, the second one's three cells away.
    found = problems.quality(filt, problem)
    assert float(found.hit) == 0.5
    assert float(found.margin) == pytest.approx((1.0 - 0.5) / 2)
    first = problem._replace(test_weight=jnp.array([1.0, 0.0]))
    assert float(problems.quality(filt, first).margin) == pytest.approx(1)


# ------------------------------------------------------------------------------------ measuring


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


# ------------------------------------------------------------------------- folder and report


def curve(factor):
    losses = [factor**i for i in range(4)]
    return {
        "losses": losses,
        "step_lengths": [factor] * 3,
        "grad_norms": losses,
        "hit": [0.0, 0.5, 1.0, 1.0],
        "margin": [0.0, 0.1, 0.2, 0.3],
    }


def made_up_record(problem, fixed_steps):
    compared = {"steepest descent, step learned": curve(0.5), "conjugate gradient": curve(0.2)}
    factors = dict(zip(fixed_steps, (0.8, 3.0), strict=True))
    tried = {f"gradient descent, step {s:g}": curve(f) for s, f in factors.items()}
    by_start = {"initialiser": compared | tried, "zero": compared, "tracked": compared}
    by_start["rounded"] = {"steepest descent, tf32": curve(0.6)}
    ends = {"values": [[0.01, 1.0]], "weights": [[0.5, 0.5]]}
    spectrum = {"initialiser": ends, "tracked": ends, "regularization": 0.01}
    own = {"curves": by_start, "zero": 1.0, "least": 0.0}
    return {"own": own, "kl": None, "spectrum": spectrum}


FLOPS = {"steepest descent": 3e9, "conjugate gradient": 3e9, "gradient descent": 2e9}


class StoppedMeter:
    """Measures as many problems as it is allowed to."""

    allowed = 1

    def __init__(self, config, network_params, args):
        self.extractor = study_problems.Extractor()
        self.done = 0

    def solvers(self, problem):
        return {"fixed_steps": [0.1, 1.0], "flops": FLOPS}

    def record(self, problem, fixed_steps):
        if self.done == self.allowed:
            raise KeyboardInterrupt
        self.done += 1
        return made_up_record(problem, fixed_steps)


def test_stopped_it_goes_on_and_then_reports(monkeypatch, tmp_path, capsys):
    make_sequence(tmp_path / "data" / "s", count=10)
    make_sequence(tmp_path / "more" / "t", count=3)
    monkeypatch.setattr(measure, "Meter", StoppedMeter)
    monkeypatch.setattr(trackers, "build", lambda config: study_problems.Tracker())
    monkeypatch.setattr(study_problems.Tracker.network, "params", {}, raising=False)
    out = tmp_path / "out"
    argv = ["convergence", "--out", str(out), "--after", "0", "5", "--iterations", "3"]
    argv += ["--data", str(tmp_path / "data"), str(tmp_path / "more")]
    argv += ["--horizon", "4", "--tracked"]
    assert __main__.main(argv) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert sorted(p.name for p in (out / "units").iterdir()) == ["s_0.json", "solvers.json"]
    assert __main__.main(argv) == 130  # one more is allowed again
    assert study.state_of(out)[1] == "begun, 3 units"
    assert __main__.main(argv) == 0  # one was missing
    assert len(list((out / "units").iterdir())) == 4
    text = (out / "report.md").read_text()
    assert "3 sample memories of the tracker from 2 sequences" in text
    assert "| conjugate gradient | 1 | 0.2 | 0.04 | 0.008 | 0.008 to 0.008 |" in text
    assert "| gradient descent, step 0.1 | 1 | 0.8 | 0.64 | 0.512 |" in text
    assert "| steepest descent | tf32 | 0.216 | 0.091 |" in text
    for name in ("curves.png", "starts.png", "rounding.png", "spectrum.png"):
        assert f"({name})" in text and (out / name).stat().st_size > 100
    for name in (
        "summary.csv",
        "figures.csv",
        "curves.csv",
        "condition.csv",
        "ritz.csv",
        "rounding.csv",
    ):
        assert (out / name).stat().st_size > 100
    assert __main__.main([*argv, "--seed", "1"]) == 2
    assert "another options" in capsys.readouterr().err
    assert __main__.main(["--list", str(tmp_path / "none")]) == 0
    assert "convergence: not run; cost: -" in capsys.readouterr().out
    cost, state = study.state_of(out)
    assert state.startswith("report of 20") and cost.endswith(" s")


def test_diverged_arms_are_shown_as_such(monkeypatch, tmp_path):
    for name in ("curves", "starts", "rounding", "spectrum"):
        monkeypatch.setattr(report.plots, name, lambda *_: None)
    record = made_up_record(None, [0.1, 1.0])["own"]
    record["curves"]["initialiser"]["gradient descent, step 0.1"]["losses"][-1] = float("nan")
    best = results.best_arms({"p@0": record}, "initialiser")
    assert best["gradient descent"] == "gradient descent, step 1"
    assert best["steepest descent"] == "steepest descent, step learned"
    opened = study.open_study("convergence", arguments(tmp_path), {}, ["convergence"])
    measured = {"p@0": {**made_up_record(None, [0.1, 1.0]), "own": record}}
    solvers = {"fixed_steps": [0.1, 1.0], "flops": FLOPS}
    report.write(opened, measured, solvers, {}, {}, arguments(tmp_path))
    summary = (tmp_path / "summary.csv").read_text()
    assert '"gradient descent, step 0.1",1.0,0.8,0.64,inf,' in summary.replace(
        "0.6400000000000001", "0.64"
    )


def test_differences_of_the_auc_are_paired(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(
        report.plots, "auc", lambda path, rows, known: drawn.update(rows=rows, known=known)
    )
    arms = solver_arms.own_objective_arms(PredictorConfig(), (), (0.1,))
    best = {"steepest descent": arms[0], "gradient descent": arms[-1]}
    chosen = tracked.variants(best, arms[0], (2, 10), 10)
    assert list(chosen)[:2] == [tracked.CONFIGURED, tracked.NO_ITERATIONS]
    assert "steepest descent, 10 iterations" not in chosen  # that is the configured one
    base = {"a": 0.1, "b": 0.5, "c": 0.9}
    auc = {name: base for name in chosen}
    auc["gradient descent, 10 iterations"] = {name: value - 0.05 for name, value in base.items()}
    opened = study.open_study("convergence", arguments(tmp_path), {}, ["convergence"])
    report._auc(opened, auc, chosen, FLOPS, arguments(tmp_path, tracked=(2, 10)))
    rows = {row["variant"]: row for row in drawn["rows"]}
    planted = rows["gradient descent, 10 iterations"]
    assert planted["high"] < 0 and planted["difference"] == pytest.approx(-0.05)
    assert planted["GFLOP"] == pytest.approx(20)
    null = rows["gradient descent, 2 iterations"]
    assert null["low"] == null["high"] == 0
    assert drawn["known"]["gradient descent, 10 iterations"] == -0.022


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


# ---------------------------------------------------------------------------------- statistics


def test_interval_of_known_problems():
    rng = np.random.default_rng(0)
    means = rng.normal(size=40)
    # Five equal problems of each sequence say no more than one of each.
    values, sequences = np.repeat(means, 5), np.repeat(np.arange(40), 5)
    low, high = results.interval(values, sequences, np.mean)
    half_width = 1.96 * means.std(ddof=1) / np.sqrt(40)
    assert high - low == pytest.approx(2 * half_width, rel=0.12)
    assert low < means.mean() < high
    assert results.interval(values, np.zeros(200)) is None
    pairs = np.stack([np.ones(6), np.arange(6.0)], 1)
    low, high = results.interval(pairs, list("aabbcc"))
    assert low[0] == high[0] == 1 and low[1] < 2.5 < high[1]


def test_condition_of_a_known_spectrum():
    record = {
        "tracked": {
            "values": [[0.01, 0.5, 2.0], [0.02, 1.0, 1.5]],
            "weights": [[0.5, 0.25, 0.25], [0.6, 0.2, 0.2]],
        }
    }
    found = results.conditioning(record, "tracked")
    assert found["condition"] == pytest.approx(200)
    assert found["share over 1%"] == pytest.approx((0.5 + 0.4) / 2)


def test_names_at_the_ends_of_lines_keep_apart():
    placed = plots.spread([0.5, 0.5, 0.52, 0.99, 1.3, -1.0], 0.1)
    assert np.diff(np.sort(placed)).min() > 0.099
    assert placed.max() <= 1 and placed[5] == 0 and placed[0] < placed[1] < placed[2]


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
