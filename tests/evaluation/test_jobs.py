"""An evaluation as jobs: failures, repeated runs, processes, several hosts, and going on."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from dimp_jax.evaluation import inputs, jobs, results, summary
from dimp_jax.evaluation.runners import lanes, objects, one_by_one, workers
from dimp_jax.media.images import InputError
from tests.evaluation.test_runner import FakeTracker, Verdict, files, load, run
from tests.evaluation.test_track_many import FakeLanes
from tests.media.test_sequences import make_sequence, truncate
from tests.support import ROOT


def quiet():
    return Console(file=io.StringIO(), width=120)


class SeededTracker(FakeTracker):
    """Its step depends on the seed, as a tracker's randomness does."""

    def init(self, image, box_xywh, seed=0):
        self.step_px = 1.0 + seed
        return super().init(image, box_xywh, seed)


class DyingTracker(FakeTracker):
    """Ends its process, as the system does when memory is short."""

    def step(self, state, image):
        os.kill(os.getpid(), signal.SIGKILL)


def refuses():
    raise InputError("no such weights")


def test_a_failure_is_told_and_loses_nothing_else(tmp_path):
    for name in "abc":
        make_sequence(tmp_path / "data" / name)
    bad = tmp_path / "data" / "b" / "img" / "000006.jpg"
    whole = bad.read_bytes()
    truncate(bad)
    found, out = load(tmp_path / "data"), tmp_path / "out"
    scores = run(FakeTracker(), found, out, save_video=True)
    assert list(scores["sequences"]) == ["a", "c"] and scores["failed"] == {"b": [0]}
    assert [name for name in files(out) if name.startswith("b")] == ["b_error.txt"]
    ((where, text),) = jobs.failures(out, scores)
    assert where == "b" and "b/img/000006.jpg: the image is truncated" in text
    assert text.startswith("Traceback") and "read_image" in text
    console = Console(width=120, file=io.StringIO())
    console.print(summary.table(scores))
    assert "mean, without 1 failed or missing" in " ".join(console.file.getvalue().split())

    bad.write_bytes(whole)
    tracker = FakeTracker()
    again = run(tracker, found, out, save_video=True)
    assert len(tracker.started) == 1 and not again["failed"]
    assert not (out / "b_error.txt").exists() and (out / "b.mp4").is_file()


def test_the_only_sequence_is_refused_in_one_line(tmp_path):
    folder = make_sequence(tmp_path / "s")
    (folder / "groundtruth.txt").write_text("1,2,3000,4\n")
    with pytest.raises(InputError, match="^s: the box is too large for this fake"):
        run(FakeTracker(), load(folder), tmp_path / "out")
    assert files(tmp_path / "out") == []


def test_a_score_that_is_not_finite_is_a_failure(tmp_path):
    class Broken(FakeTracker):
        def step(self, state, image):
            state, result = super().step(state, image)
            result.score = np.nan
            return state, result

    out = tmp_path / "out"
    scores = run(Broken(), load(make_sequence(tmp_path / "s")), out)
    assert scores["failed"] == {"s": [0]} and scores["mean"]["auc"] is None
    assert "s, frame 1: the score is nan: the target's filter" in results.read_error(out, "s")


def test_a_box_that_is_not_finite_is_a_failure(tmp_path):
    class Broken(FakeTracker):
        def step(self, state, image):
            return super().step(state * np.nan, image)

    out = tmp_path / "out"
    scores = run(Broken(), load(make_sequence(tmp_path / "s")), out)
    assert scores["failed"] == {"s": [0]} and scores["mean"]["auc"] is None
    assert "s, frame 1: the tracker returned the box [nan" in results.read_error(out, "s")


def test_runs_have_their_own_seeds_and_a_spread(tmp_path):
    for name in "ab":
        make_sequence(tmp_path / "data" / name)
    found, out = load(tmp_path / "data"), tmp_path / "out"
    first = run(SeededTracker(), found, out)
    tracker = SeededTracker()
    scores = run(tracker, found, out, runs=3)
    assert tracker.seeds == [1, 1, 2, 2]  # run 0 was there
    assert scores["runs"] == 3 == results.count_runs(out)
    assert files(out / "run2") == sorted(
        f"{name}{end}.txt" for name in "ab" for end in ("", "_decode_time", "_score", "_time")
    )
    singles = [
        summary.summarize(results.run_folder(out, r), found)["mean"]["auc"] for r in range(3)
    ]
    assert singles[0] == first["mean"]["auc"] > singles[1] > singles[2]
    assert scores["mean"]["auc"] == pytest.approx(np.mean(singles))
    assert scores["std"]["auc"] == pytest.approx(np.std(singles, ddof=1))
    console = quiet()
    console.print(summary.table(scores))
    assert "mean of 3 runs" in console.file.getvalue()


def test_a_run_that_failed_in_part(tmp_path):
    for name in "ab":
        make_sequence(tmp_path / "data" / name)

    class FailsOnce(FakeTracker):
        def init(self, image, box_xywh, seed=0):
            state = super().init(image, box_xywh, seed)
            if len(self.started) == 3:
                raise RuntimeError("out of memory")
            return state

    out = tmp_path / "out"
    scores = run(FailsOnce(), load(tmp_path / "data"), out, runs=2)
    assert scores["failed"] == {"a": [1]} and scores["sequences"]["a"]["auc"] is not None
    ((where, text),) = jobs.failures(out, scores)
    assert where == "a, run 1" and "RuntimeError: out of memory" in text


def in_two_processes(build, found, out):
    track_jobs = lambda todo: workers.in_processes(
        build, todo, workers=2, options=jobs.Options(), console=quiet()
    )
    out.mkdir(exist_ok=True)
    return jobs.run_jobs(track_jobs, found, out, options=jobs.Options(), console=quiet())


def test_processes_give_the_results_of_one(tmp_path):
    for name in "abc":
        make_sequence(tmp_path / "data" / name)
    truncate(tmp_path / "data" / "b" / "img" / "000006.jpg")
    found = load(tmp_path / "data")
    alone = run(FakeTracker(), found, tmp_path / "alone")
    scores = in_two_processes(FakeTracker, found, tmp_path / "out")
    for name in "ac":
        assert (tmp_path / "out" / f"{name}.txt").read_text() == (
            tmp_path / "alone" / f"{name}.txt"
        ).read_text()
    assert scores["failed"] == alone["failed"] == {"b": [0]}
    assert "the image is truncated" in results.read_error(tmp_path / "out", "b")
    with pytest.raises(InputError, match="no such weights"):
        in_two_processes(refuses, found, tmp_path / "other")
    with pytest.raises(InputError, match="a worker process was ended.*less than 2 --workers"):
        in_two_processes(DyingTracker, found, tmp_path / "dying")


def test_hosts_share_the_jobs_and_all_see_the_whole(tmp_path):
    for name in "abcde":
        make_sequence(tmp_path / "data" / name)
    found, out = load(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    (out / "e_error.txt").write_text("of an earlier run")
    barrier, seen = threading.Barrier(2), {}

    def host(index):
        tracker = FakeTracker()
        track_jobs = lambda todo: one_by_one.one_by_one(
            tracker, todo, out, options=jobs.Options(), console=quiet()
        )
        share = jobs.Share(index, 2, barrier.wait)
        scores = jobs.run_jobs(
            track_jobs, found, out, options=jobs.Options(), console=quiet(), share=share
        )
        seen[index] = (len(tracker.started), scores)

    hosts = [threading.Thread(target=host, args=(index,)) for index in range(2)]
    for thread in hosts:
        thread.start()
    for thread in hosts:
        thread.join(60)
    assert {index: count for index, (count, _) in seen.items()} == {0: 3, 1: 2}
    assert seen[0][1] == seen[1][1] and list(seen[0][1]["sequences"]) == list("abcde")


def slow_run(data, out):
    """Never ends by itself: the fourth sequence waits to be killed."""

    class Slow(FakeTracker):
        def step(self, state, image):
            if len(self.started) == 4:
                time.sleep(600)
            return super().step(state, image)

    run(Slow(), load(data), out)


def test_killed_and_given_again_computes_only_what_is_missing(tmp_path):
    for name in "abcde":
        make_sequence(tmp_path / "data" / name)
    found, out = load(tmp_path / "data"), tmp_path / "out"
    code = "import pathlib, sys; from tests.evaluation import test_jobs as t; "
    code += "t.slow_run(*map(pathlib.Path, sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(out)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while not (out / "c.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("[abc]*.txt")}
    assert len(done) == 12 and not (out / "d.txt").exists()
    tracker = FakeTracker()
    scores = run(tracker, found, out)
    assert len(tracker.started) == 2 and list(scores["sequences"]) == list("abcde")
    assert {name: (out / name).stat().st_mtime_ns for name in done} == done


def test_lanes_give_the_files_of_one_by_one(tmp_path):
    for name in "abc":
        make_sequence(tmp_path / "data" / name)
    truncate(tmp_path / "data" / "b" / "img" / "000006.jpg")
    found, out = load(tmp_path / "data"), tmp_path / "out"
    alone, fake = run(FakeTracker(), found, tmp_path / "alone"), FakeLanes(2)
    out.mkdir()
    shown = {"options": jobs.Options(seed=5, runs=2), "console": quiet()}
    scores = jobs.run_jobs(lambda todo: lanes.at_once(fake, todo, **shown), found, out, **shown)
    assert scores["failed"] == {"b": [0, 1]} and alone["failed"] == {"b": [0]}
    assert sorted(seed for _, seed in fake.started) == [5, 5, 5, 6, 6, 6]
    for name in "ac":
        expected = (tmp_path / "alone" / f"{name}.txt").read_text()
        assert (out / f"{name}.txt").read_text() == expected
        assert (out / "run1" / f"{name}.txt").read_text() == expected
        assert len(results.read_decode_times(out, name)) == 8


def test_targets_of_one_video_belong_together(tmp_path, monkeypatch):
    calls = []

    def track_objects(tracker, sequence, boxes, *, seed, observe):
        calls.append((sequence.frames.count, len(boxes), seed))
        if len(calls) == 3:
            raise FloatingPointError("clip-1, frame 2, object 1: the score is nan")
        moved = np.array([boxes] * sequence.frames.count)
        for index, (_, image) in enumerate(sequence.images()):
            result = SimpleNamespace(verdict=Verdict.NORMAL, score=0.5)
            observe(index, image, moved[index], [result if index else None] * len(boxes))
        return moved.transpose(1, 0, 2), np.full(sequence.frames.count, 0.5)

    monkeypatch.setattr(objects, "track_objects", track_objects)
    source = inputs.Source(
        data=str(make_sequence(tmp_path / "clip")), boxes=("8,10,12,12", "30,10,9,9")
    )
    found, out = inputs.load(source), tmp_path / "out"
    assert found.objects and [s.name for s in found.sequences] == ["clip-1", "clip-2"]
    out.mkdir()
    shown = {"options": jobs.Options(save_video=True), "console": quiet()}

    def evaluate():
        return jobs.run_jobs(
            lambda todo: objects.targets_of_one_video(None, todo, out, **shown),
            found.sequences,
            out,
            is_done=lambda job: objects.are_targets_done(
                out, found.sequences, job.run, options=shown["options"]
            ),
            **shown,
        )

    assert evaluate()["failed"] == {} and calls == [(8, 2, 0)]
    np.testing.assert_array_equal(results.read_scores(out, "clip-2")[:2], [[1, 1], [0.5, 1]])
    assert [name for name in files(out) if "time" not in name and "score" not in name] == [
        "clip-1.txt",
        "clip-2.txt",
        "clip.mp4",
        "summary.json",
    ]
    boxes, times_s = results.read_sequence(out, "clip-2")
    np.testing.assert_array_equal(boxes, [[30, 10, 9, 9]] * 8)
    np.testing.assert_array_equal(times_s, [0.25] * 8)
    evaluate()
    assert len(calls) == 1
    (out / "clip-1.txt").unlink()  # one of them is missing: all are tracked, as they were
    evaluate()
    assert calls == [(8, 2, 0)] * 2
    shown["options"] = jobs.Options(runs=3)  # the second one fails, the third one goes on
    scores = evaluate()
    assert [seed for *_, seed in calls[2:]] == [1, 2]
    assert scores["failed"] == {"clip-1": [1], "clip-2": [1]}
    assert "object 1: the score is nan" in results.read_error(out / "run1", "clip-2")
