"""The report of the study `convergence`: going on after a stop, tables, statistics."""

import csv

import numpy as np
import pytest

from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.media.images import InputError
from dimp_jax.studies import __main__, accuracy, line_names, study
from dimp_jax.studies.convergence import arms as solver_arms
from dimp_jax.studies.convergence import measure, report, results, tables, tracked
from dimp_jax.tracking import tracker as trackers
from tests.media.test_sequences import make_sequence
from tests.studies.test_convergence import arguments
from tests.support import study_problems


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
    with open(out / "figures.csv", newline="") as file:
        rounded = [row for row in csv.DictReader(file) if row["start"] == "rounded"]
    (change,) = [r for r in rounded if r["of"].endswith(" by tf32") and r["iteration"] == "3"]
    assert change["solver"] == "steepest descent"
    assert float(change["middle"]) == pytest.approx(0.6**3 - 0.5**3)
    assert __main__.main([*argv, "--seed", "1"]) == 2
    assert "another options" in capsys.readouterr().err
    cost, state = study.state_of(out)
    assert state.startswith("report of 20") and cost.endswith(" s")


def test_the_list_says_what_a_study_came_to(tmp_path, capsys):
    (tmp_path / "convergence").mkdir()
    findings = "# Title\n\n**What it says.**\n* *Solvers.* Ten leave\n  1.2 %. Others more.\n"
    (tmp_path / "convergence" / "report.md").write_text(findings)
    assert __main__.main(["--list", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "  Solvers. Ten leave 1.2 %." and lines[3].startswith("metagradient: ")
    assert "online: not run; cost: -" in lines[-3]
    assert __main__.main(["--list", "--help"]) == 0
    assert "--list [FOLDER]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none"], "none: no such folder; expected that of all studies: --list FOLDER"),
        ([], "docs/studies: no such folder"),
        (["a", "b"], "--list a b: expected one folder, that of all studies"),
    ],
)
def test_a_list_of_nothing_is_refused(given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["--list", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "name", ["ablation", "convergence", "learned_loss", "metagradient", "online"]
)
def test_quick_is_of_the_first_sequence(name, tmp_path, monkeypatch, capsys):
    for of in "ab":
        make_sequence(tmp_path / "data" / of)
    load, used = accuracy.load_sequences, []

    def loaded(*args):
        used.extend(sequence.name for sequence in load(*args))
        raise InputError("that is enough")

    monkeypatch.setattr(accuracy, "load_sequences", loaded)
    argv = [name, "--quick", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert __main__.main(argv) == 2
    assert "that is enough" in capsys.readouterr().err and used == ["a"]


def test_units_are_of_one_sequence(tmp_path, capsys):
    opened = study.Study(tmp_path / "out", "refinement", "", 0)
    for name in ("自行车", "汽车", "auc arm-0 20 a_b"):
        assert opened.unit(name) is None
        opened.record(name, name)
        assert opened.unit(name) == name
    assert (tmp_path / "out" / "units" / "auc_arm-0_20_a_b.json").is_file()  # as before
    for of in ("a b", "a_b"):
        make_sequence(tmp_path / "data" / of)
    for name in ("refinement", "online"):
        argv = [name, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "other")]
        assert __main__.main(argv) == 2
        assert "'a b' and 'a_b' would have the same files" in capsys.readouterr().err
    assert len(accuracy.load_sequences([tmp_path / "data"], None, quick=True)) == 1


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


def test_operations_are_those_of_the_solver_of_that_name():
    record = made_up_record(None, [0.1, 1.0])["own"]
    record["curves"]["initialiser"]["momentum 0.5, step learned"] = curve(0.5)
    rows = tables.curve_rows({"p@0": record}, {"momentum": 1e9, "momentum 0.5": 2e9} | FLOPS)
    gflop = {row["solver"]: row["gflop"] for row in rows if row["iteration"] == 1}
    assert gflop["momentum 0.5, step learned"] == 2
    assert gflop["steepest descent, tf32"] == gflop["steepest descent, step learned"] == 3


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
    placed = line_names.spread([0.5, 0.5, 0.52, 0.99, 1.3, -1.0], 0.1)
    assert np.diff(np.sort(placed)).min() > 0.099
    assert placed.max() <= 1 and placed[5] == 0 and placed[0] < placed[1] < placed[2]
