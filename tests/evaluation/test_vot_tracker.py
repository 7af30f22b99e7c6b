"""The tracker as the VOT toolkit starts it, with a fake tracker, and evaluations that fail."""

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trax

from dimp_jax.evaluation.vot import __main__ as vot
from dimp_jax.evaluation.vot import toolkit as vot_toolkit
from dimp_jax.evaluation.vot import tracker as vot_tracker
from dimp_jax.evaluation.vot.tracker import PythonTracker, region_to_box, seeds_of
from dimp_jax.media.images import InputError
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_sequence, target_box

LEANING = [(12, 10), (30, 10), (28, 20), (10, 20)]


def test_region_to_box():
    np.testing.assert_array_equal(region_to_box((1, 2, 3.5, 4)), [1, 2, 3.5, 4])
    x, y, w, h = region_to_box(LEANING)
    assert (x + w / 2, y + h / 2) == (20, 15)
    # The area of the first two sides, 18 * sqrt(4 + 100), and VOT's pixel.
    assert (w - 1) * (h - 1) == pytest.approx(18 * np.sqrt(104))
    assert (w - 1) / (h - 1) == pytest.approx(20 / 10)
    for bad in (LEANING[:3], [1, 2, 3], [1, 2, 3, np.nan], np.ones((8, 8), np.uint8)):
        with pytest.raises(ValueError, match="expected x, y, w, h or four corners"):
            region_to_box(bad)


def test_seeds_depend_on_what_is_finished(tmp_path):
    def draw(count, seeds):
        return [next(seeds) for _ in range(count)]

    def finish(number, suffix=".txt"):
        folder = tmp_path / "baseline" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"a_{number:03d}{suffix}").touch()
        (folder / f"a_{number:03d}_time.value").touch()

    seeds = seeds_of(3, tmp_path)
    first = draw(2, seeds)
    finish(1)
    second = draw(3, seeds)
    # A process that goes on after the first repetition has the seeds of the second.
    assert draw(3, seeds_of(3, tmp_path)) == second
    finish(2, ".bin")
    third = draw(2, seeds)
    assert len({*first, *second, *third}) == 7
    assert draw(2, seeds_of(3)) == first and draw(2, seeds_of(4)) != first
    assert all(0 <= seed < 2**31 for seed in first + second + third)


def frames_of(folder):
    return [str(path) for path in sorted((folder / "img").iterdir())]


class Server:
    """Plays a client's requests, and keeps the answers."""

    def __init__(self, requests):
        self.requests, self.answers = list(requests), []

    def wait(self):
        return self.requests.pop(0)

    def status(self, objects):
        ((region, properties),) = objects
        self.answers.append((region.bounds(), properties["confidence"]))


def request(kind, path=None, region=None):
    image = None if path is None else {"color": trax.FileImage.create(path)}
    return SimpleNamespace(type=kind, image=image, objects=region and [(region, {})])


def test_trax_session(tmp_path):
    paths = frames_of(make_sequence(tmp_path / "s", count=4))
    rectangle = trax.Rectangle.create(*target_box(0))
    polygon = trax.Polygon.create(LEANING)
    server = Server(
        [
            request("initialize", paths[0], rectangle),
            request("frame", paths[1]),
            request("initialize", paths[2], polygon),
            request("frame", paths[3]),
            request("quit"),
        ]
    )
    tracker, seeds = FakeTracker(), seeds_of(0)
    vot_tracker.serve(server, trax, tracker, seeds)
    boxes, scores = zip(*server.answers, strict=True)
    np.testing.assert_allclose(boxes[:2], [target_box(0), target_box(1)])
    np.testing.assert_allclose(boxes[2], region_to_box(LEANING), rtol=1e-6)
    np.testing.assert_allclose(np.subtract(boxes[3], boxes[2]), [1, 0, 0, 0], atol=1e-5)
    assert scores == (1.0, 0.5, 1.0, 0.5)
    assert len(set(tracker.seeds)) == 2


@pytest.fixture
def started(monkeypatch):
    """Settings of the trackers that were started; the trackers are fake."""
    seen = []
    monkeypatch.setattr(
        vot_tracker, "start", lambda settings: seen.append(settings) or FakeTracker()
    )
    return seen


def test_python_protocol(tmp_path, started):
    """As the toolkit's worker calls it: regions with properties, lists of objects, no new ones."""
    paths = frames_of(make_sequence(tmp_path / "s", count=3))
    tracker = PythonTracker(config="dimp18", checkpoint="mine", seed="7")
    assert (started[0].checkpoint, started[0].seed) == ("mine", 7) and tracker.multiobject
    box = tuple(target_box(0))
    answers = tracker.init(paths[0], [(box, {}), (LEANING, {})])
    assert answers[0] == (box, {"confidence": 1.0}) and len(answers) == 2
    answers = tracker.update({"color": paths[1]}, [((3.0, 3.0, 9.0, 9.0), {})])
    assert [answer[0][0] for answer in answers[::2]] == [box[0] + 1, 3.0]
    assert answers[0][1] == {"confidence": 0.5} and isinstance(answers[0][0], tuple)
    answers = tracker.update(paths[2], [])
    assert [answer[0][0] for answer in answers[::2]] == [box[0] + 2, 4.0]
    assert tracker.init(paths[0], []) == []

    assert tracker.init(paths[0], box) == (box, {"confidence": 1.0})
    assert tracker.update(paths[1])[0] == (box[0] + 1, *box[1:])
    with pytest.raises(ValueError, match="convert = rectangle"):
        tracker.init(paths[0], [(np.ones((8, 8)), {})])
    # The toolkit's worker passes ValueError on, and dies of others.
    with pytest.raises(ValueError, match="no config 'dimp19'"):
        PythonTracker(config="dimp19")


def test_googles_trax_is_told_apart(tmp_path, monkeypatch):
    assert vot_tracker.load_trax() is trax
    (tmp_path / "__init__.py").touch()
    spec = importlib.machinery.ModuleSpec("trax", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match="Google's deep learning library.*pip uninstall trax"):
        vot_tracker.load_trax()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "dimp_jax\[vot\]"'):
        vot_tracker.load_trax()


def test_server_refuses_bad_settings_in_one_line(tmp_path, capsys):
    (tmp_path / "t.json").write_text('{"config": {"modle": {}}}')
    assert vot_tracker.main([str(tmp_path / "t.json")]) == 2
    assert "error: Config has no field 'modle'; near: model" in capsys.readouterr().err
    assert vot_tracker.main([str(tmp_path / "none.json")]) == 2


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A workspace by hand, and a toolkit that is played: what its commands do, in order."""
    folder = tmp_path / "space"
    sequence = make_sequence(folder / "sequences" / "a", count=4)
    (sequence / "img").rename(sequence / "color")
    (sequence / "sequence").write_text("channels.color=color/%06d.jpg\n")
    (folder / "sequences" / "list.txt").write_text("a\n")
    stack = {"experiments": {"free": {"type": "unsupervised"}}}
    (folder / "config.yaml").write_text(json.dumps({"stack": stack}))
    played = SimpleNamespace(folder=folder, commands=[], acts=[])

    def run(command, *arguments, folder):
        played.commands.append(command)
        return played.acts.pop(0)()

    toolkit = SimpleNamespace(
        version="0.7.4",
        stacks=Path("/stacks"),
        read_yaml=lambda path: json.loads(Path(path).read_text()),
        run=run,
    )
    monkeypatch.setattr(vot_toolkit, "ensure", lambda python, protocol, console: toolkit)
    return played


def test_crash_of_the_tracker_shows_its_log(space, capsys):
    def crash():
        (space.folder / "logs").mkdir()
        log = space.folder / "logs" / "dimp_lite0_2026.log"
        log.write_text("".join(f"line {i}\n" for i in range(30)) + "ValueError: no such box\n")
        return 0, "Evaluation interrupted by tracker error"  # as the toolkit ends then

    space.acts = [crash]
    assert vot.main([str(space.folder)]) == 1
    shown = capsys.readouterr().err
    assert "the tracker failed; the end of" in shown and "ValueError: no such box" in shown
    assert "line 29" in shown and "line 9\n" not in shown
    assert space.commands == ["evaluate"]


def test_toolkit_that_stops_is_no_result(space, capsys):
    space.acts = [lambda: (1, "x\n\x1b[31mno space left\x1b[0m\n")]
    assert vot.main([str(space.folder)]) == 1
    assert capsys.readouterr().err == "vot: error: the toolkit stopped: no space left\n"
    analysis = space.folder / "analysis" / "dimp_lite0.json"
    analysis.parent.mkdir()
    analysis.write_text("{}")  # of an earlier run: it must not be taken for this one's
    space.acts = [lambda: (0, ""), lambda: (0, "Missing results")]
    assert vot.main([str(space.folder)]) == 1
    assert "analysis failed: Missing results" in capsys.readouterr().err
    assert not list((space.folder / "dimp_jax").glob("*summary.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "a/b"], "--name a/b: the toolkit takes letters"),
        (["--config", "dimp19"], "no config 'dimp19'"),
        (["--checkpoint", "none"], "none: no such file or folder"),
        (["--repetitions", "3"], "--repetitions: goes with --sequences"),
        (["--sequences", "x", "--repetitions", "0"], "--repetitions 0: expected at least 1"),
        (["--sequences", "x"], "is a workspace made otherwise"),
    ],
)
def test_refused_commands(space, capsys, options, message):
    assert vot.main([str(space.folder), *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert space.commands == []
