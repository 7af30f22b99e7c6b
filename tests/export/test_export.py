"""The exported tracker: its runner gives the boxes of the tracker; what is refused."""

import importlib.util
import json
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dimp_jax
from dimp_jax import config as configs
from dimp_jax.export import __main__ as command
from dimp_jax.export import programs
from dimp_jax.models.iou_net import Levels
from dimp_jax.tracking import memory as memories
from dimp_jax.tracking import online
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.online import Network
from dimp_jax.tracking.programs import Look, Programs, Start
from dimp_jax.tracking.tracker import Tracker
from tests.support.golden_files import inputs

FRAMES = np.stack([inputs.clip_frame(t) for t in range(32)])
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
PLATFORMS = ("cpu", "cuda", "tpu")
REFUSED = ("dimp_jax", "flax", "cv2", "optax", "orbax")
# Refuses the imports, takes flatbuffers from the exported folder alone, then runs the runner.
CLEAN_PROCESS = """
import importlib.machinery, runpy, sys
from pathlib import Path

class Finder:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {refused}:
            raise ImportError(f"refused: {{name}}")
        if name == "flatbuffers":
            return importlib.machinery.PathFinder.find_spec(name, [str(Path(sys.argv[1]).parent)])

sys.meta_path.insert(0, Finder)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {refused} & {{name.split(".")[0] for name in sys.modules}}
"""


def track(tracker, seed):
    """[T, 4] boxes, [T] scores and [T] names of verdicts; the first is given."""
    state = tracker.init(FRAMES[0], BOX, seed)
    results = []
    for frame in FRAMES[1:]:
        state, result = tracker.step(state, frame)
        results.append((result.box_xywh, result.score, result.verdict.name))
    boxes, scores, verdicts = zip(*results, strict=True)
    return np.stack(boxes), np.array(scores), verdicts


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(the shipped tracker, the folder of its export)."""
    out = tmp_path_factory.mktemp("export") / "out"
    assert command.main(["dimp_lite0", "--out", str(out)]) == 0
    return dimp_jax.load("dimp_lite0"), out


@pytest.mark.long
def test_a_clean_process_gives_the_boxes_of_the_tracker(exported, tmp_path):
    tracker, out = exported
    assert len((out / "run.py").read_text().splitlines()) <= 72
    np.save(tmp_path / "frames.npy", FRAMES)
    given = (out / "run.py", tmp_path / "frames.npy", ",".join(str(v) for v in BOX), "3")
    code = CLEAN_PROCESS.format(refused=set(REFUSED))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, given)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    boxes = np.loadtxt(done.stdout.splitlines(), delimiter=",")
    np.testing.assert_array_equal(boxes[0], BOX)
    expected, _, verdicts = track(tracker, seed=3)
    assert {"NORMAL", "HARD_NEGATIVE"} <= set(verdicts), "the case shows too little"
    np.testing.assert_allclose(boxes[1:], expected, atol=0.05)


def test_lowered_for_three_platforms(exported):
    out = exported[1]
    files = sorted(out.glob("*.stablehlo"))
    assert len(files) == 4 + len(online.learning_variants(exported[0].config.tracker.memory))
    for path in files:
        assert jax.export.deserialize(bytearray(path.read_bytes())).platforms == PLATFORMS


def test_what_meta_says(exported):
    tracker, out = exported
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["jax"], meta["platforms"]) == (jax.__version__, list(PLATFORMS))
    again = configs.from_dict(configs.TrackerConfig, meta["config"]["tracker"])
    assert again == tracker.config.tracker
    assert len(meta["learn"]) == len([name for name in meta["programs"] if "learn" in name])


def import_runner(out):
    spec = importlib.util.spec_from_file_location("exported_runner", out / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_runner_refuses_what_it_cannot_track(exported):
    run = import_runner(exported[1])
    with pytest.raises(ValueError, match="w, h in 1e-3"):
        run.init(FRAMES[0], (1, 2, 0, 4))
    with pytest.raises(ValueError, match="finite x, y"):
        run.init(FRAMES[0], (np.nan, 2, 3, 4))
    with pytest.raises(ValueError, match=f"outside the {FRAMES[0].shape[1]} x "):
        run.init(FRAMES[0], (5000, 2, 3, 4))
    with pytest.raises(ValueError, match=r"image of \(100, "):
        run.step({"image_hw": np.float32(FRAMES[0].shape[:2])}, FRAMES[1][:100])


def test_the_runner_answers_wrong_input_in_one_line(tmp_path, monkeypatch):
    command.write(means_tracker("iou", "inside", "2019", 4), tmp_path / "out", ("cpu",))
    files = {"frames.npy": FRAMES[:2], "gray.npy": FRAMES[:2, ..., 0], "float.npy": FRAMES[:2] / 2}
    for name, frames in files.items():
        np.save(tmp_path / name, frames)
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "frames.npz", FRAMES[:2])
    monkeypatch.chdir(tmp_path)
    for argv, said in (
        (["none.npy", "1,2,3,4"], "none.npy: expected .*No such file or directory"),
        (["text.npy", "1,2,3,4"], "text.npy: expected uint8"),
        (
            ["gray.npy", "1,2,3,4"],
            r"gray.npy: expected uint8 \[N, H, W, 3\] .*\(uint8 \[2, 240, 320\]\)",
        ),
        (["float.npy", "1,2,3,4"], r"float.npy: expected uint8 .*\(float64 \["),
        (["frames.npy", "1,2,3"], r"1,2,3: expected X,Y,W,H \[SEED\]"),
        (["frames.npy", "1,2,3,x"], r"1,2,3,x: expected X,Y,W,H \[SEED\]"),
        (["frames.npy", "1,2,3,-4"], "1,2,3,-4: expected X,Y,W,H .*w, h in 1e-3"),
        (["frames.npy", "1,2,3,4", "x"], "1,2,3,4 x: expected X,Y,W,H"),
        (["frames.npy", "1,2,3,4", "-1"], "1,2,3,4 -1: expected X,Y,W,H"),
        (["frames.npy", "1,2,3,4", "4294967296"], "1,2,3,4 4294967296: expected X,Y,W,H"),
        (["frames.npy", "1,2,1e20,4"], "1,2,1e20,4: expected X,Y,W,H .*w, h in 1e-3 .. 1e6"),
        (["frames.npz", "1,2,3,4"], r"frames.npz: expected uint8 \[N, H, W, 3\] of np.save \("),
    ):
        monkeypatch.setattr(sys, "argv", ["run.py", *argv])
        with pytest.raises(SystemExit, match=f"^run.py: error: {said}") as caught:
            runpy.run_path(str(tmp_path / "out" / "run.py"), run_name="__main__")
        assert "\n" not in caught.value.code


def means_network(uses_iou, filter_size_cells):
    """A network that says something about every number it is given, and compiles at once."""

    def start(params, patches, box_xywh, dropout):
        feat = jnp.concatenate([patches.mean((1, 2)), dropout])[:, None, None]
        modulation = Levels(feat[:1, 0, 0], feat[1:2, 0, 0]) if uses_iou else None
        memory = memories.create(feat, box_xywh, 20)
        return Start(params["of"]["filt"] * feat.mean(0), memory, modulation, jnp.zeros(1))

    def look(params, filt, modulation, crops, pose, base, image_hw, position, scale, uniforms):
        seen = crops.mean((0, 1, 2))  # [3]
        move = jnp.sin(seen[:2]) + 0.01 * filt[0, 0, :2] / image_hw
        if uses_iou:
            move += 0.01 * (modulation.level3 + modulation.level4)[0, :2] / 255 + uniforms[0, :2]
        center = 0.9 * position.mean(0) + 0.1 * image_hw / 2 + move
        new_scale = pose[2] * (1 + 0.02 * jnp.cos(seen[2])) * (scale / scale[0]).mean()
        verdict = jnp.floor(5 * seen[0] % 4)
        last = jnp.stack([new_scale, verdict, seen[1] % 1])
        report = jnp.concatenate([center, base * new_scale, last])
        box_xywh = jnp.concatenate([pose[0] - position[0], pose[1]])
        return Look(report, seen[None, None], box_xywh, crops[..., 0])

    def learn(params, filt, memory, feat, box_xywh, rate, *, insert, num_iter):
        if insert:
            memory = memories.insert(memory, feat, box_xywh, rate, 0.25)
        filt = filt + num_iter * rate * (feat + memory.box_xywh.mean())
        return filt, memory, jnp.zeros(num_iter)

    learn = jax.jit(learn, static_argnames=("insert", "num_iter"))
    params = {"of": {"filt": np.ones((1, 1, 3), np.float32)}}
    return Network(params, Programs(jax.jit(start), jax.jit(look), learn), 3, filter_size_cells)


def means_tracker(method, border_mode, arithmetic, filter_size_cells, update="memory"):
    settings = configs.TrackerConfig(
        crop_size_px=48,
        search_area_scale=4.0,
        border_mode=border_mode,
        max_scale_change=1.5,
        crop_arithmetic=arithmetic,
        augment=configs.AugmentConfig(
            shifts=((0.6, -0.6),), blur_sigmas_px=((1.0, 2.0),), rotations_deg=(10.0,)
        ),
        memory=configs.MemoryConfig(
            update=update,
            size=20,
            train_interval=5,
            low_score_threshold=0.3,
            low_score_iterations=2,
        ),
        localize=configs.LocalizeConfig(search_growth=(1.0, 1.5)),
        refine=configs.RefineConfig(method=method),
    )
    whole = configs.Config(model=configs.ModelConfig(backbone="resnet18"), tracker=settings)
    return Tracker(whole, means_network(method != "scale_search", filter_size_cells))


@pytest.mark.parametrize(
    "options",
    [
        ("scale_search", "inside_major", "2022", 4),
        ("iou", "inside", "2019", 5),
        ("scale_search", "replicate", "2019", 4, "moving_average"),
    ],
)
def test_every_way_to_crop_and_learn(options, tmp_path):
    """All that the network is given and what it stores, in the tracker and in the runner."""
    tracker = means_tracker(*options)
    command.write(tracker, tmp_path / "out", ("cpu",))
    run = import_runner(tmp_path / "out")
    state, exported_state = tracker.init(FRAMES[0], BOX, 7), run.init(FRAMES[0], BOX, 7)
    verdicts = set()
    for frame in FRAMES[1:]:
        state, expected = tracker.step(state, frame)
        exported_state, box, score, verdict = run.step(exported_state, frame)
        np.testing.assert_allclose(box, expected.box_xywh, atol=0.05)
        np.testing.assert_allclose(score, expected.score, atol=5e-3)
        assert verdict == expected.verdict.name
        verdicts.add(verdict)
    np.testing.assert_allclose(exported_state["filt"], state.filt, rtol=1e-4)
    for name, value in exported_state["memory"].items():
        np.testing.assert_allclose(value, getattr(state.memory, name), rtol=1e-4, atol=5e-3)
    assert len(verdicts) == len(Verdict), "the case shows too little"


def refused(argv, capsys):
    """The one line on stderr of a command that ends with status 2."""
    assert command.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_bad_input_is_one_line(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    full, new = str(tmp_path / "full"), str(tmp_path / "new")
    assert "not an empty folder" in refused(["dimp_lite0", "--out", full], capsys)
    assert "dimp18" in refused(["dimp81", "--out", new], capsys)
    twice = ["dimp_lite0", "--out", new, "--platforms", "cpu", "cpu"]
    assert "each once" in refused(twice, capsys)
    lost = ["dimp_lite0", "--out", new, "--checkpoint", str(tmp_path / "none")]
    assert "none" in refused(lost, capsys)
    assert (tmp_path / "full" / "kept.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_failure_leaves_no_folder(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr(command, "_copy_flatbuffers", fail)
    monkeypatch.setattr(programs, "lower", lambda tracker, platforms: {})
    with pytest.raises(OSError, match="disk full"):
        command.write(means_tracker("iou", "inside", "2019", 4), tmp_path / "out", ("cpu",))
    assert not list(tmp_path.iterdir())
