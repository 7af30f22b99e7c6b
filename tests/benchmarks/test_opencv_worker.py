"""OpenCV's trackers in an environment of their own: the worker, and what installs it."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from benchmarks import opencv_env, opencv_worker
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from tests.media.test_sequences import make_sequence

FAKE_WORKER = """
import json, sys
job = json.load(open(sys.argv[1]))
if job["tracker"] == "KCF":
    sys.exit("something before\\nno such thing")
count = len(job["images"]) - (job["tracker"] == "MIL")
boxes = [job["box_xywh"]] * count
result = {"boxes": boxes, "seconds": [0.5] * count, "errors": 0, "threads": job["threads"]}
json.dump(result, open(sys.argv[2], "w"))
"""


@pytest.fixture
def quiet():
    return Console(file=io.StringIO())


def test_first_box_in_whole_pixels_inside_the_image():
    box = lambda *xywh: opencv_worker.integer_box(xywh, (40, 60))
    assert box(1.4, 2.6, 5.5, 19.0) == (1, 3, 6, 19)  # 5.5 rounds to even
    assert box(-5.0, -3.0, 10.0, 9.0) == (0, 0, 5, 6)
    assert box(55.0, 30.0, 20.0, 20.0) == (55, 30, 5, 10)
    assert box(3.0, 3.0, 0.2, 0.2) == (3, 3, 1, 1)
    assert box(59.9, 39.9, 5.0, 5.0) == (59, 39, 1, 1)


class FailingTracker:
    """Finds the target in every second update, and raises in the fourth."""

    def __init__(self):
        self.updates = 0

    def init(self, image, box):
        self.box = box

    def update(self, image):
        self.updates += 1
        if self.updates == 4:
            raise opencv_worker.cv2.error("out of\nmemory")
        return self.updates % 2 == 1, (self.updates, 0, 4, 4)


def test_worker_repeats_the_box_when_a_tracker_fails(tmp_path, monkeypatch):
    (found,) = sequences.load_folder(make_sequence(tmp_path / "s", count=6))
    monkeypatch.setattr(opencv_worker.cv2, "TrackerCSRT_create", FailingTracker, raising=False)
    images = [str(path) for path in found.frames.paths]
    job = {"tracker": "CSRT", "images": images, "box_xywh": [0.6, 0, 4, 4], "threads": None}
    result = opencv_worker.run(job)
    assert [box[0] for box in result["boxes"]] == [1, 1, 1, 3, 3, 5]
    assert result["not_found"] == 2 and result["errors"] == 1
    assert result["first_error"] == "frame 4: out of memory"
    assert len(result["seconds"]) == 6 and min(result["seconds"]) >= 0
    with pytest.raises(ValueError, match="has no tracker 'Medusa'"):
        opencv_worker.run(job | {"tracker": "Medusa"})
    found.frames.paths[3].write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be decoded as an image"):
        opencv_worker.run(job)


def test_worker_names_a_network_that_opencv_cannot_read(tmp_path):
    files = [tmp_path / "backbone.onnx", tmp_path / "head.onnx"]
    for file in files:
        file.write_bytes(b"no network")
    job = {"tracker": "Nano", "network": [str(file) for file in files]}
    if not hasattr(opencv_worker.cv2, "TrackerNano_create"):
        pytest.skip("this OpenCV has no TrackerNano")
    with pytest.raises(ValueError, match="backbone.onnx and .*head.onnx: not read by OpenCV: "):
        opencv_worker.factory(job)


@pytest.fixture
def env(tmp_path):
    """A "virtual environment" with this interpreter, and a worker without OpenCV."""
    python = opencv_env.python_of(tmp_path / "env")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    worker = tmp_path / "worker.py"
    worker.write_text(FAKE_WORKER)
    return tmp_path / "env", worker


def test_job_goes_to_the_worker_and_back(env):
    folder, worker = env
    job = {"tracker": "CSRT", "images": ["a.jpg", "b.jpg"], "box_xywh": [1, 2, 3, 4], "threads": 2}
    result = opencv_env.run_job(folder, job, worker=worker)
    np.testing.assert_array_equal(result["boxes"], [[1, 2, 3, 4]] * 2)
    np.testing.assert_array_equal(result["seconds"], [0.5, 0.5])
    assert result["threads"] == 2
    with pytest.raises(InputError, match="KCF, s/img: no such thing"):
        opencv_env.run_job(
            folder, job | {"tracker": "KCF", "images": ["s/img/1.jpg"]}, worker=worker
        )
    with pytest.raises(InputError, match=r"\(1, 4\) boxes, \(1,\) times for 2 frames"):
        opencv_env.run_job(folder, job | {"tracker": "MIL"}, worker=worker)


def test_environment_of_others_is_left_alone(tmp_path, quiet):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists, but is no environment with OpenCV's trackers"):
        opencv_env.ensure(folder, ["CSRT"], console=quiet)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_failed_installation_says_what_to_do(tmp_path, quiet, monkeypatch):
    commands = []

    def offline(command, **options):
        commands.append(command)
        return SimpleNamespace(returncode=1, stdout="", stderr="...\nno route to host\n")

    monkeypatch.setattr(opencv_env.subprocess, "run", offline)
    with pytest.raises(InputError, match="no route to host.*pip install.*opencv-contrib-python"):
        opencv_env.ensure(tmp_path / "new", ["CSRT"], console=quiet)
    assert [command[1:3] for command in commands] == [["-m", "venv"]]
    # It may be tried again: the folder is known as ours.
    with pytest.raises(InputError, match="no route to host"):
        opencv_env.ensure(tmp_path / "new", ["CSRT"], console=quiet)


def test_missing_tracker_is_named(tmp_path, quiet, monkeypatch):
    has = {"opencv": "9.0", "trackers": ["KCF"], "threads": 1}
    monkeypatch.setattr(opencv_env, "_describe", lambda env: has)
    assert opencv_env.ensure(tmp_path, ["KCF"], console=quiet) == has
    with pytest.raises(InputError, match="OpenCV 9.0 has no tracker MIL"):
        opencv_env.ensure(tmp_path, ["KCF", "MIL"], console=quiet)
