"""Our tracker in the GOT-10k toolkit: the real package runs it, and scores it as we do."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from PIL import Image

import dimp_jax
from dimp_jax.evaluation import datasets
from dimp_jax.evaluation.exchange import got10k_tracker, imported
from dimp_jax.evaluation.exchange.got10k_tracker import Got10kTracker
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import window
from dimp_jax.media.images import InputError
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import write_image
from tests.support.benchmark_trees import write_lines

NAMES = ("GOT-10k_Val_000001", "GOT-10k_Val_000002")
LENGTHS = (6, 8)
SIZE_HW = (120, 160)
TARGET_PX = 40


def target_box(index):
    return [20.0 + 4 * index, 30.0 + 2 * index, TARGET_PX, TARGET_PX]


def target_frame(index):
    """A square of coloured tiles on dark noise; uint8 RGB."""
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 90, (*SIZE_HW, 3), np.uint8)
    tiles = rng.integers(0, 255, (5, 5, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    x, y = (int(v) for v in target_box(index)[:2])
    frame[y : y + TARGET_PX, x : x + TARGET_PX] = tiles
    return frame


def make_got10k(root):
    """Two sequences of the validation set; in the second the target counts as covered at last."""
    for name, count in zip(NAMES, LENGTHS, strict=True):
        folder = root / "val" / name
        folder.mkdir(parents=True)
        for index in range(count):
            write_image(folder / f"{index + 1:08d}.jpg", target_frame(index))
        cover = [8] * (count - 1) + [8 if name == NAMES[0] else 0]
        boxes = [",".join(f"{v:.4f}" for v in target_box(i)) for i in range(count)]
        write_lines(folder / "groundtruth.txt", boxes)
        write_lines(folder / "cover.label", cover)
        for label in ("absence", "cut_by_image"):
            write_lines(folder / f"{label}.label", [0] * count)
        meta = ["[METAINFO]", "anno_fps: 10Hz", "object_class: tile", "resolution: (160, 120)"]
        write_lines(folder / "meta_info.ini", meta)
    write_lines(root / "val" / "list.txt", NAMES)
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_got10k(tmp_path_factory.mktemp("got10k"))


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """The real package; its plots without a display."""
    pytest.importorskip("got10k", reason="comes with the test extra")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    from got10k import experiments

    return experiments


@pytest.mark.long
def test_the_real_experiment_runs_and_reports_our_tracker(tree, toolkit, tmp_path):
    tracker = Got10kTracker(dimp_jax.load("dimp_lite0"), "dimp_lite0")
    experiment = toolkit.ExperimentGOT10k(str(tree), subset="val")
    experiment.run(tracker)
    theirs = experiment.report(["dimp_lite0"])["dimp_lite0"]["overall"]
    assert theirs["ao"] > 0.7  # 0.43 if the first box is kept

    command = [str(tmp_path / "results" / "GOT-10k" / "dimp_lite0"), "--layout", "got10k"]
    where = ["--dataset", "got10k_val", "--data-dir", str(tree), "--out", str(tmp_path / "out")]
    assert imported.main([*command, *where]) == 0
    summary = imported.results.read_json(tmp_path / "out" / "summary.json")
    # The toolkit pools its three repetitions, and we take the mean over runs of equal lengths.
    assert summary["rule"] == "got10k" and summary["runs"] == 3
    assert summary["mean"]["ao"] == pytest.approx(theirs["ao"], abs=1e-6)
    assert summary["mean"]["sr_50"] == pytest.approx(theirs["sr"], abs=1e-6)


def test_boxes_are_those_of_our_runner_and_repetitions_have_the_next_seeds(tree):
    sequence = datasets.load("got10k_val", tree)[0]
    fake = FakeTracker(step_px=1.5)
    ours = one_by_one.track(FakeTracker(step_px=1.5), sequence)[0]
    tracker = Got10kTracker(fake, "fake", seed=5)
    paths = [str(path) for path in sequence.frames.paths]
    for track in (tracker.track, tracker.forward_test):
        boxes, times_s = track(paths, sequence.init_box)
        np.testing.assert_array_equal(boxes, ours)
        assert times_s.shape == (LENGTHS[0],) and (times_s > 0).all()
    tracker.track(paths[1:], sequence.init_box)
    assert fake.seeds == [5, 6, 5] and tracker.name == "fake" and not tracker.is_deterministic


def test_init_and_update_take_pictures_of_any_mode(tree):
    tracker = Got10kTracker(FakeTracker(), "fake")
    with pytest.raises(RuntimeError, match="call init with the first frame"):
        tracker.update(target_frame(0))
    tracker.init(Image.fromarray(target_frame(0)).convert("L"), target_box(0))
    box = tracker.update(target_frame(1))
    np.testing.assert_array_equal(box, np.add(target_box(0), [1, 0, 0, 0]))
    assert box.dtype == np.float64


def test_refusals(tmp_path, tree):
    with pytest.raises(ValueError, match="name: needed"):
        Got10kTracker(FakeTracker())
    with pytest.raises(FileNotFoundError, match="no_such_config"):
        Got10kTracker("no_such_config")
    tracker = Got10kTracker(FakeTracker(), "fake")
    with pytest.raises(ValueError, match="img_files is empty"):
        tracker.track([], target_box(0))
    with pytest.raises(InputError, match="gone.jpg: cannot be read"):
        tracker.track([str(tmp_path / "gone.jpg")], target_box(0))


def test_visualize_shows_every_frame_until_it_is_stopped(tree, monkeypatch):
    shown, closed = [], []
    monkeypatch.setattr(window, "check_display", lambda: None)
    monkeypatch.setattr(window, "close", lambda: closed.append(True))
    monkeypatch.setattr(window, "show", lambda image: shown.append(image) or len(shown) == 3)
    tracker = Got10kTracker(FakeTracker(), "fake")
    paths = sorted((tree / "val" / NAMES[0]).glob("*.jpg"))
    with pytest.raises(one_by_one.Stopped):
        tracker.track(paths, target_box(0), visualize=True)
    assert len(shown) == 3 and closed == [True]


def test_a_name_loads_and_compiles_the_tracker(monkeypatch):
    calls = []
    loaded = SimpleNamespace(warmup=lambda: calls.append("warmup"))
    monkeypatch.setattr(dimp_jax, "load", lambda name: calls.append(name) or loaded)
    assert Got10kTracker("runs/dimp50").name == "dimp50" and calls == ["runs/dimp50", "warmup"]
    assert Got10kTracker("dimp50", "x").name == "x"


def test_the_module_needs_no_toolkit():
    code = (
        "import sys, dimp_jax.evaluation.exchange.got10k_tracker as g; "
        "assert not {'got10k', 'jax', 'shapely'} & set(sys.modules)"
    )
    assert got10k_tracker.__name__ in code.replace(" as g", "")
    subprocess.run([sys.executable, "-c", code], check=True)
