"""What `evaluate.py` refuses beside its options: other results' folders, videos, parts, hosts."""

import os
import sys

import pytest

from dimp_jax.evaluation import command, jobs, session
from dimp_jax.media import images
from dimp_jax.media.images import InputError
from dimp_jax.predictor.parts import PartError
from tests.evaluation import test_evaluate_cli as cli
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence, make_video

evaluate, error_line = cli.evaluate, cli.error_line


@pytest.mark.parametrize("folder", [".", "run1"])
def test_the_video_that_is_tracked_is_not_written_over(evaluate, tmp_path, capsys, folder):
    (tmp_path / "run1").mkdir(exist_ok=True)
    clip = make_video(tmp_path / folder / "clip.mp4", fourcc="mp4v")
    given = ["--video", str(clip), "--box", "8,10,12,12", "--runs", "2", "--out", "."]
    before = clip.read_bytes()
    for more in (["--save-video"], ["--save-video", "--box", "30,10,9,9"]):
        line = error_line(evaluate, capsys, *given, *more)
        assert "clip.mp4: is the video to be tracked" in line and "another --out" in line
    # Its frames are tracked, and the video is somebody's own.
    make_sequence(tmp_path / "clip")
    line = error_line(evaluate, capsys, "--data", "clip", *given[4:], "--save-video")
    assert "clip.mp4: is of no results in this folder, and would be replaced" in line
    assert clip.read_bytes() == before and list(clip.parent.glob("*.txt")) == []
    assert not evaluate.built


def test_several_targets_are_tracked_on_one_host(evaluate, tmp_path, capsys, monkeypatch):
    make_video(tmp_path / "clip.avi")
    monkeypatch.setattr(session, "_join_hosts", lambda _: jobs.Share(1, 2))
    boxes = ["--box", "8,10,12,12", "--box", "30,10,9,9"]
    line = error_line(evaluate, capsys, "--video", "clip.avi", *boxes, "--out", "o")
    assert "--box several times, on 2 hosts" in line and "on one host" in line
    assert not evaluate.built and not (tmp_path / "o").exists()


def test_parts_that_do_not_fit_are_one_line(evaluate, tmp_path, capsys, monkeypatch):
    def refuse(self):
        raise PartError("predictor.solver='mine:steps': missing a required argument: 'mixing'")

    monkeypatch.setattr(FakeTracker, "warmup", refuse)
    make_sequence(tmp_path / "s")
    assert "'mixing'" in error_line(evaluate, capsys, "--data", "s")
    with pytest.raises(InputError, match="'mixing'"):
        session._compiled_tracker(command.parse([], "evaluate.py").settings)
    assert not (tmp_path / "results").exists()


def test_a_box_that_is_mostly_outside_is_told(evaluate, tmp_path, caplog):
    images.tell_once.cache_clear()
    make_video(tmp_path / "clip.avi")
    for number, box in enumerate(("60,10,20,20", "56,10,16,20")):
        argv = ["--video", "clip.avi", f"--box={box}", "--out", str(number)]
        assert evaluate.main(argv) == 0
    told = "clip: first box 60,10,20,20: only 20% of it are in the image of 64 x 48 pixels"
    assert caplog.messages == [told]


def test_results_of_another_config_or_data_are_refused(evaluate, tmp_path, capsys):
    make_sequence(tmp_path / "a")
    make_sequence(tmp_path / "b")
    assert evaluate.main(["--data", "a", "--out", "o"]) == 0
    capsys.readouterr()
    line = error_line(evaluate, capsys, "--data", "a", "--out", "o", "--seed", "4")
    assert "o: holds results of another configuration" in line and "another --out" in line
    for other in (["--data", "b"], ["--data", "a", "--frames", "3"]):
        assert "another input" in error_line(evaluate, capsys, *other, "--out", "o")
    assert len(evaluate.built) == 1  # refused before the network is built


def test_results_of_other_weights_are_refused(evaluate, tmp_path, capsys, monkeypatch):
    """Bytes count for a file, times for the many files of a directory."""
    monkeypatch.setattr(sys.modules["dimp_jax.tracking.tracker"], "build", lambda _: FakeTracker())
    make_sequence(tmp_path / "a")
    weights, folder = tmp_path / "w.safetensors", tmp_path / "run"
    weights.write_bytes(b"one")
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    for checkpoint, changed in ((weights, weights), (folder, folder / "card.json")):
        out = f"results of {checkpoint.stem}"
        command = ["--data", "a", "--out", out, "--checkpoint", str(checkpoint)]
        assert evaluate.main(command) == 0
        capsys.readouterr()
        assert evaluate.main(command) == 0  # goes on: nothing has changed
        os.utime(weights, (0, 0))
        assert evaluate.main(command) == 0
        changed.write_bytes(b"two")
        os.utime(changed, (1, 1))
        assert "another input" in error_line(evaluate, capsys, *command)
