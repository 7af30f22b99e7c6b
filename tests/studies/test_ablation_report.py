"""The report of the study `ablation`: planted differences, what is missing, what is said."""

import csv
import json
import types

import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import ablation
from dimp_jax.studies import study as studies
from dimp_jax.studies.ablation import arms, report, whole
from dimp_jax.studies.study import Study
from dimp_jax.studies.trainings import results, score, settings, train

STEPS = (20, 40)
PLANTED = {arms.BASE: 0.0, "initializer_only": -0.1, "gradient_descent": -0.05, "no_label": 0.0}
SEQUENCES = [types.SimpleNamespace(name=f"s{index}") for index in range(12)]


@pytest.fixture
def study(tmp_path):
    """Scores of three seeds with planted differences; seed 2 of the last step is not there yet."""
    study = Study(tmp_path, "ablation", "python -m ...", 0)
    rng = np.random.default_rng(0)
    level = {sequence.name: rng.uniform(0.4, 0.8) for sequence in SEQUENCES}
    for step, seed in [(20, 0), (20, 1), (20, 2), (40, 0), (40, 1)]:
        for arm, planted in PLANTED.items():
            for sequence in SEQUENCES:
                auc = level[sequence.name] + planted * step / 40 + 0.01 * rng.standard_normal()
                study.record(score.key(arm, seed, step, sequence), auc)
    study.record("held out 1 40", {f"{arms.BASE}-0": 0.2, f"{arms.BASE}-1": 0.4})
    points = [[1.0, 2.0], [0.5, 1.5]]
    study.record("curves 1", {"members": [f"{arms.BASE}-0", "l2-1"], "loss/final": points})
    return study


def chosen():
    return arms.select(tuple(PLANTED)[1:])


def measured(study, names=None):
    return results.measured(study, names or chosen(), (0, 1, 2), STEPS, SEQUENCES)


def test_results_are_paired_with_the_base(study):
    base, worst, middle, same = measured(study)["AUC"][40].values()
    assert base.difference is None and base.of_seeds == (0.0, 0.0)
    assert worst.difference.mean == pytest.approx(-0.1, abs=0.01) and worst.difference.told
    assert middle.difference.low < -0.05 < middle.difference.high
    assert not same.difference.told and same.difference.detectable < 0.02
    assert worst.mean - base.mean == pytest.approx(np.mean(worst.of_seeds))
    assert results.held_out(study, chosen(), 40) == {arms.BASE: pytest.approx(0.3)}


def test_hits_are_compared_alike(study):
    of = lambda share: {sequence.name: share for sequence in SEQUENCES}
    further = settings.Arm("mine/loss.py", "other")  # whose members' names have no slash
    mine, other = (train.Member(name, 0, None).name for name in (further.name, "not_asked_for"))
    hits = {f"{arms.BASE}-0": of(0.75), "initializer_only-0": of(0.5), mine: of(0.25), other: of(0)}
    study.record("hits 1 20", hits)
    found = measured(study, (*chosen(), further))["hits"]
    assert list(found) == [20] and found[20]["initializer_only"].difference.mean == -0.25
    assert list(found[20])[2:] == [further.name] and found[20][further.name].mean == 0.25
    study.record("held out 1 20", {mine: 0.5})
    assert results.held_out(study, (further,), 20) == {further.name: 0.5}
    study.record("curves 1", {"members": [mine], "loss/final": [[1.0]]})
    assert results.curve_rows(study, (further,), 20)[0]["arm"] == further.name


def test_an_arm_is_shown_after_its_most_samples(study):
    for sequence in SEQUENCES:
        study.record(score.key("l2", 0, 20, sequence), 0.5)
    names = (*chosen(), settings.Arm("l2", "objective"))
    last = results.latest(measured(study, names)["AUC"])
    steps = {arm: result.step for arm, result in last.items()}
    assert steps == dict.fromkeys(PLANTED, 40) | {"l2": 20}


def test_a_run_that_lacks_a_sequence_does_not_count(study):
    study._path(score.key("no_label", 0, 40, SEQUENCES[3])).unlink()
    assert len(measured(study)["AUC"][40]["no_label"].of_seeds) == 1


def test_the_report_says_what_was_planted_and_what_is_missing(study):
    args = ablation.Arguments(out=study.folder, steps=40, score_at=(20,), global_batch=10)
    base = configs.load("ablations/all_data")
    report.write(study, args, chosen(), {arms.BASE: base}, SEQUENCES)
    text = (study.folder / "report.md").read_text()
    told = next(line for line in text.splitlines() if line.startswith("* Differ from"))
    others = next(line for line in text.splitlines() if line.startswith("* Cannot be told"))
    assert "`initializer_only` -0.1" in told or "`initializer_only` -0.09" in told
    assert "`gradient_descent`" in told and "`no_label`" in others
    assert "order initializer_only < gradient_descent < steepest_descent is there: 0." in text
    last = results.latest(measured(study)["AUC"])
    assert "order" not in report.said("AUC", last, 10, configs.load("ablations/l2"))
    assert "**Partial**: 20 of 24 runs" in text
    assert "trained on (other draws from the same pictures and videos), mean" in text
    assert "200 samples" in text and (study.folder / "differences.png").stat().st_size > 5000
    with open(study.folder / "arms.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["samples"] for row in rows] == ["200"] * 4 + ["400"] * 5
    assert rows[8]["measure"] == "held-out loss" and float(rows[8]["mean"]) == pytest.approx(0.3)
    assert float(rows[5]["published"]) == pytest.approx(-0.056) and not rows[4]["published"]
    curve = results.curve_rows(study, chosen(), 15)
    assert [row["step"] for row in curve] == [10, 15, 10, 15] and curve[3]["loss/final"] == 1.5


def test_nothing_yet_is_a_report_too(tmp_path):
    study = Study(tmp_path, "ablation", "python -m ...", 0)
    args = ablation.Arguments(out=tmp_path)
    report.write(study, args, chosen(), {arms.BASE: configs.load("ablations/all_data")}, SEQUENCES)
    text = (tmp_path / "report.md").read_text()
    assert "Nothing is measured yet." in text and "0 of 36 runs" in text


# ------------------------------------------------------------------------------ order, additions


def test_iterations_are_crossed_where_both_were_varied(study):
    names = ("iterations_1", "tracking_1", "iterations_1_tracking_1")
    of_study, base = arms.select(names), configs.load("ablations/all_data")
    of_arms = {arm.name: arms.config_of(arm, base) for arm in of_study}
    for name, planted in zip(names, (0.01, -0.02, 0.03), strict=True):
        for seed in (0, 1):
            for sequence in SEQUENCES:
                auc = study.unit(score.key(arms.BASE, seed, 40, sequence)) + planted
                study.record(score.key(name, seed, 40, sequence), auc)
    last = results.latest(measured(study, of_study)["AUC"])
    *_, table = report.iterations(last, of_study, of_arms)
    header, _, one, five = table.splitlines()
    assert header == "| in training | 1 in tracking | 10 in tracking |"
    assert one.startswith("| 1 | ") and " +0.030 [" in one and " +0.010 [" in one
    assert " -0.020 [" in five and five.endswith(f" | {last[arms.BASE].mean:.3f} |")
    del last["iterations_1_tracking_1"]
    assert report.iterations(last, of_study, of_arms) == []


def test_waves_are_scored_early_and_at_the_end(monkeypatch, tmp_path):
    """The first point and the last of each wave, then those between; the base's of the first."""
    said = []
    stub = lambda module, name, value: monkeypatch.setattr(module, name, value)
    nothing = dict.fromkeys(("variables", "pool", "pooled", "clips"))
    base = configs.load("ablations/all_data")
    shared = types.SimpleNamespace(base=base, heads={}, **nothing)
    stub(whole.run, "share", lambda *_: shared)
    stub(whole.run.train, "init_states", lambda groups, *_: groups)
    stub(whole.run.fit, "fit", lambda states, groups, *_, steps, **__: ([steps] * len(groups), {}))
    count = lambda groups: sum(len(group.members) for group in groups)
    stub(whole.run, "held_out_losses", lambda groups, *_: np.zeros((1, count(groups))))
    stub(whole.run.aim, "hits", lambda *_: {})
    stub(whole, "costs", lambda *_: said.append("cost"))
    stub(whole, "publish", lambda *_: said.append("publish"))
    stub(whole.report, "write", lambda *_: said.append("report"))

    def scored(study, of, configs, trained, step, sequences, console):
        assert {arm.weights_of or arm.name for arm in of} <= {arm for arm, _ in trained}
        assert {state for state, _ in trained.values()} == {step}
        said.append((step, *(arm.name for arm in of)))

    stub(whole.score, "score", scored)
    of_study = arms.select(("initializer_only", "l2", "tracking_1", "update_none"))
    of_arms = {arm.name: arms.config_of(arm, base) for arm in of_study}
    args = ablation.Arguments(out=tmp_path, steps=60, score_at=(20, 40), seeds=1)
    study = Study(tmp_path, "ablation", "", 0)
    whole.train_and_score(study, args, of_study, of_arms, SEQUENCES, None)
    first, second = (arms.BASE, "initializer_only"), ("l2",)
    said = [each for each in said if each != "report"]
    assert said == [
        *((20, *first), "cost", "publish", (60, *first, "update_none")),
        *((20, *second), "publish", (60, *second, "tracking_1")),
        *((40, *first), (40, *second)),
    ]
    assert study.unit("hits 1 40") == study.unit("hits 2 60") == {}


def test_arms_may_be_added_but_not_changed(tmp_path):
    study = Study(tmp_path, "ablation", "", 0)
    base = configs.load("ablations/all_data")
    settings.check_same(study, {"one": base})
    settings.check_same(study, {"one": base, "two": base})
    other = configs.changed(base, {"model.predictor.num_iter": 7})
    with pytest.raises(InputError, match=r"one had another model\.predictor\.num_iter: choose"):
        settings.check_same(study, {"one": other})


def test_a_study_goes_on_after_the_config_gets_a_field(tmp_path):
    opened = Study(tmp_path, "ablation", "", 0)
    base = configs.load("ablations/all_data")
    args = ablation.Arguments(out=tmp_path)
    made_from = settings.made_from(args, base, [])
    studies.open_study("ablation", args, made_from, [])
    settings.check_same(opened, {"one": base})
    before, one = json.loads((tmp_path / "study.json").read_text()), opened.unit("config one")
    for values in (before["base"], one):
        del values["model"]["predictor"]["num_bins"]  # as if it were new
    (tmp_path / "study.json").write_text(json.dumps(before))
    opened.record("config one", one)
    studies.open_study("ablation", args, made_from, [])
    settings.check_same(opened, {"one": base})
    before["base"]["model"]["predictor"]["of_old"] = 1
    (tmp_path / "study.json").write_text(json.dumps(before))
    with pytest.raises(InputError, match="with another base"):
        studies.open_study("ablation", args, made_from, [])


def test_checkpoints_of_a_wave_are_those_of_its_arms(tmp_path):
    study = Study(tmp_path, "ablation", "", 0)
    of = lambda *names: [train.Member(name, seed, None) for name in names for seed in (0, 1)]
    settings.check_members(study, 2, of("no_label", "ablations/l2"))
    settings.check_members(study, 2, of("no_label", "ablations/l2"))
    settings.check_members(study, 1, of("no_mask"))
    for others in (of("no_mask", "ablations/l2"), of("no_label", "ablations/l2", "no_mask")):
        with pytest.raises(InputError, match="trains no_label, ablations_l2 together"):
            settings.check_members(study, 2, others)
