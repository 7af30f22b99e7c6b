"""Trainings of the study `metagradient`: the adjoints as arms, the bias, what is said of them."""

import csv
import types

import jax
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.studies import metagradient
from dimp_jax.studies.metagradient import bias, measure, report, trained
from dimp_jax.studies.study import Study
from dimp_jax.studies.trainings import score, train
from dimp_jax.training import steps
from tests.studies.test_trainings_step import features, settings
from tests.support import small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

EXACT = measure.EXACT
PREDICTOR = "model.predictor."


def test_the_trainings_differ_in_the_adjoint_alone():
    base = configs.load("ablations/all_data")
    arms = trained.arms_of(base, quick=False)
    names = [arm.name for arm in arms]
    assert names == [
        EXACT, "checkpointed", "implicit", "one_step", "truncated(1)", "truncated(2)"
    ]  # fmt: skip
    for arm, config in arms.items():
        changed = {name: to for name, _, to in configs.differences(
            configs.to_dict(base), configs.to_dict(config)
        )}  # fmt: skip
        assert set(changed) <= {PREDICTOR + "adjoint", PREDICTOR + "truncate_every"}
        assert changed.get(PREDICTOR + "adjoint", EXACT) == arm.name.partition("(")[0]
    assert configs.to_dict(arms[next(iter(arms))]) == configs.to_dict(base)
    own = configs.changed(base, {PREDICTOR + "adjoint": "mine:of_mine"})
    assert "mine:of_mine" in [arm.name for arm in trained.arms_of(own, quick=False)]


def test_all_as_one_group():
    group = lambda *names: train.Group(None, tuple(train.Member(name, 0, None) for name in names))
    state = lambda values: steps.TrainState(
        step=3,
        params={"backbone": 0, "clf": np.array(values)},
        batch_stats={},
        opt_state=np.array(values),
    )
    groups, states = trained.together((group("a", "b"), group("c")), (state([1, 2]), state([3])))
    assert [member.name for member in groups[0].members] == ["a-0", "b-0", "c-0"]
    assert states[0].params["clf"].tolist() == states[0].opt_state.tolist() == [1, 2, 3]


# -------------------------------------------------------------------------------------- bias


def test_a_planted_bias_is_found():
    gradient = lambda clf, label: {
        "clf": {"kernel": np.float32(clf)},
        "filter_init": {"bias": np.ones(2, np.float32)},
        "predictor": {"label": np.float32(label)},
    }
    exact = gradient([3, 4], [1, 0]), gradient([4, -3], [0, 2])
    own = gradient([6, 8], [0, 1]), gradient([8, -6], [0, 0])
    found = bias.compared([(*pair, 0.5) for pair in zip(own, exact, strict=True)])
    assert found["cosine"]["classifier"] == pytest.approx([1, 1])
    assert found["ratio"]["classifier"] == pytest.approx([2, 2])
    assert found["cosine"]["label"] == [0, None] and found["ratio"]["label"] == [1, 0]
    assert found["between"]["classifier"] == pytest.approx([0, 0], abs=1e-12)
    assert found["between"]["initialiser"] == pytest.approx([1, 1])
    assert 0 < found["cosine"][bias.ALL][0] < 1 and found["optimality"] == [0.5, 0.5]


@pytest.mark.long
def test_the_gradient_is_that_of_the_training_step():
    variables = small_training.variables(small_training.TINY)
    part = lambda shared: {
        group: {name: of[name] for name in of if (name in train.SHARED) is shared}
        for group, of in variables.items()
    }
    # With running statistics, as the bias is measured.
    base = configs.changed(
        settings(small_training.TINY.predictor.learned), {"training.parallel.batch_norm": "frozen"}
    )
    members = [
        train.Member(adjoint, 0, bias.changed(base, adjoint)) for adjoint in (EXACT, "one_step")
    ]
    groups = train.grouped(members)
    states = train.init_states(groups, part(True), lambda seed: part(False))
    batch = features(0)
    of_seeds = jax.tree.map(lambda leaf: leaf[None], batch)
    found = {}
    for group, state in zip(groups, states, strict=True):
        own, exact, optimality = jax.jit(bias.make_gradients(group, (0,)))(state, of_seeds)
        vectors = [bias.by_group(jax.tree.map(lambda leaf: leaf[0], of)) for of in (own, exact)]
        _, (metrics,) = jax.jit(train.make_step((group,)))((state,), of_seeds)
        norm = np.linalg.norm(vectors[0][bias.ALL])
        np.testing.assert_allclose(norm, metrics["grad_norm"][0], rtol=1e-4)
        found[group.members[0].arm] = vectors
        assert 0 < optimality[0] < 1
    cosine = {arm: measure.cosine(own["label"], exact["label"])
              for arm, (own, exact) in found.items()}  # fmt: skip
    assert cosine[EXACT] == pytest.approx(1) and cosine["one_step"] < 0.9999
    np.testing.assert_allclose(
        found["one_step"][1][bias.ALL], found[EXACT][1][bias.ALL], rtol=1e-4, atol=1e-7
    )


# ------------------------------------------------------------------------------------ report

SEQUENCES = [types.SimpleNamespace(name=f"s{index}") for index in range(12)]
PLANTED = {EXACT: 0.0, "checkpointed": 0.0, "implicit": -0.1}
SEEDS, STEPS = (0, 1, 2), (20, 40)


@pytest.fixture
def study(tmp_path):
    """Three trainings with planted differences, of which the last has a worse gradient."""
    study, rng = Study(tmp_path, "metagradient", "python -m ...", 0), np.random.default_rng(0)
    members = [f"{arm}-{seed}" for arm in PLANTED for seed in SEEDS]
    noise = lambda: 0.005 * rng.standard_normal()
    planted = lambda member: PLANTED[member.rpartition("-")[0]]
    for step in STEPS:
        hits = {m: {s.name: 0.8 + planted(m) + noise() for s in SEQUENCES} for m in members}
        study.record(f"hits 1 {step}", hits)
        losses = {m: [0.2 - planted(m) + noise() for _ in range(5)] for m in members}
        study.record(f"held out 1 {step} by batch", losses)
    study.record("curves 1", {"members": members, "loss/final": [[0.5] * len(members)] * 4})
    of = lambda value: {group: [value, value] for group in (bias.ALL, "label", "mask")}
    keys = {"ratio": of(1.0), "between": of(0.4), "optimality": [0.3, 0.3]}
    biased = {m: {"cosine": of(1 + 8 * planted(m)), **keys} for m in members}
    for step in (0, *STEPS):
        study.record(f"bias {step}", biased)
    cost = {"wall_s": 0.2, "processor_s": 0.3, "temporary_bytes": 2_000_000, "load": 0.5}
    study.record("cost of a step", {arm: cost for arm in PLANTED})
    return study


def write(study):
    base = configs.load("ablations/all_data")
    arms = {arm: c for arm, c in trained.arms_of(base, False).items() if arm.name in PLANTED}
    args = metagradient.Arguments(out=study.folder, steps=40, score_at=(20,), global_batch=10)
    report.write(study, {}, base, args, arms, SEQUENCES)
    return (study.folder / "report.md").read_text()


def test_the_report_says_what_was_planted(study):
    text = write(study)
    told = [line for line in text.splitlines() if line.startswith("* Differ from")]
    others = [line for line in text.splitlines() if line.startswith("* Cannot be told")]
    assert len(told) == 2 and all("`implicit`" in line for line in told)
    assert all("`checkpointed`" in line for line in others)
    assert "The trackers have not run yet" in text
    assert "| implicit | 0 | 0.2 | 0.2 | 0.2 | 1 | 0.4 | 0.3 |" in text  # the bias at the start
    assert "| implicit | 0.2 | 0.3 | 1 | 0.133 | 2 | 1 |" in text  # the cost
    for name in ("trained", "along"):
        assert f"({name}.png)" in text and (study.folder / f"{name}.png").stat().st_size > 5000
    with open(study.folder / "bias.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 3 * 3 * 2
    assert rows[-1]["samples"] == "400" and float(rows[-1]["cosine"]) == pytest.approx(0.2)
    with open(study.folder / "bias_summary.csv", newline="") as file:
        summary = list(csv.DictReader(file))
    assert [row["after"] for row in summary] == ["0", "200", "400"] * 3
    assert float(summary[-1]["cosine, all"]) == pytest.approx(0.2)
    with open(study.folder / "along.csv", newline="") as file:
        along = [row for row in csv.DictReader(file) if row["line"] == "implicit"]
    by_panel = {row["panel"]: float(row["middle"]) for row in along if row["samples"] == "400"}
    assert by_panel[f"hits less that of {EXACT}"] == pytest.approx(-0.1, abs=0.01)
    assert by_panel["cosine with the exact gradient: all"] == pytest.approx(0.2)


def test_the_auc_of_the_trackers_comes_first(study):
    for arm, planted in PLANTED.items():
        for seed in SEEDS:
            for number, sequence in enumerate(SEQUENCES):
                auc = 0.6 + 0.01 * number + planted + 0.001 * ((seed + number) % 3)
                study.record(score.key(arm, seed, 40, sequence), auc)
    text = write(study)
    answer = text[text.index("**AUC**") :].splitlines()
    assert answer[1] == "* Differ from it: `implicit` -0.100."
    assert "have not run" not in text and "| implicit | 0.556 | -0.100 [-0.100, -0.100]" in text


def test_nothing_yet_is_a_report_too(tmp_path):
    assert "Not yet measured" in write(Study(tmp_path, "metagradient", "python -m ...", 0))


def test_quick_trains_little(tmp_path):
    args = metagradient.quick(metagradient.Arguments(out=tmp_path, quick=True), ())
    assert (args.steps, args.score_at, args.seeds, args.frames) == (40, (), 1, 40)
    given = metagradient.Arguments(out=tmp_path, quick=True, seeds=2, steps=30)
    quick = metagradient.quick(given, ("--seeds", "2", "--steps", "30"))
    assert (quick.seeds, quick.steps) == (2, 30)
