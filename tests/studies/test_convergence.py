"""The study `convergence`: its problems, what it measures, going on after a stop, its report."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import Config
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.models.dimp import DiMP
from dimp_jax.predictor import predict
from dimp_jax.studies import __main__, convergence, problems, study
from dimp_jax.studies.convergence import arms as solver_arms
from dimp_jax.studies.convergence import measure, report
from tests.media.test_sequences import make_sequence
from tests.support import small_tracker, study_problems


def arguments(out, **changes):
    small = dict(problems=2, iterations=3, later=2, horizon=4, lanczos_steps=5, lanczos_starts=2)
    return convergence.Arguments(out=out, **{**small, **changes})


def sequence(folder, count=10, absent=()):
    (found,) = sequences.load_folder(make_sequence(folder, count=count))
    found.groundtruth[list(absent)] = np.nan
    return found


# ------------------------------------------------------------------------------------ problems


def test_frames_are_spread_and_test_frames_have_ground_truth_there_and_before(tmp_path):
    found = sequence(tmp_path / "s", count=10, absent=(3,))
    assert problems.fit_frames(found, 3, 4) == [0, 2, 5]
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
        solver_arms.Arm("cg", solver_arms.solver_of(own, "conjugate_gradient"), 1.0)
    ]
    monkeypatch.setattr(solver_arms, "own_objective_arms", own_arms)
    monkeypatch.setattr(solver_arms, "REFERENCE_ITERATIONS", 6)
    model = dataclasses.replace(
        small_tracker.MODEL, predictor=PredictorConfig(num_bins=10, objective="kl", alpha_eps=0.1)
    )
    config = Config(model=model)
    params = predict.init_params(model.predictor)
    meter = measure.Meter(config, {"predictor": params}, arguments(tmp_path))
    problem = study_problems.random_problem()
    record = meter.record(problem, [])
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
    assert own["curves"]["zero"]["cg"]["losses"][0] == pytest.approx(np.log(49), rel=1e-4)
    product = problems.objective_of(predict.init_params(model.predictor), problem, model.predictor)(
        problem.initial
    ).product
    columns = [product(e.reshape(4, 4, 4)).ravel() for e in jnp.eye(64)]
    eigenvalues = np.linalg.eigvalsh(np.stack(columns))
    spectrum = record["spectrum"]
    for values in spectrum["first"]["values"]:
        assert eigenvalues[0] - 1e-6 <= min(values)
        assert max(values) == pytest.approx(eigenvalues[-1], rel=0.05)
    assert spectrum["regularization"] == pytest.approx(0.01)
    shares = np.array(meter.step_lengths(problem)) * eigenvalues[-1]
    np.testing.assert_allclose(shares, solver_arms.STEP_FACTORS, rtol=0.05)


def test_arms_take_the_solver_of_the_config_as_it_is():
    own = PredictorConfig(solver="momentum", solver_parameters=(("momentum", 0.2),))
    arms = solver_arms.own_objective_arms(own, (0.5,), (0.1, 0.2))
    by_name = {arm.name: arm for arm in arms}
    assert by_name["momentum 0.5"].predictor.solver_parameters == (("momentum", 0.5),)
    assert by_name["steepest descent"].predictor.solver_parameters == ()
    assert [by_name[f"gradient descent {s}"].step_length for s in (0.1, 0.2)] == [0.1, 0.2]
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


def made_up_record(problem, step_lengths):
    by_arm = {"steepest descent": curve(0.5), "conjugate gradient": curve(0.2)}
    by_arm |= {
        f"gradient descent {s:g}": curve(f) for s, f in zip(step_lengths, (0.8, 3.0), strict=True)
    }
    objective = {
        "curves": {"initialiser": by_arm, "zero": by_arm},
        "tracked": {"loss": 0.3, "hit": 0.75, "margin": 0.2},
        "least": 0.0,
    }
    ends = {"values": [[0.01, 1.0]], "weights": [[0.5, 0.5]]}
    spectrum = {"first": ends, "last": ends, "regularization": 0.01}
    return {"own": objective, "kl": None, "spectrum": spectrum}


class StoppedMeter:
    """Measures as many problems as it is allowed to."""

    allowed = 1

    def __init__(self, config, network_params, args):
        self.extractor = study_problems.Extractor()
        self.done = 0

    def step_lengths(self, problem):
        return [0.1, 1.0]

    def record(self, problem, step_lengths):
        if self.done == self.allowed:
            raise KeyboardInterrupt
        self.done += 1
        return made_up_record(problem, step_lengths)


def test_stopped_it_goes_on_and_then_reports(monkeypatch, tmp_path, capsys):
    make_sequence(tmp_path / "data" / "s", count=10)
    tracker = study_problems.Tracker()
    monkeypatch.setattr(measure, "Meter", StoppedMeter)
    monkeypatch.setattr(measure.trackers, "build", lambda config: tracker)
    monkeypatch.setattr(study_problems.Tracker.network, "params", {}, raising=False)
    out = tmp_path / "out"
    argv = ["convergence", "--out", str(out), "--data", str(tmp_path / "data"), "--problems", "2"]
    argv += ["--iterations", "3", "--horizon", "4"]
    assert __main__.main(argv) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert sorted(p.name for p in (out / "units").iterdir()) == ["s_0.json", "step_lengths.json"]
    assert __main__.main(argv) == 0  # one more is allowed again, and one is missing
    assert len(list((out / "units").iterdir())) == 3
    text = (out / "report.md").read_text()
    assert "2 sample memories of the tracker from 1 sequence(s) (s)" in text
    assert "| initialiser | steepest descent | 0.5 | 0.25 | 0.125 |" in text
    assert "| initialiser | gradient descent 0.1 | 0.8 | 0.64 | 0.512 |" in text
    assert "| first | 1.0 |" in text or "| first | 1 |" in text
    for name in ("curves_own.png", "steps_own.png", "spectrum.png", "curves_own.csv", "ritz.csv"):
        assert f"({name})" in text or name.endswith(".csv")
        assert (out / name).stat().st_size > 100
    assert __main__.main([*argv, "--seed", "1"]) == 2
    assert "another options" in capsys.readouterr().err


def test_diverged_arms_are_shown_as_such(monkeypatch, tmp_path):
    for name in ("curves", "step_lengths", "spectrum"):
        monkeypatch.setattr(report.plots, name, lambda *_: None)
    record = made_up_record(None, [0.1, 1.0])["own"]
    for by_arm in record["curves"].values():
        by_arm["gradient descent 0.1"]["losses"][-1] = float("nan")
    assert measure.shown_arms({"p": record}, "zero")[-1] == "gradient descent 1"
    opened = study.open_study("convergence", arguments(tmp_path), {}, ["convergence"])
    measured = {"p@0": {**made_up_record(None, [0.1, 1.0]), "own": record}}
    report.write(opened, measured, arguments(tmp_path))
    assert "gradient descent 0.1 | 0.8 | 0.64 | inf |" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "--iterations 0: expected 1 or more"),
        ({"lanczos_steps": -1}, "--lanczos-steps -1: expected 1 or more"),
        ({"momentum": (1.0,)}, "--momentum 1: expected numbers from 0 to below 1"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        convergence.checked(arguments(tmp_path, **changes))


def test_quick_never_enlarges(tmp_path):
    assert convergence.quick(arguments(tmp_path, problems=1)).problems == 1
    assert convergence.quick(arguments(tmp_path, iterations=90)).iterations == 10
