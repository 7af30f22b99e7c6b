"""The study learned_loss: tracking with parts set back, and the whole command."""

import csv
import dataclasses
import io
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console

from dimp_jax.config import Config, ModelConfig, RefineConfig, TrackerConfig
from dimp_jax.config.predictor import LearnedParts
from dimp_jax.media.images import InputError
from dimp_jax.predictor import predict
from dimp_jax.studies import __main__ as command
from dimp_jax.studies import learned_loss, study
from dimp_jax.studies.learned_loss import figures as study_figures
from dimp_jax.studies.learned_loss import report as report_of_study
from dimp_jax.studies.learned_loss import sensitivity
from dimp_jax.tracking import online, tracker
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence, target_box, target_frame
from tests.studies.test_learned_loss import CONFIG, params, per_iteration

# ----------------------------------------------------------------------------- sensitivity


def test_setting_back_is_the_config_mode_initial():
    config = per_iteration("label", "filter_reg")
    rng = np.random.default_rng(0)
    values = {n: v + rng.normal(size=v.shape).astype(v.dtype) for n, v in params(config).items()}
    for part in predict.LEARNED_PARTS:
        swapped = sensitivity.set_back(values, config, [part])
        mode = dataclasses.replace(config.learned, **{part: "initial"})
        by_config = predict.effective_params(values, dataclasses.replace(config, learned=mode))
        for name, value in swapped.items():
            assert value.shape == values[name].shape and value.dtype == values[name].dtype
            expected = np.broadcast_to(by_config[name], value.shape)
            np.testing.assert_array_equal(value, expected)
            assert (name == part) != np.array_equal(value, values[name])


def test_arms():
    assert sensitivity.arms(["label", "mask"]) == {
        "trained": [],
        "label": ["label"],
        "mask": ["mask"],
        "all": ["label", "mask"],
    }
    assert list(sensitivity.arms(["label"])) == ["trained", "label"]
    back = dataclasses.replace(CONFIG, learned=LearnedParts(label="initial", mask="fixed"))
    left = sensitivity.parts_of(back, params(back))
    assert left == ["mask", "weight", "filter_reg", "log_step_length"]


def test_side_peak_and_correlation():
    scores = np.zeros((9, 9))
    scores[4, 4], scores[4, 6], scores[8, 1] = 2.0, 1.9, 0.5
    assert sensitivity.side_peak_ratio(scores) == 0.25  # the neighbour belongs to the peak
    assert sensitivity.side_peak_ratio(-np.ones((5, 5))) == 1.0
    assert sensitivity.side_peak_ratio(np.eye(1)) == 0.0
    assert sensitivity.correlation(scores, 3 * scores - 1) == pytest.approx(1.0)
    assert sensitivity.correlation(scores, np.ones((9, 9))) == 0.0


def test_trackers_share_programs_and_differ_in_one_part():
    values = params(label=np.full(100, 7, np.float32), weight=np.full(100, 8, np.float32))
    programs = object()
    network = online.Network({"predictor": values, "clf": 1}, programs, 32, 4)
    base = tracker.Tracker(Config(model=ModelConfig(backbone="resnet18")), network)
    by_arm = sensitivity.trackers(base, ["label", "weight"])
    assert all(t.network.programs is programs for t in by_arm.values())
    assert all(t.network.params["clf"] == 1 for t in by_arm.values())
    now = {arm: t.network.params["predictor"] for arm, t in by_arm.items()}
    first = {arm: (float(p["label"][0]), float(p["weight"][0])) for arm, p in now.items()}
    assert first == {"trained": (7, 8), "label": (1, 8), "weight": (7, 1), "all": (1, 1)}
    assert values["label"][0] == 7  # the trained ones are left alone


@pytest.mark.parametrize("method", ["iou", "scale_search"])
def test_score_map_is_that_of_the_second_frame(method, monkeypatch):
    settings = TrackerConfig(refine=RefineConfig(method=method))
    config = Config(model=ModelConfig(backbone="resnet18"), tracker=settings)

    class Fake(FakeTracker):
        network = "network"

        def init(self, image, box_xywh, seed=0):
            super().init(image, box_xywh, seed)
            return SimpleNamespace(key=jax.random.key(seed), box=box_xywh, image=image)

    def step_with(network, tracker_config, state, image, numbers):
        assert network == "network" and tracker_config is settings
        assert (numbers is None) == (method == "scale_search")
        changed = np.abs(image.astype(float) - state.image).max()
        scores = np.stack([np.full((5, 5), changed), np.zeros((5, 5))])
        return None, None, SimpleNamespace(look=SimpleNamespace(scores=scores))

    monkeypatch.setattr(sensitivity.online, "step_with", step_with)
    pictures = [("1", target_frame(0)), ("2", target_frame(3))]
    sequence = SimpleNamespace(images=lambda: iter(pictures), init_box=target_box(0))
    fake = Fake()
    fake.config = config
    scores = sensitivity.second_frame_scores(fake, sequence, 4)
    assert fake.seeds == [4] and scores.shape == (5, 5) and scores[0, 0] > 100


# ------------------------------------------------------------------------------ the command


@pytest.fixture
def faked(monkeypatch, tmp_path):
    """The study on fake trackers: "trained" follows the target, the others stand still."""
    made = {}

    def trackers(_, parts):
        made.update(
            {a: FakeTracker(step_px=float(a == "trained")) for a in sensitivity.arms(parts)}
        )
        return made

    monkeypatch.setattr(tracker, "build", lambda config: None)
    monkeypatch.setattr(sensitivity, "trackers", trackers)
    monkeypatch.setattr(sensitivity, "second_frame_scores", lambda *_: np.eye(5))
    for name in "ab":
        make_sequence(tmp_path / "data" / name)
    return made


def arguments(tmp_path, **changes):
    return learned_loss.Arguments(out=tmp_path / "out", data=(tmp_path / "data",), **changes)


def test_the_whole_study_and_going_on(faked, tmp_path, monkeypatch):
    console = Console(file=io.StringIO())
    args = arguments(tmp_path, parts=("label", "weight"), checkpoints=("dimp_lite0",), seeds=1)
    learned_loss.run(args, ["learned_loss"], console)
    out = tmp_path / "out"
    report = (out / "report.md").read_text()
    for picture in ("functions", "loss_maps", "sensitivity", "score_maps"):
        assert f"({picture}.png)" in report and (out / f"{picture}.png").stat().st_size > 3000
    assert "| trained | 0.952 | - | - |" in report  # 20 of 21 thresholds
    said = report.index("* Differ from it: `label` -0."), report.index("**What did it learn?**")
    assert max(said) < report.index("##") and "(m v)^2" in report
    assert "a bootstrap over sequences, of one seed; detectable" in report
    with (out / "sensitivity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["set back"] for r in rows[:4]] == ["trained", "label", "weight", "all"]
    assert {r["sequence"] for r in rows} == {"a", "b"} and float(rows[1]["difference"]) < -0.2
    with (out / "effects.csv").open() as file:
        trained, label, *_ = csv.DictReader(file)
    assert not trained["difference"] and float(trained["AUC"]) == pytest.approx(20 / 21)
    assert float(label["low"]) <= float(label["difference"]) <= float(label["high"]) < 0

    monkeypatch.setattr(report_of_study, "functions_of", lambda *_: [])
    monkeypatch.setattr(study_figures, "score_maps", lambda *_: None)
    more = dataclasses.replace(args, seeds=2, parts=("label",))
    learned_loss.run(more, ["learned_loss"], console)
    assert faked["trained"].seeds == faked["label"].seeds == [1, 1]  # seed 0 was there
    report = (out / "report.md").read_text()
    assert "2 seeds. Differences are paired" in report
    assert "a bootstrap over sequences and seeds; detectable" in report
    with pytest.raises(InputError, match="holds a study with another input"):
        learned_loss.run(dataclasses.replace(args, frames=5), [], console)


def test_names_of_own_parameters_stay_as_they_are(monkeypatch):
    label = {"part": "label", "max": 0.2, "max at (cells)": None}
    limit = {"number": "log_Limit", "value": 0.5, "initial": 1.0}
    monkeypatch.setattr(report_of_study.functions, "deviation_rows", lambda _: [label])
    monkeypatch.setattr(report_of_study.functions, "scalar_rows", lambda _: [limit])
    said = "The label changed by up to 0.2; log_Limit is 0.5 (initially 1)."
    assert report_of_study.learned(None) == f"**What did it learn?** {said}"


def test_functions_alone_track_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(study_figures, "functions", lambda *_, **__: None)
    monkeypatch.setattr(study_figures, "maps", lambda *_: None)
    args = learned_loss.Arguments(out=tmp_path / "out", sensitivity=False)
    learned_loss.run(args, [], Console(file=io.StringIO()))
    assert not (tmp_path / "out" / "units").exists()
    assert "Sensitivity" not in (tmp_path / "out" / "report.md").read_text()
    made = json.loads((tmp_path / "out" / "study.json").read_text())
    assert made["study"] == "learned_loss" and "checkpoint_sha256" in made["input"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "labels"], "--parts labels: expected some of label, mask, weight, filter_reg"),
        (["--seeds", "0"], "--seeds 0: expected at least 1"),
        (["--checkpoints", "nowhere"], "nowhere: expected a checkpoint directory"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(options, message, tmp_path, capsys):
    make_sequence(tmp_path / "data")
    argv = ["learned_loss", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    assert command.main(argv + options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_common_options_are_there():
    assert issubclass(learned_loss.Arguments, study.Common)
