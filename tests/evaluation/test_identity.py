"""Results belong to an input: what has changed is said, and tracked again when asked to."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dimp_jax.evaluation import command, identity, inputs, results, session
from dimp_jax.evaluation.report import collect
from dimp_jax.media import sequences, video
from dimp_jax.media.images import ImageFrames, InputError
from tests.evaluation import test_evaluate_cli as cli
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence, make_video, target_frame, write_image
from tests.support.report_results import make_data, make_results

evaluate = cli.evaluate


def of(path):
    (found,) = sequences.load_folder(path)
    return identity.of(found)


def test_what_a_sequence_is_known_by(tmp_path):
    folder = make_sequence(tmp_path / "s", suffix=".png")
    first = of(folder)
    assert first["first_box"] == [8.0, 10.0, 12.0, 12.0] and first["frames"] == 8
    for path in (folder / "img").iterdir():
        os.utime(path, (1, 1))
    assert identity.change(first, of(folder)) is None  # a copy has other times
    # In the middle, and of the same size: the sums at its end tell.
    middle = folder / "img" / "000004.png"
    size = middle.stat().st_size
    for value in range(256):
        image = target_frame(3)
        image[0, 0, 0] = value
        write_image(middle, image)
        if middle.stat().st_size == size and identity.change(first, of(folder)):
            break
    assert identity.change(first, of(folder)) == "other image or video files"
    write_image(folder / "img" / "000009.png", target_frame(8))
    (folder / "groundtruth.txt").write_text("9,10,12,12\n")
    assert (
        identity.change(first, of(folder))
        == "first box 8,10,12,12, now 9,10,12,12, 8 frames, now 9"
    )
    assert "not recorded" in identity.change(None, first)
    assert json.loads(json.dumps(first)) == first


def test_a_replaced_video_and_a_camera(tmp_path):
    path = make_video(tmp_path / "clip.avi")
    box = np.array([8.0, 10, 12, 12])
    first = identity.of(sequences.load_video(str(path), box=box))
    make_video(path, count=11)
    change = identity.change(first, identity.of(sequences.load_video(str(path), box=box)))
    assert change == "12 frames, now 11" or change == "other image or video files"
    live = sequences.Sequence("camera0", video.VideoFrames(0), None, box)
    assert identity.of(live) is None


def test_only_what_has_changed_is_tracked_again(evaluate, tmp_path, capsys, monkeypatch):
    for name in "ab":
        make_sequence(tmp_path / "data" / name)
    command = ["--data", "data", "--out", "o", "--save-video", "--runs", "2"]
    assert evaluate.main(command) == 0
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "o").rglob("a*")}
    truth = (tmp_path / "data" / "b" / "groundtruth.txt").read_text()
    (tmp_path / "data" / "b" / "groundtruth.txt").write_text(truth.replace("8.0,", "7.0,", 1))
    line = cli.error_line(evaluate, capsys, *command)
    assert "b: first box 8,10,12,12, now 7,10,12,12" in line
    assert "--redo-changed" in line and "another --out" in line

    started = []
    init = FakeTracker.init
    monkeypatch.setattr(
        FakeTracker, "init", lambda self, *a, **k: started.append(a[1][0]) or init(self, *a, **k)
    )
    without = [option for option in command if option != "--save-video"]
    line = cli.error_line(evaluate, capsys, *without, "--redo-changed")
    assert "b.mp4: shows b as it was: give --save-video, too" in line and not started
    assert evaluate.main([*command, "--redo-changed"]) == 0
    assert started == [7, 7]
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert (tmp_path / "o" / "run1" / "b.txt").read_text().startswith("7.0000,10.0000,")
    assert evaluate.main([*command, "--redo-changed"]) == 0  # nothing has changed since
    assert evaluate.main(command) == 0 and len(started) == 2
    make_sequence(tmp_path / "data" / "c")  # a new one has no results that could be of another
    assert evaluate.main(command) == 0 and len(started) == 4


def test_only_the_files_of_what_has_changed_are_deleted(tmp_path):
    """Also in a folder where a person keeps something else, under the name of a format."""
    path = make_video(tmp_path / "clip.avi")
    source = inputs.Source(video=str(path), boxes=("8,10,12,12", "30,10,9,9"))
    then = inputs.load(source).sequences
    notes, out = {"config": {}, "inputs": {"boxes": list(source.boxes)}}, tmp_path / "out"
    identity.make_folder(out, **notes, sequences=then)
    kept = [out / "otb" / "Deer" / "groundtruth_rect.txt", out / "clip-2.txt", out / "clip.mp4"]
    stale = [out / "clip-1.txt", out / "otb" / "clip-1.txt"]
    stale += [out / "mot" / "clip.txt", out / "coco" / "boxes.json", out / "csv" / "boxes.csv"]
    for file in (*kept, *stale):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("8,10,12,12\n")
    now = [dataclasses.replace(then[0], init_box=then[0].init_box + 1), then[1]]
    identity.check_folder(out, **notes, sequences=now, redo_changed=True)
    assert all(file.is_file() for file in (*kept, *stale))  # it only looks
    identity.forget_changed(out, now, inputs=notes["inputs"])
    assert all(file.is_file() for file in kept) and not any(file.exists() for file in stale)


def test_what_a_camera_showed_is_not_replaced(evaluate, tmp_path, capsys, monkeypatch):
    opened = []

    def read(number, start, stop):
        opened.append(number)
        return ((i, target_frame(i)) for i in range(start, stop))

    monkeypatch.setattr(video, "_read_camera", read)
    command = ["--video", "0", "--box", "8,10,12,12", "--frames", "3"]
    assert evaluate.main(command) == 0
    out = tmp_path / "results" / "dimp_lite0-camera0"
    assert len((out / "camera0.txt").read_text().splitlines()) == 3
    line = cli.error_line(evaluate, capsys, *command)
    assert "camera0.txt: what a camera showed cannot be tracked again" in line
    assert "choose another --out" in line and opened == [0]


def test_nobody_is_built_for_what_is_done(evaluate, tmp_path, capsys):
    make_sequence(tmp_path / "s")
    for _ in range(2):
        assert evaluate.main(["--data", "s", "--out", "o"]) == 0
    assert len(evaluate.built) == 1 and "1 of 1 sequences are done" in capsys.readouterr().out


def test_a_report_refuses_results_of_another_input(tmp_path):
    data = make_data(tmp_path / "data")
    out = make_results(tmp_path / "out", data)
    other = make_results(tmp_path / "other", data)
    found = sequences.load_folder(data)
    identity.check_unchanged(out, found)  # nothing is known of them
    notes = {"config": {}, "inputs": identity.read_input(other)}
    identity.make_folder(other, **notes, sequences=found)
    (data / "d" / "groundtruth.txt").write_text("9,9,12,12\n")
    with pytest.raises(InputError, match="other: d has changed since .* first box 8,10"):
        collect.collect([out, other])


@pytest.mark.parametrize("end", ["_time", "_decode_time", "_error", "_decode"])
def test_names_whose_files_would_be_the_same(evaluate, tmp_path, capsys, end):
    for name in ("a", f"a{end}"):
        make_sequence(tmp_path / "data" / name, count=3)
    line = cli.error_line(evaluate, capsys, "--data", "data", "--out", "o")
    assert f"'a' and 'a{end}' would have the same file names" in line
    assert not evaluate.built and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("name", "frame", "said"),
    [
        ("長" * 75, "1.jpg", "長: a name of 225 bytes: .* at most 224: rename it"),
        ("caf\udce9", "1.jpg", r"^'caf\\udce9': 'caf\\udce9' is not UTF-8: rename it"),
        ("s", "caf\udce9.jpg", r"^'s': 'caf\\udce9.jpg' is not UTF-8"),
    ],
)
def test_names_that_results_cannot_have(name, frame, said):
    frames = ImageFrames((Path(frame),))
    with pytest.raises(InputError, match=said):
        results.check_names([sequences.Sequence(name, frames, None, None)])


def test_the_longest_name(evaluate, tmp_path):
    make_sequence(tmp_path / ("長" * 74 + "ab"), count=3)  # 224 bytes
    command = ["--data", str(tmp_path), "--out", "o", "--save-video"]
    assert evaluate.main(command) == 0
    assert len(list((tmp_path / "o").glob("長*"))) == 5


def test_two_processes_in_one_folder(evaluate, tmp_path, capsys, monkeypatch):
    """The later one has another config: the first must not write among its results."""
    make_sequence(tmp_path / "s")
    step = FakeTracker.step

    def disturbed(self, state, image):
        path = tmp_path / "o" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 9}))
        return step(self, state, image)

    monkeypatch.setattr(FakeTracker, "step", disturbed)
    line = cli.error_line(evaluate, capsys, "--data", "s", "--out", "o")
    assert "o: another process has begun other results in it" in line
    assert not list((tmp_path / "o").glob("*.txt"))


def test_default_folders_say_what_differs(evaluate, tmp_path):
    make_sequence(tmp_path / "s")
    (tmp_path / "w").mkdir()
    (tmp_path / "mine.py").write_text(
        "from dimp_jax.config import Config, ModelConfig\n"
        "def get_config():\n    return Config(model=ModelConfig(backbone='resnet18'))\n"
    )
    commands = {
        "dimp_lite0-s": [],
        "dimp_lite0-solver=conjugate_gradient-s": [
            "--model.predictor.solver", "conjugate_gradient",
        ],
        "dimp_lite0-label=initial-seed=3-s": [
            "--model.predictor.learned.label", "initial", "--seed", "3",
        ],
        "mine-s": ["mine.py"],
    }  # fmt: skip
    for name, options in commands.items():
        assert evaluate.main([*options, "--data", "s"]) == 0
        assert (tmp_path / "results" / name / "summary.json").is_file(), name

    named = lambda *argv: session.default_name(command.parse(list(argv), "evaluate.py"), None)
    assert named("--checkpoint", "runs/mine") == "dimp_lite0-checkpoint=mine"
    assert named("mine.py", "--checkpoint", "runs/other") == "mine"
    highest = named("--model.matmul-precision", "highest")
    assert highest == "dimp_lite0-matmul_precision=highest"
    many = ["--tracker.augment.rotations-deg", *map(str, range(50))]
    assert len(named(*many)) == len("dimp_lite0-") + 8


def test_another_configuration_is_named(tmp_path):
    made = {"config": {"tracker": {"a": 1, "b": [1, 2]}}, "inputs": {"frames": 3}}
    out = tmp_path / "out"
    identity.make_folder(out, **made)
    (out / "s.txt").write_text("1,2,3,4\n")
    with pytest.raises(InputError, match=r"configuration \(tracker.b: \[1, 2\], now \[1, 3\]; "):
        identity.check_folder(out, config={"tracker": {"a": 1, "b": (1, 3)}}, inputs=made["inputs"])
    with pytest.raises(InputError, match=r"input \(frames: 3, now none; compare "):
        identity.check_folder(out, config=made["config"], inputs={"frames": None})
    later = {"tracker": {"a": 1, "b": [1, 2], "c": None}}  # a field of a later version
    with pytest.raises(InputError, match=r"configuration \(tracker.c: not recorded, now none; "):
        identity.check_folder(out, config=later, inputs=made["inputs"])
    identity.make_folder(out, config=later, inputs=made["inputs"])
    with pytest.raises(InputError, match=r"\(tracker.c: none, now no such option; "):
        identity.check_folder(out, **made)
