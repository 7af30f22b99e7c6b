"""The box refinement measured alone: known answers, refusals, the command."""

import dataclasses
import json
import types

import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.studies import refinement
from dimp_jax.studies.__main__ import main
from dimp_jax.studies.refinement import trials as refinement_trials
from dimp_jax.studies.refinement.measure import Options, drift_row, jitter_row, measure
from dimp_jax.tracking import tracker
from dimp_jax.tracking.state import Pose, box_of, initial_pose
from tests.media.test_sequences import make_sequence, write_image
from tests.support import small_tracker

pytestmark = pytest.mark.usefixtures("small_backbone")
FEW = Options(frames_per_sequence=2, drift_starts=1, one_frame_steps=(1, 2), video_steps=(2,))


@pytest.fixture
def folder(tmp_path):
    """Two sequences of 8 frames; in "b" the target is absent in the frames 3 and 4."""
    make_sequence(tmp_path / "data" / "a")
    lines = (make_sequence(tmp_path / "data" / "b") / "groundtruth.txt").read_text().splitlines()
    lines[3:5] = ["nan,nan,nan,nan"] * 2
    (tmp_path / "data" / "b" / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


class Kept(dict):
    """The units of a study, in memory."""

    unit, record = dict.get, dict.__setitem__


def idle(monkeypatch, refined=lambda pose: pose):
    """A tracker that is not run: `refined` takes the place of the network."""
    config = types.SimpleNamespace(
        tracker=small_tracker.settings("iou"), model=small_tracker.MODEL, seed=0
    )
    network = types.SimpleNamespace(params={"iou": {}})

    def init(image, box, seed):
        pose, base_size = initial_pose(box, 128, 5.0)
        return types.SimpleNamespace(pose=pose, base_size_hw=base_size, image_hw=image.shape[:2])

    monkeypatch.setattr(
        refinement_trials, "refine_all", lambda _, trials: [refined(t.pose) for t in trials]
    )
    return types.SimpleNamespace(config=config, network=network, notice=None, init=init)


def shrunk(pose, factor=0.9):
    """The same pose with a width of 9/10."""
    size = pose.size_hw * np.array([1.0, factor], np.float32)
    return Pose(pose.center_yx, size, pose.scale * np.float32(factor**0.5))


def test_measured_with_a_network(folder):
    """The seed decides everything, and the report is JSON."""
    small = small_tracker.make(small_tracker.settings("iou"))
    found = sequences.load_folder(folder)
    report = measure(small, found, FEW, seed=3, opened=Kept())
    text = json.dumps(report, allow_nan=False)
    assert json.dumps(measure(small, found, FEW, seed=3, opened=Kept()), allow_nan=False) == text
    other = measure(small, found, FEW, seed=4, opened=Kept())
    for k, level in enumerate(report["jitter"]):
        assert list(level["sequences"]) == ["a", "b"]
        assert level["mean"]["iou_after"] != other["jitter"][k]["mean"]["iou_after"]
    assert report["one_frame"]["steps"] == [1, 2] and report["video"]["steps"] == [2]
    assert 0 < report["one_frame"]["mean"][0]["iou"] < 1
    before = [level["mean"]["iou_before"] for level in report["jitter"]]
    assert before[0] == pytest.approx(1, abs=1e-6) and before == sorted(before, reverse=True)


def test_the_scale_follows_the_area(folder, monkeypatch):
    first, _ = sequences.load_folder(folder)
    target = refinement_trials.open_target(idle(monkeypatch), first, 0)
    first = target.pose(target.boxes_xywh[0])
    for name in ("center_yx", "size_hw", "scale"):
        np.testing.assert_allclose(getattr(first, name), getattr(target.state.pose, name))
    pose = target.pose([3.0, 4.0, 24.0, 48.0])  # 8 times the area of 12 x 12
    np.testing.assert_allclose(box_of(pose), [3, 4, 24, 48])
    np.testing.assert_allclose(pose.scale, first.scale * np.sqrt(8), rtol=1e-6)


# --------------------------------------------------------------------------- known answers


def test_a_refinement_that_does_nothing(folder, monkeypatch):
    report = measure(
        idle(monkeypatch), sequences.load_folder(folder), Options(), seed=0, opened=Kept()
    )
    for level in report["jitter"]:
        for row in (*level["sequences"].values(), level["mean"]):
            assert row["iou_after"] == row["iou_before"] and row["improved"] == 0
    exact, _, _, worst = (level["mean"] for level in report["jitter"])
    assert exact["iou_before"] == pytest.approx(1) and exact["center_error"] < 1e-6
    assert 0.3 < worst["iou_before"] < 0.6 and worst["center_error"] > 0.1
    for row in report["one_frame"]["mean"]:
        assert row["iou"] == pytest.approx(1) and row["log_size_abs"] < 1e-6
    assert [row["iou"] for row in report["video"]["mean"]] == [None] * 3  # only 8 frames


def test_a_refinement_that_narrows(folder, monkeypatch):
    """Widths go down by 0.9 each time: IoU 0.9^n about the true centre, which the video gives."""
    options = Options(one_frame_steps=(1, 4), video_steps=(2, 5), drift_starts=1)
    found = sequences.load_folder(folder)
    report = measure(idle(monkeypatch, shrunk), found, options, seed=0, opened=Kept())
    exact = report["jitter"][0]["mean"]
    assert exact["iou_after"] == pytest.approx(0.9, rel=1e-5)
    assert exact["log_width"] == pytest.approx(np.log(0.9), rel=1e-4)
    assert abs(exact["log_height"]) < 1e-6 and exact["improved"] == 0
    for key in ("one_frame", "video"):
        for step, row in zip(report[key]["steps"], report[key]["sequences"]["a"], strict=True):
            log = step * np.log(0.9)
            assert row["iou"] == pytest.approx(np.exp(log), rel=1e-4), key
            assert row["log_aspect"] == pytest.approx(log, rel=1e-4)
            assert row["log_size"] == pytest.approx(log / 2, rel=1e-4) == -row["log_size_abs"]
    # In "b", steps 2 and 3 have no ground truth: the size is kept over them.
    absent, later = report["video"]["sequences"]["b"]
    assert absent["iou"] is None and later["iou"] == pytest.approx(0.9**3, rel=1e-4)
    assert report["video"]["mean"][0] == report["video"]["sequences"]["a"][0]


def test_rows_by_hand():
    truth = np.array([[10.0, 10, 20, 20], [10, 10, 20, 20]])
    before = np.array([[10.0, 10, 10, 20], [10, 10, 20, 20]])  # IoU 1/2, 1
    after = np.array([[10.0, 10, 20, 15], [15, 10, 20, 20]])  # IoU 3/4, 3/5
    row = jitter_row(before, after, truth)
    expected = {
        "iou_before": 0.75,
        "iou_after": 0.675,
        "improved": 0.5,
        "log_width": 0.0,
        "log_height": np.log(0.75) / 2,
        "center_x": 0.125,
        "center_y": -0.0625,
        "center_error": (0.125 + 0.25) / 2,
    }
    assert row == pytest.approx(expected)
    nothing = np.full((1, 4), np.nan)
    row = drift_row(np.concatenate([after, nothing]), np.concatenate([truth, nothing]))
    log = np.log(0.75)
    sizes = {"log_size": log / 4, "log_size_abs": -log / 4, "log_aspect": -log / 2}
    assert row == pytest.approx({"iou": 0.675, **sizes})
    assert drift_row(nothing, truth[:1]) == dict.fromkeys(row)


# --------------------------------------------------------------------------- refusals


def test_no_iou_network(folder, monkeypatch):
    small = small_tracker.make(small_tracker.settings("iou"))
    other = small_tracker.make(small_tracker.settings("scale_search"))
    found = sequences.load_folder(folder)
    with pytest.raises(ValueError, match="method is 'scale_search', which uses no IoU network"):
        measure(other, found, FEW, seed=0, opened=Kept())
    params = {k: v for k, v in small.network.params.items() if k != "iou"}
    bare = dataclasses.replace(small, network=small.network._replace(params=params))
    for lacking in (bare, dataclasses.replace(other, notice="untrained heads")):
        with pytest.raises(ValueError, match="no trained IoU network to measure: give --check"):
            measure(lacking, found, FEW, seed=0, opened=Kept())


def test_no_ground_truth(tmp_path, monkeypatch):
    make_sequence(tmp_path / "a")
    (tmp_path / "a" / "groundtruth.txt").write_text("8,10,12,12\n")
    with pytest.raises(InputError, match="no sequence has ground truth after its first frame"):
        measure(idle(monkeypatch), sequences.load_folder(tmp_path), FEW, seed=0, opened=Kept())


def test_a_frame_of_another_size(folder, monkeypatch):
    write_image(folder / "b" / "img" / "000008.jpg", np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(InputError, match=r"b/img/000008.jpg: image: the first frame was"):
        measure(idle(monkeypatch), sequences.load_folder(folder), FEW, seed=0, opened=Kept())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"frames_per_sequence": 0}, "--frames-per-sequence 0: expected at least 1"),
        ({"drift_starts": -1}, "--drift-starts -1: expected 0 or more"),
        ({"one_frame_steps": (1, 0)}, "--one-frame-steps 1 0: expected at least 1"),
        ({"video_steps": (-5,)}, "--video-steps -5: expected at least 1"),
        ({"levels": ((0.1, -0.1),)}, "--levels 0.1 -0.1: expected two sigmas >= 0"),
        ({"levels": ((np.nan, 0.1),)}, "--levels nan 0.1: expected two"),
        ({"levels": ()}, "--levels: expected at least one pair"),
    ],
)
def test_bad_options(changes, match, monkeypatch):
    with pytest.raises(InputError, match=match):
        measure(idle(monkeypatch), [], dataclasses.replace(FEW, **changes), seed=0, opened=Kept())


# --------------------------------------------------------------------------- command line


@pytest.fixture
def command(monkeypatch):
    """`main` with a tracker that narrows; the configurations it was built from."""
    asked = []

    def build(config):
        asked.append(config)
        if config.checkpoint != "dimp_lite0":  # the config's own
            raise ValueError(f"{config.checkpoint}: made for\nanother network")
        return idle(monkeypatch, shrunk)

    monkeypatch.setattr(tracker, "build", build)
    monkeypatch.setattr("dimp_jax.host.compilation.enable_cache", lambda: None)
    return types.SimpleNamespace(main=lambda argv: main(["refinement", *argv]), asked=asked)


def test_tables_and_report(command, folder, tmp_path, capsys):
    out = tmp_path / "out" / "run"
    argv = ["--data", str(folder), "--frames-per-sequence", "3", "--video-steps", "2", "5"]
    argv += ["--seed", "7", "--model.iou-channels", "32", "--config", "dimp_lite0"]
    assert command.main(["--drift-starts", "1", *argv, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed and "mean before" in printed
    written = (out / "report.md").read_text()
    for title in ("jittered ground truth", "drift on one frame", "drift along the video"):
        assert title in printed and title in written
    report = json.loads((out / "refinement.json").read_text())
    assert report["options"]["frames_per_sequence"] == 3 and report["config"]["seed"] == 7
    assert report["jitter"][0]["mean"]["iou_after"] == pytest.approx(0.9, rel=1e-5)
    assert report["config"]["model"]["iou_channels"] == 32 == command.asked[0].model.iou_channels
    argv += ["--drift-starts", "0"]
    assert command.main([*argv, "--out", str(out)]) == 2
    assert "holds a study with another options" in capsys.readouterr().err
    assert command.main([*argv, "--out", str(tmp_path / "other")]) == 0
    report = json.loads((tmp_path / "other" / "refinement.json").read_text())
    assert report["one_frame"] is None and report["video"] is None
    assert "drift" not in capsys.readouterr().out
    assert command.main(["--quick", *argv, "--out", str(tmp_path / "quick")]) == 0
    report = json.loads((tmp_path / "quick" / "refinement.json").read_text())
    assert list(report["jitter"][0]["sequences"]) == ["a"]


def test_stopped_it_goes_on(command, folder, tmp_path, monkeypatch, capsys):
    from_jitter, seen = refinement_trials.from_jitter, []

    def stopped(tracker, target, *options):
        seen.append(target.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return from_jitter(tracker, target, *options)

    monkeypatch.setattr(refinement_trials, "from_jitter", stopped)
    argv = ["--data", str(folder), "--out", str(tmp_path / "out"), "--video-steps", "2"]
    assert command.main(argv) == 130
    assert "the same command goes on" in capsys.readouterr().err
    for _ in range(2):
        assert command.main(argv) == 0 and seen == ["a", "b", "b"]
    report = json.loads((tmp_path / "out" / "refinement.json").read_text())
    assert list(report["video"]["sequences"]) == ["a", "b"]


def test_quick_and_the_defaults_of_a_config():
    args = refinement.parse(["--config", "dimp18", "--data", "d", "--out", "o"], "refinement")
    assert args.tracker == config.load("dimp18").tracker
    few = refinement.quick(args.options)
    assert few.frames_per_sequence == 4 and few.one_frame_steps == (1, 5, 10)
    assert refinement.quick(dataclasses.replace(FEW, drift_starts=0)).drift_starts == 0


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--data", "missing"], "missing: no such folder"),
        (["--config", "nonsense", "--data", "data"], "no config 'nonsense'"),
        (["--data", "data", "--checkpoint", "c"], "c: made for another network"),
        (["--data", "data", "--drift-starts", "-1"], "--drift-starts -1"),
        (["--data", "data", "--out", "data/a/groundtruth.txt"], "groundtruth.txt: cannot be"),
    ],
)
def test_bad_input_is_one_line(argv, match, command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert command.main(["--out", "out", *argv]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("studies: error: ") and match in line and not captured.out
