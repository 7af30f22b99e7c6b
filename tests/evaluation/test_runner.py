"""The tracking loop, the result files, resuming and drawing, with a small fake tracker."""

import enum
import io
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from dimp_jax.evaluation import identity, jobs, results, summary
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import draw, sequences, video
from dimp_jax.media.images import InputError
from tests.media.test_sequences import SIZE_HW, make_sequence, make_video, target_box, target_frame

Verdict = enum.Enum("Verdict", "NORMAL HARD_NEGATIVE UNCERTAIN NOT_FOUND")


class FakeTracker:
    """Moves the first box by a fixed step; the state is the box."""

    notice = None

    def __init__(self, step_px=1.0):
        self.step_px = step_px
        self.started = []  # first boxes, in order
        self.seeds = []

    def warmup(self):
        """There is nothing to compile."""

    def init(self, image, box_xywh, seed=0):
        if box_xywh[2] > 1000:
            raise ValueError("the box is too large for this fake")
        self.started.append(list(box_xywh))
        self.seeds.append(seed)
        return np.array(box_xywh, float)

    def step(self, state, image):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        box = state + [self.step_px, 0, 0, 0]
        return box, SimpleNamespace(box_xywh=box, score=0.5, verdict=Verdict.NORMAL)


load = sequences.load_folder


def run(tracker, found, out, **options):
    out.mkdir(exist_ok=True)
    quiet = Console(file=io.StringIO())
    return one_by_one.run(tracker, found, out, options=jobs.Options(**options), console=quiet)


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_track_times_every_frame_and_reports_it(tmp_path):
    (sequence,) = load(make_sequence(tmp_path / "s"))
    seen = []
    boxes, times_s = one_by_one.track(FakeTracker(), sequence, seed=3, observe=seen.append)
    np.testing.assert_array_equal(boxes, [target_box(i) for i in range(8)])
    assert times_s.shape == (8,) and (times_s > 0).all()
    assert [f.index for f in seen] == list(range(8))
    assert [f.verdict for f in seen] == [draw.GIVEN] + ["NORMAL"] * 7
    assert seen[0].score is None and seen[1].score == 0.5
    assert [f.fps is None for f in seen] == [True] * 3 + [False] * 5
    np.testing.assert_array_equal(seen[4].groundtruth, target_box(4))


def test_summary_of_a_perfect_and_a_still_tracker(tmp_path):
    make_sequence(tmp_path / "data" / "a")
    make_sequence(tmp_path / "data" / "b", count=10)
    found = load(tmp_path / "data")
    scores = run(FakeTracker(), found, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == scores
    assert (scores["rule"], scores["std"], scores["failed"]) == ("visible", None, {})
    assert list(scores["sequences"]) == ["a", "b"]
    values = scores["sequences"]["a"]
    assert list(values) == ["auc", "precision_20", "norm_precision_20", "frames", "fps"]
    assert values["auc"] == pytest.approx(20 / 21) and values["frames"] == 8 and values["fps"] > 0
    assert list(scores["mean"]) == list(values) and scores["mean"]["frames"] == 9
    still = run(FakeTracker(step_px=0.0), found, tmp_path / "still")
    assert still["mean"]["auc"] < 0.75 < 0.95 < scores["mean"]["auc"]
    written = [
        f"{name}{end}.txt" for name in "ab" for end in ("", "_decode_time", "_score", "_time")
    ]
    assert files(tmp_path / "out") == [*written, "summary.json"]


def test_files_hold_float_boxes_and_seconds(tmp_path):
    run(FakeTracker(step_px=0.25), load(make_sequence(tmp_path / "s")), tmp_path / "out")
    lines = (tmp_path / "out" / "s.txt").read_text().splitlines()
    assert lines[0] == "8.0000,10.0000,12.0000,12.0000"
    assert lines[1] == "8.2500,10.0000,12.0000,12.0000" and len(lines) == 8
    assert len((tmp_path / "out" / "s_time.txt").read_text().splitlines()) == 8


def test_fps_leaves_out_initialisation_and_two_frames(tmp_path):
    assert results.frames_per_second([9.0, 5.0, 5.0, 0.1, 0.3]) == pytest.approx(5.0)
    assert results.frames_per_second([9.0, 5.0, 5.0]) is None

    class Slow(FakeTracker):
        def step(self, state, image):
            time.sleep(0.02)
            return super().step(state, image)

    scores = run(Slow(), load(make_sequence(tmp_path / "s")), tmp_path / "out")
    assert scores["mean"]["fps"] < 50


def test_decoding_is_not_timed(tmp_path):
    (sequence,) = load(make_sequence(tmp_path / "s", count=4))

    class SlowFrames:
        live, exact, count, frame_rate = False, True, 4, None

        def __iter__(self):
            for item in sequence.frames:
                time.sleep(0.2)
                yield item

    slow = sequences.Sequence("s", SlowFrames(), sequence.groundtruth, sequence.init_box)
    _, times_s = one_by_one.track(FakeTracker(), slow)
    assert times_s.max() < 0.15


def test_no_ground_truth_gives_null(tmp_path):
    folder = make_sequence(tmp_path / "data" / "a")
    (folder / "groundtruth.txt").write_text("1,2,3,4\n")
    scores = run(FakeTracker(), load(folder), tmp_path / "out")
    assert scores["sequences"]["a"]["auc"] is None and scores["mean"]["precision_20"] is None
    assert '"auc": null' in (tmp_path / "out" / "summary.json").read_text()
    make_sequence(tmp_path / "data" / "b")
    both = run(FakeTracker(), load(tmp_path / "data"), tmp_path / "out")
    assert both["mean"]["auc"] == both["sequences"]["b"]["auc"]


def test_resumes_with_the_missing_sequences(tmp_path):
    for name in "abc":
        make_sequence(tmp_path / "data" / name)
    found, out = load(tmp_path / "data"), tmp_path / "out"

    class Interrupted(FakeTracker):
        def step(self, state, image):
            if len(self.started) == 2:
                raise KeyboardInterrupt
            return super().step(state, image)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), found, out, save_video=True)
    assert files(out) == ["a.mp4", "a.txt", "a_decode_time.txt", "a_score.txt", "a_time.txt"]

    tracker = FakeTracker()
    first_a = (out / "a.txt").stat().st_mtime_ns
    scores = run(tracker, found, out, save_video=True)
    assert len(tracker.started) == 2 and list(scores["sequences"]) == ["a", "b", "c"]
    assert (out / "a.txt").stat().st_mtime_ns == first_a
    again = FakeTracker()
    assert run(again, found, out, save_video=True) == scores and not again.started


ROW = "8.0000,10.0000,12.0000,12.0000\n"


@pytest.mark.parametrize(
    ("name", "content"),  # None: missing
    [
        ("s.txt", ROW * 5),
        ("s.txt", (ROW * 8)[:-1]),  # the last digit may be lost
        ("s.txt", ""),
        ("s.txt", "a,b,c,d\n" * 8),
        ("s_time.txt", None),
        ("s_time.txt", "0.1\n" * 7),
        ("s.mp4", None),
    ],
)
def test_incomplete_results_are_made_again(tmp_path, name, content):
    found, out = load(make_sequence(tmp_path / "s")), tmp_path / "out"
    run(FakeTracker(), found, out, save_video=True)
    text = (out / "s.txt").read_text()
    (out / name).unlink() if content is None else (out / name).write_text(content)
    tracker = FakeTracker()
    run(tracker, found, out, save_video=True)
    assert len(tracker.started) == 1 and (out / "s.txt").read_text() == text
    assert results.is_done(out, found[0], with_video=True)
    assert not results.is_done(out, load(tmp_path / "s", limit=4)[0], with_video=True)


def test_folder_of_another_run_is_refused(tmp_path):
    out = tmp_path / "out"
    inputs = {"data": "x", "video": None, "dataset": None}
    made = {"config": {"a": (1, 2)}, "inputs": inputs}
    identity.check_folder(out, **made)
    identity.make_folder(out, **made)
    identity.check_folder(out, config={"a": 5}, inputs={})  # nothing was finished in it
    (out / "config.json").unlink()  # killed at once
    identity.check_folder(out, **made)
    identity.make_folder(out, **made)
    (out / "s.txt").write_text("1,2,3,4\n")
    identity.check_folder(out, **made)
    with pytest.raises(InputError, match="results of another configuration .*another --out"):
        identity.check_folder(out, config={"a": (1, 3)}, inputs=made["inputs"])
    with pytest.raises(InputError, match="results of another input"):
        identity.check_folder(out, config=made["config"], inputs={"data": "y"})
    (out / "config.json").unlink()
    with pytest.raises(InputError, match="results of another configuration"):
        identity.check_folder(out, **made)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written"):
        identity.make_folder(tmp_path / "file", **made)


@pytest.mark.parametrize("name", ["config.json", "input.json", "sequences.json"])
def test_a_file_of_somebody_else_is_not_replaced(tmp_path, name):
    for text in ('{"data": "mine"}', "[1]", "3", "no JSON"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=f"{name}: is not of an evaluation.*another --out"):
            identity.check_folder(tmp_path, config={}, inputs={})


def test_writing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    results.write_atomically(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        results.write_atomically(path, "new")
    assert path.read_text() == "old" and files(tmp_path) == ["a.txt"]


def test_stopping_in_the_window(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        one_by_one.window, "show", lambda image: shown.append(image) or len(shown) == 4
    )
    monkeypatch.setattr(one_by_one.window, "close", lambda: None)
    found, out = load(make_sequence(tmp_path / "s")), tmp_path / "out"
    with pytest.raises(one_by_one.Stopped):
        run(FakeTracker(), found, out, show=True)
    assert files(out) == []

    class Camera:  # endless: stopping is how it ends, and its results count
        live, exact, count, frame_rate = True, False, None, None

        def __iter__(self):
            for i in range(10**6):
                yield f"camera 0, frame {i}", target_frame(i % 20)

    shown.clear()
    monkeypatch.setattr(one_by_one.window, "draw_box", lambda image: np.array(target_box(0)))
    camera = sequences.Sequence("camera0", Camera(), None, None)
    scores = run(FakeTracker(), [camera], out, show=True)
    assert scores["sequences"]["camera0"]["frames"] == 4
    assert not results.is_done(out, camera, with_video=False)


def test_saved_video_has_every_frame_and_the_boxes(tmp_path):
    path = make_video(tmp_path / "clip.avi")
    found = sequences.load_video(str(path), box=np.array(target_box(0)))
    run(FakeTracker(), [found], tmp_path / "out", save_video=True)
    frames = [image for _, image in video.VideoFrames(str(tmp_path / "out" / "clip.mp4"))]
    assert len(frames) == 12
    scale = frames[5].shape[1] // SIZE_HW[1]
    edge = frames[5][16 * scale, 13 * scale - 2 : 13 * scale + 3].mean(axis=0)
    assert edge[1] > edge[0] + 40 and edge[1] > edge[2] + 40  # green: NORMAL


def test_table_shows_missing_values():
    values = dict.fromkeys((*summary.METRICS, "fps")) | {"frames": 3}
    scores = {"rule": "visible", "runs": 1, "sequences": {"s": values}, "mean": values}
    console = Console(width=120, file=io.StringIO())
    console.print(summary.table(scores | {"std": None, "failed": {}}))
    words = " ".join(console.file.getvalue().split())
    assert "without decoding and without the first 2" in words and " - " in words
    assert "no ground truth to compare with" in words and "AUC" not in words
