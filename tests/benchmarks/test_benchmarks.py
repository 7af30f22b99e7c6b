"""The comparison with OpenCV's trackers, and the frame's parts."""

import json

import numpy as np
import pytest

from benchmarks import __main__ as groups
from benchmarks import baselines, comparison, frame_parts, opencv_env
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import SIZE_HW, make_sequence, target_box

HERE = [[0.0, 0.0, 10.0, 10.0]]
AWAY = [[50.0, 0.0, 10.0, 10.0]]
ABSENT = [[np.nan] * 4]


def lost_at(predicted, groundtruth):
    return comparison.lost_at(np.array(predicted), np.array(groundtruth))


def test_lost_is_a_long_run_without_overlap():
    assert lost_at(HERE * 40, HERE * 40) is None
    assert lost_at(HERE * 5 + AWAY * 10 + HERE * 5, HERE * 20) == 5
    assert lost_at(HERE * 5 + AWAY * 9 + HERE * 6, HERE * 20) is None
    # An early short run does not hide a later long one.
    assert lost_at(HERE * 2 + AWAY * 9 + HERE + AWAY * 10 + HERE, HERE * 23) == 12


def test_lost_to_the_end_needs_no_length():
    assert lost_at(HERE * 9 + AWAY, HERE * 10) == 9
    assert lost_at(HERE * 6 + AWAY * 4, HERE * 10) == 6


def test_lost_passes_over_frames_without_ground_truth():
    truth = HERE * 4 + ABSENT * 20 + HERE * 10
    assert lost_at(HERE * 4 + AWAY * 20 + HERE * 10, truth) is None
    assert lost_at(HERE * 3 + AWAY * 31, truth) == 3
    assert lost_at(HERE * 4 + AWAY * 30, truth) == 24  # the first one that was to be seen
    assert lost_at(HERE * 4 + AWAY * 29 + HERE, truth) is None  # 9 frames of it


def test_touching_boxes_do_not_overlap():
    beside = [[10.0, 0.0, 10.0, 10.0]]
    assert lost_at(HERE + beside * 10, HERE * 11) == 1
    barely = [[9.9, 0.0, 10.0, 10.0]]
    assert lost_at(HERE + barely * 10, HERE * 11) is None


def test_lost_though_kept_compares_the_first_frames_only():
    entry = lambda **lost: {"lost_at": lost}
    ours = entry(a=49, b=50, c=3, d=None, e=0)
    theirs = entry(a=None, b=None, c=10, d=5, e=60)
    assert comparison.lost_though_kept(ours, theirs) == ["a", "e"]
    assert comparison.lost_though_kept(theirs, ours) == ["d"]


@pytest.fixture
def data(tmp_path):
    for name in "ab":
        make_sequence(tmp_path / "data" / name)
    return tmp_path / "data"


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that a fake OpenCV got; CSRT follows the target, KCF leaves it at once."""
    seen = []

    def run_job(env, job):
        seen.append((job["tracker"], job["threads"], job["images"][0].split("/")[-3]))
        boxes = np.array([target_box(i) for i in range(len(job["images"]))], float)
        if job["tracker"] == "KCF":
            boxes[1:, 0] += 1000
        return {"boxes": boxes, "seconds": np.full(len(boxes), 0.5), "errors": 0}

    monkeypatch.setattr(
        opencv_env, "ensure", lambda env, trackers, console: {"opencv": "9.0", "threads": 2}
    )
    monkeypatch.setattr(opencv_env, "run_job", run_job)
    return seen


def test_baselines_run_once_and_resume(data, tmp_path, jobs, capsys):
    out = tmp_path / "out"
    command = ["--data", str(data), "--out", str(out), "--config", "--trackers", "CSRT", "KCF"]
    assert baselines.main(command) == 0
    assert jobs == [(t, None, s) for t in ("CSRT", "KCF") for s in "ab"]
    figures = json.loads((out / "baselines.json").read_text())["trackers"]
    assert figures["CSRT"]["mean"]["auc"] == pytest.approx(20 / 21)
    assert figures["CSRT"]["mean"]["fps"] == pytest.approx(2.0)
    assert figures["CSRT"]["lost_at"] == {"a": None, "b": None}
    assert figures["KCF"]["lost_at"] == {"a": 1, "b": 1}
    shown = capsys.readouterr().out
    assert "0.952" in shown and "a (1), b (1)" in shown

    jobs.clear()
    (out / "KCF" / "a.txt").write_text("1,2,3\n")  # damaged: it is made again
    assert baselines.main(command) == 0
    assert jobs == [("KCF", None, "a")]
    assert json.loads((out / "baselines.json").read_text())["trackers"] == figures

    assert baselines.main([*command, "--frames", "4"]) == 2
    assert "holds results of another input" in capsys.readouterr().err
    truth = data / "a" / "groundtruth.txt"
    was = truth.read_text()
    truth.write_text(was.replace("8.0,", "5.0,", 1))
    assert baselines.main(command) == 2
    said = capsys.readouterr().err
    assert "CSRT: a has changed since it was tracked: first box 8,10,12,12, now 5,10,12,12" in said
    truth.write_text(was)
    assert json.loads((out / "baselines.json").read_text())["trackers"] == figures


def test_threads_are_runs_of_their_own(data, tmp_path, jobs):
    out = tmp_path / "out"
    command = ["--data", str(data / "a"), "--out", str(out), "--config", "--trackers", "CSRT"]
    assert baselines.main([*command, "--threads", "0", "1"]) == 0
    assert jobs == [("CSRT", None, "a"), ("CSRT", 1, "a")]
    assert (out / "CSRT-threads1" / "a.txt").is_file()


def test_nano_runs_with_files_of_the_user(data, tmp_path, jobs, capsys):
    files = [tmp_path / "backbone.onnx", tmp_path / "head.onnx"]
    command = ["--data", str(data / "a"), "--config", "--trackers", "--out", str(tmp_path / "out")]
    command += ["--nano", *map(str, files)]
    assert baselines.main(command) == 2
    assert "backbone.onnx: no such file; expected BACKBONE.onnx HEAD" in capsys.readouterr().err
    for file in files:
        file.write_bytes(b"network")
    assert baselines.main(command) == 0 and jobs == [("Nano", None, "a")]
    files[1].write_bytes(b"another network")
    assert baselines.main(command) == 2
    assert "holds results of another config" in capsys.readouterr().err


def test_ours_is_compared_with_csrt(data, tmp_path, jobs, capsys, monkeypatch):
    monkeypatch.setattr(
        "dimp_jax.tracking.tracker.build", lambda config: FakeTracker(step_px=-1000.0)
    )
    monkeypatch.setattr("dimp_jax.host.compilation.enable_cache", lambda: None)
    out = tmp_path / "out"
    assert baselines.main(["--data", str(data), "--out", str(out), "--trackers", "CSRT"]) == 0
    assert "first 50 frames that CSRT keeps: missed: a, b" in capsys.readouterr().out
    figures = json.loads((out / "baselines.json").read_text())["trackers"]
    assert list(figures) == ["CSRT", "dimp_lite0"]
    assert figures["dimp_lite0"]["lost_at"] == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--frames", "0"], "--frames 0: expected at least 1"),
        (["--config", "dimp_lite1"], "no config 'dimp_lite1'"),
        (["--config", "dimp18", "dimp18"], "dimp18: given twice"),
        (["--config", "dimp18", "dimp50", "--checkpoint", "x"], "goes with one --config, not 2"),
        (["--config", "--trackers"], "nothing to run"),
        (["--threads", "-1"], "--threads -1: expected 0"),
    ],
)
def test_baselines_refuse(data, options, message, capsys):
    assert baselines.main(["--data", str(data), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_baselines_need_ground_truth(data, capsys):
    (data / "b" / "groundtruth.txt").write_text("1,2,30,40\n")
    assert baselines.main(["--data", str(data)]) == 2
    assert "b has no ground truth but the first box" in capsys.readouterr().err
    assert baselines.main(["--data", str(data / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err


def test_split_adds_up_to_the_frame():
    alone = {"crop": 1.0, "backbone": 5.0, "heads": 1.0, ".classifier": 0.8, "learn True 0": 1.0}
    alone |= {"learn True 2": 5.0}
    plans = [(True, 0), (True, 2), (False, 0), (True, 0)]
    split = frame_parts.split(12.0, alone, plans)
    assert split["filter update"] == pytest.approx(7 / 4) and split["refinement"] == 0.0
    assert sum(split.values()) == pytest.approx(12.0)
    assert split["Python"] == pytest.approx(12 - 7 - 7 / 4)


def test_unknown_group_is_refused(capsys):
    assert groups.main(["frame"]) == 2
    assert "no group 'frame'; expected: gemm" in capsys.readouterr().err


def test_fake_sequences_are_as_assumed():
    """The tests above count on a target that moves by one pixel a frame, inside the image."""
    steps = np.diff([target_box(i) for i in range(8)], axis=0)
    np.testing.assert_array_equal(steps, [[1, 0, 0, 0]] * 7)
    assert target_box(7)[0] + target_box(7)[2] <= SIZE_HW[1]
