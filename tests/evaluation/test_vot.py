"""VOT: workspaces, the toolkit that runs as another program, and the numbers of an evaluation."""

import ast
import configparser
import io
import json
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

import dimp_jax
from dimp_jax.evaluation.vot import __main__ as vot
from dimp_jax.evaluation.vot import analysis as vot_analysis
from dimp_jax.evaluation.vot import sequences as vot_sequences
from dimp_jax.evaluation.vot import toolkit as vot_toolkit
from dimp_jax.evaluation.vot import workspace as vot_workspace
from dimp_jax.evaluation.vot.sequences import VotSequence
from dimp_jax.evaluation.vot.workspace import Experiment, Workspace
from dimp_jax.media.images import InputError
from tests.media.test_sequences import make_sequence

CONFIG = """
import dataclasses
from dimp_jax import config

def get_config():
    return dataclasses.replace(config.load("dimp_lite0"), tracker=config.TrackerConfig(
        crop_size_px=128,
        memory=config.MemoryConfig(size=20, init_iterations=4),
        refine=config.RefineConfig(method="scale_search"),
    ))
"""
BASELINE = Experiment("baseline", True, 2, (100, 356))
FOUND = {
    "toolkit": "0.7.4",
    "attributee": "0.1.9",
    "vot_trax": "4.0.2",
    "google_trax": None,
    "dimp_jax": True,
    "stacks": "/stacks",
}


@pytest.fixture
def quiet():
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def toolkit():
    found = vot_toolkit.describe(sys.executable)
    return vot_toolkit.Toolkit(Path(sys.executable), found["toolkit"], Path(found["stacks"]))


def make_vot_sequence(folder, count, rng):
    """A textured patch that moves over noise; its region is a polygon that leans by 4 px."""
    (folder / "color").mkdir(parents=True)
    background = rng.integers(90, 120, (96, 128, 3), np.uint8)
    patch = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (28, 24), interpolation=0)
    rows = []
    for i in range(count):
        x, y = int(40 + 30 * np.sin(i / 25)), int(34 + 20 * np.sin(i / 40))
        frame = background.copy()
        frame[y : y + 24, x : x + 28] = patch
        assert cv2.imwrite(str(folder / "color" / f"{i + 1:08d}.jpg"), frame)
        corners = (x + 2, y, x + 28, y, x + 26, y + 24, x, y + 24)
        rows.append(",".join(map(str, corners)) + "\n")
    (folder / "groundtruth.txt").write_text("".join(rows))
    (folder / "sequence").write_text("channels.color=color/%08d.jpg\nfps=30\n")


@pytest.mark.long
def test_supervised_experiment_of_the_real_toolkit(tmp_path, capfd):
    """One sequence with polygons, vot2018/shortterm, offline; then again without tracking."""
    make_vot_sequence(tmp_path / "vot" / "patch", 150, np.random.default_rng(0))
    (tmp_path / "vot" / "list.txt").write_text("patch\n")
    (tmp_path / "cheap.py").write_text(CONFIG)
    command = [str(tmp_path / "space"), "--config", str(tmp_path / "cheap.py"), "--sequences"]
    command += [str(tmp_path / "vot"), "--repetitions", "1", "--toolkit-python", sys.executable]
    assert vot.main(command) == 0
    shown = capfd.readouterr().out
    assert "VOT-ST2018" in shown and "mean over 100 to 149" in shown and "0.440" in shown
    path = tmp_path / "space" / "dimp_jax" / "cheap_summary.json"
    summary = json.loads(path.read_text())
    values = summary["experiments"]["baseline"]
    assert summary["toolkit"] == "0.7.4" and summary["frames"] == 150
    # The tracker follows the patch; a box around a leaning polygon overlaps it by less than 1.
    assert values["failures"] == 0 and values["failures_std"] is None
    assert 0.5 < values["eao"] < 1 and 0.5 < values["accuracy"] < 1
    assert "vot-toolkit 0.7.4, supervised" in values["rule"] and "first 10 frames" in values["rule"]

    trajectory = tmp_path / "space" / "results" / "cheap" / "baseline" / "patch" / "patch_001.txt"
    assert len(trajectory.read_text().splitlines()) == 150
    before = trajectory.stat().st_mtime_ns
    assert vot.main(command) == 0
    assert trajectory.stat().st_mtime_ns == before and json.loads(path.read_text()) == summary
    assert vot.main([*command, "--seed", "5"]) == 2
    assert "results of another configuration" in capfd.readouterr().err


def test_the_toolkit_is_imported_nowhere():
    for path in Path(dimp_jax.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "vot" for name in names), path


def test_pins_come_from_the_extra():
    assert "vot-toolkit==0.7.4" in vot_toolkit.requirements()
    assert {name[:8] for name in vot_toolkit.requirements()} >= {"vot-tool", "attribut", "vot-trax"}


@pytest.mark.parametrize(
    ("changes", "protocol", "message"),
    [
        ({"toolkit": None}, "trax", "has no vot-toolkit: run .*vot-toolkit==0.7.4"),
        ({"attributee": "0.1.10"}, "trax", "attributee 0.1.10 cannot be imported"),
        ({"google_trax": "1.4.1"}, "trax", "has Google's trax 1.4.1.*uninstall trax"),
        ({"toolkit": "0.9.0"}, "trax", "has vot-toolkit 0.9.0, which cannot run supervised"),
        ({"toolkit": "0.7.4"}, "python", "--protocol python came with 0.9"),
        ({"toolkit": "0.9.0", "dimp_jax": False}, "python", "has no dimp_jax"),
    ],
)
def test_unusable_environment(changes, protocol, message):
    vot_toolkit.check(FOUND, "py", "trax")
    with pytest.raises(InputError, match=message):
        vot_toolkit.check(FOUND | changes, "py", protocol)


def test_own_environment_is_made_once(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    monkeypatch.setattr(vot_toolkit.environments, "make", lambda env, console: made.append(env))
    monkeypatch.setattr(vot_toolkit, "describe", lambda python: FOUND if made else None)
    for _ in range(2):
        toolkit = vot_toolkit.ensure(None, "trax", console=quiet)
        assert toolkit.version == "0.7.4" and toolkit.stacks == Path("/stacks")
    (environment,) = made
    assert environment.folder == tmp_path / "dimp_jax" / "vot-toolkit"
    assert environment.requirements == vot_toolkit.requirements()
    with pytest.raises(InputError, match="--protocol python: needs --toolkit-python"):
        vot_toolkit.ensure(None, "python", console=quiet)


def test_no_interpreter(tmp_path, quiet):
    for path in (tmp_path / "none", "/bin/ls"):
        with pytest.raises(InputError, match="is no Python interpreter"):
            vot_toolkit.ensure(path, "trax", console=quiet)


def made(folder, data, toolkit, **options):
    chosen = {"stack": "vot2018/shortterm", "repetitions": 4, "experiments": ("baseline",)}
    vot_workspace.make(folder, data, toolkit=toolkit, **chosen | options)
    return vot_workspace.read(folder, toolkit=toolkit)


def test_workspace_of_our_sequences(tmp_path, toolkit):
    for name in "ab":
        make_sequence(tmp_path / "data" / name, count=8 if name == "a" else 3, suffix=".png")
    space = made(tmp_path / "space", tmp_path / "data", toolkit)
    assert space.title == "VOT-ST2018 challenge"
    assert space.experiments == [BASELINE._replace(repetitions=4)]
    assert space.sequences == [VotSequence("a", 8), VotSequence("b", 3)]
    frame = tmp_path / "space" / "sequences" / "a" / "color" / "00000002.jpg"
    assert frame.resolve() == tmp_path / "data" / "a" / "img" / "000002.png"
    assert made(tmp_path / "space", tmp_path / "data", toolkit) == space  # found, not made
    with pytest.raises(InputError, match="is a workspace made otherwise"):
        made(tmp_path / "space", tmp_path / "data", toolkit, repetitions=2)
    with pytest.raises(InputError, match="mean over 100 to 356 frames, .* has 8: it would be NaN"):
        vot_workspace.check(space)
    with pytest.raises(InputError, match="--stack vot1999: neither .* vot2018/shortterm"):
        made(tmp_path / "other", tmp_path / "data", toolkit, stack="vot1999")
    with pytest.raises(InputError, match="--experiments none: .* has baseline, realtime, unsup"):
        made(tmp_path / "other", tmp_path / "data", toolkit, experiments=("none",))
    assert not (tmp_path / "other").exists()
    whole = made(tmp_path / "other", tmp_path / "data", toolkit, experiments=("all",))
    repetitions = {experiment.name: experiment.repetitions for experiment in whole.experiments}
    assert repetitions == {"baseline": 4, "realtime": 1, "unsupervised": 1}
    with pytest.raises(InputError, match="none: is no VOT workspace"):
        vot_workspace.read(tmp_path / "none", toolkit=toolkit)


def test_other_folders_stay_as_they_are(tmp_path, toolkit):
    """`sequences` is where a workspace has its own: a person may have theirs there."""
    folder = tmp_path / "mine"
    make_sequence(folder / "sequences" / "a", count=3)
    before = sorted(folder.rglob("*"))
    for data in (folder / "sequences", make_sequence(tmp_path / "b", count=3)):
        with pytest.raises(InputError, match=r"mine: is no VOT workspace .* and holds sequences: "):
            made(folder, data, toolkit)
        assert sorted(folder.rglob("*")) == before
    # One that was cut short is made again, whatever systems and people have put beside it.
    data = make_sequence(tmp_path / "data" / "a", count=3).parent
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "trackers.ini").write_text("[Theirs]\n")
    (tmp_path / "begun" / ".DS_Store").touch()
    made(tmp_path / "begun", data, toolkit)
    (tmp_path / "begun" / "config.yaml").unlink()
    assert made(tmp_path / "begun", data, toolkit).sequences == [VotSequence("a", 3)]
    make_vot_sequence(tmp_path / "space" / "all" / "a", 3, np.random.default_rng(0))
    (tmp_path / "space" / "all" / "list.txt").write_text("a\n")
    used = made(tmp_path / "space", tmp_path / "space" / "all", toolkit)  # where they are
    assert used.sequences == [VotSequence("a", 3)]


def test_absent_target_is_named(tmp_path, toolkit):
    folder = make_sequence(tmp_path / "data" / "a", count=4)
    (folder / "groundtruth.txt").write_text("1,2,3,4\n1,2,3,4\nnan,nan,nan,nan\n5,6,7,8\n")
    space = made(tmp_path / "space", tmp_path / "data", toolkit)
    assert space.sequences == [VotSequence("a", 4, 1, 2)]
    long = space._replace(experiments=[BASELINE._replace(eao_interval=None)])
    with pytest.raises(InputError, match=r"a: no region in 1 of 4 frames \(first: frame 2"):
        vot_workspace.check(long)
    vot_workspace.check(space._replace(experiments=[Experiment("u", False, 1, None)]))


def test_broken_vot_sequences(tmp_path):
    make_vot_sequence(tmp_path / "a", 3, np.random.default_rng(0))
    with pytest.raises(InputError, match="no sequences: expected list.txt"):
        vot_sequences.read(tmp_path)
    (tmp_path / "list.txt").write_text("a\n")
    assert vot_sequences.read(tmp_path) == [VotSequence("a", 3)]
    (tmp_path / "a" / "color" / "00000002.jpg").unlink()
    with pytest.raises(InputError, match="groundtruth.txt: 3 regions for 1 frames"):
        vot_sequences.read(tmp_path)
    (tmp_path / "list.txt").write_text("a\nb\n")
    (tmp_path / "a" / "groundtruth.txt").write_text("0\n")  # a code
    with pytest.raises(InputError, match="b: no groundtruth.txt"):
        vot_sequences.read(tmp_path)


def test_registry_of_others_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/cuda/lib")
    folder = tmp_path / "my 50% space"
    folder.mkdir()
    space = Workspace(folder, "t", [BASELINE], [VotSequence("a", 150)])
    theirs = "[Theirs]\n# their comment\ncommand = x\n"
    (folder / "trackers.ini").write_text(theirs)
    values = {"config": {"seed": 0}, "weights": {}, "protocol": "trax"}
    for _ in range(2):
        vot_workspace.register(space, "ours", **values)
        vot_workspace.register(space, "other", **values | {"protocol": "python"})
    text = (folder / "trackers.ini").read_text()
    assert text.startswith(theirs) and text.count("[ours]") == 1 == text.count("[other]")
    read = configparser.ConfigParser()  # as the toolkit does
    read.read_string(text)
    command = shlex.split(read["ours"]["command"])
    assert command[0] == sys.executable and command[3] == str(folder / "dimp_jax" / "ours.json")
    assert read["ours"]["env_ld_library_path"] == "/cuda/lib"
    assert read["other"]["command"] == "dimp_jax.evaluation.vot.tracker:PythonTracker"
    with pytest.raises(InputError, match=r"has another tracker \[Theirs\]"):
        vot_workspace.register(space, "Theirs", **values)
    (folder / "results" / "ours" / "baseline").mkdir(parents=True)
    vot_workspace.register(space, "ours", **values)  # resumed
    with pytest.raises(InputError, match="ours: holds results of another configuration"):
        vot_workspace.register(space, "ours", **values | {"config": {"seed": 1}})


def written_analysis(eao, curve):
    """What the toolkit writes of one tracker, as far as it is read."""
    kind = lambda name, **more: {"type": f"vot.analysis.supervised.{name}", "burnin": 10, **more}
    kinds = [kind("AverageAccuracyRobustness"), kind("EAOScore", low=100, high=356)]
    kinds += [kind("EAOCurve")]
    found = [[[0.6, 2.0, [0.5, 0.6], 150.0]], [[eao]], [[curve]]]
    entry = {"parameters": {"analyses": kinds, "skip_initialize": 5}, "results": found}
    return {"toolkit": "0.7.4", "results": {"baseline": entry}}


def write_runs(folder, name, *failures):
    """Text results in which the tracker failed so many times, one file a repetition."""
    (folder / name).mkdir(parents=True)
    for number, count in enumerate(failures, 1):
        text = "1\n" + "1,2,3,4\n2\n0\n" * count + "2.0,2,2,2\n"
        (folder / name / f"{name}_{number:03d}.txt").write_text(text)
        (folder / name / f"{name}_{number:03d}_time.value").write_text("2\n")


def test_failures_are_pooled_over_sequences_and_averaged_over_repetitions(tmp_path):
    folder = tmp_path / "results" / "dimp" / "baseline"
    write_runs(folder, "a", 3, 1)
    write_runs(folder, "b", 0, 1)
    space = Workspace(tmp_path, "t", [BASELINE], [VotSequence("a", 150), VotSequence("b", 50)])
    summary = vot_analysis.summarize(space, "dimp", written_analysis(0.4, [0.0] * 150))
    values = summary["experiments"]["baseline"]
    assert values["failures"] == 2.5 and values["failures_by_sequence"] == {"a": 2.0, "b": 0.5}
    assert values["failures_std"] == pytest.approx(np.std([3, 2], ddof=1))
    assert values["failures_per_100_frames"] == pytest.approx(1.25)
    assert values["robustness_vot2018"] is None  # not the 60 sequences
    assert (values["accuracy"], values["eao"], values["eao_last"]) == (0.6, 0.4, 149)
    many = [VotSequence("a", 150)] * 60
    pooled = vot_analysis.failures(folder, many)["robustness_vot2018"]
    assert pooled == pytest.approx(2 / 213.6752)  # by name: one sequence sixty times
    with pytest.raises(InputError, match="c: no results as text"):
        vot_analysis.failures(folder, [VotSequence("c", 9)])


def test_no_eao_is_explained(tmp_path):
    write_runs(tmp_path / "results" / "dimp" / "baseline", "a", 2)
    space = Workspace(tmp_path, "t", [BASELINE], [VotSequence("a", 150)])
    summary = vot_analysis.summarize(space, "dimp", written_analysis(float("nan"), [0.0] * 80))
    assert summary["experiments"]["baseline"]["eao"] is None
    assert any("no EAO: no run between two starts" in line for line in vot.notes(summary))
    json.dumps(summary, allow_nan=False)
