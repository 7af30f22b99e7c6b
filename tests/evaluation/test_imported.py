"""Other trackers' raw results: layouts, names of sequences, and what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from dimp_jax.evaluation import datasets, results
from dimp_jax.evaluation.exchange import imported, layouts
from dimp_jax.media.images import ImageFrames, InputError
from dimp_jax.media.sequences import Sequence
from tests.support.hidden_files import sprinkle

FRAMES = 6
TRUTH = np.array([[8.0 + i, 10.0, 12.0, 12.0] for i in range(FRAMES)])
NAMES = ("Jogging_1", "Jogging_2", "Human4_2", "CarScale")


def sequences_of(names, frames=FRAMES):
    """Stands for `datasets.load`: no images are needed to score boxes."""
    paths = (Path("x.jpg"),) * frames
    return [Sequence(name, ImageFrames(paths), TRUTH[:frames], TRUTH[0]) for name in names]


@pytest.fixture
def otb(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, **_: sequences_of(NAMES))


def write(path, rows, separator=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.asarray(rows).reshape(len(rows), -1).tolist()
    path.write_text("".join(separator.join(f"{v:g}" for v in row) + "\n" for row in rows))


def run(directory, layout, out, *more, dataset="otb100"):
    where = ["--dataset", dataset, "--data-dir", "DATA", "--out", str(out)]
    return imported.main([str(directory), "--layout", layout, *where, *more])


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def make_pytracking(root):
    """Two runs of integers between tabs, the second 3 px to the right."""
    for number in range(2):
        for name in ("Jogging_1", "Jogging_2", "Human4_2", "CarScale"):
            path = root / "dimp" / f"dimp50_{number:03d}" / f"{name}.txt"
            write(path, TRUTH + [3 * number, 0, 0, 0], "\t")
            write(path.with_name(f"{name}_time.txt"), [1.0] + [0.125] * (FRAMES - 1))
    return root / "dimp" / "dimp50"


def test_pytracking_runs_become_runs(tmp_path, otb, capsys):
    assert run(make_pytracking(tmp_path), "pytracking", tmp_path / "out", "--name", "DiMP-50") == 0
    out = tmp_path / "out"
    assert files(out) == sorted(
        [f"{n}.txt" for n in NAMES]
        + [f"{n}_time.txt" for n in NAMES]
        + ["config.json", "input.json", "run1", "summary.json"]
    )
    assert results.count_runs(out) == 2 and len(files(results.run_folder(out, 1))) == 8
    boxes, times_s = results.read_sequence(results.run_folder(out, 1), "Jogging_2")
    np.testing.assert_array_equal(boxes, TRUTH + [3, 0, 0, 0])
    np.testing.assert_array_equal(times_s, [1] + [0.125] * 5)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rule"] == "otb" and summary["runs"] == 2 and summary["failed"] == {}
    # Overlaps: 1, and 0.6 for 9 of 15 px but for the first frame, which is the given one.
    assert summary["mean"]["auc"] == pytest.approx(np.mean([20 / 21, (5 * 12 + 20) / 6 / 21]))
    assert summary["mean"]["fps"] == pytest.approx(8)
    assert json.loads((out / "config.json").read_text())["name"] == "DiMP-50"
    described = json.loads((out / "input.json").read_text())
    assert described["dataset"] == "otb100" and described["data_dir"] == str(Path("DATA").resolve())
    printed = capsys.readouterr().out
    assert "the first box is not the data set's in 4 sequences (most in Jogging_1: by 3 px)" in (
        printed.replace("run 1: ", "")
    )
    assert files(tmp_path) == ["dimp", "out"]


def test_pytracking_folders(tmp_path):
    setting = make_pytracking(tmp_path)
    both = layouts.pytracking(setting)
    assert [run["CarScale"].boxes.parent.name for run in both] == ["dimp50_000", "dimp50_001"]
    assert layouts.pytracking(setting.parent) == both
    (one,) = layouts.pytracking(setting.parent / "dimp50_001")
    assert one == both[1]
    write(setting.parent / "dimp18" / "CarScale.txt", TRUTH)
    with pytest.raises(InputError, match="several settings: .*/dimp/dimp18, .*/dimp/dimp50$"):
        layouts.pytracking(setting.parent)
    (one,) = layouts.pytracking(setting.parent / "dimp18")
    assert list(one) == ["CarScale"] and one["CarScale"].times is None


def test_hidden_files_are_no_results(tmp_path):
    param = make_pytracking(tmp_path)
    before = layouts.pytracking(param)
    sprinkle(tmp_path)
    assert layouts.pytracking(param) == before


def test_pysot_has_no_times_and_its_own_names(tmp_path, otb, capsys):
    for stem in ("Jogging-1", "jogging.2", "Human4", "Carscale"):
        write(tmp_path / "SiamRPN" / f"{stem}.txt", TRUTH + 0.25)
    write(tmp_path / "SiamRPN" / "Walking.txt", TRUTH)
    assert run(tmp_path / "SiamRPN", "pysot", tmp_path / "out") == 0
    boxes, times_s = results.read_sequence(tmp_path / "out", "Human4_2")
    np.testing.assert_array_equal(boxes, TRUTH + 0.25)
    assert not times_s.any()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["sequences"]) == list(NAMES) and summary["mean"]["fps"] is None
    printed = capsys.readouterr().out
    assert "left out, of no sequence: Walking (1 files)" in printed
    assert "no usable times of Jogging_1, Jogging_2, Human4_2, CarScale (4 seq" in printed
    assert json.loads((tmp_path / "out" / "config.json").read_text())["name"] == "SiamRPN"


def test_got10k_of_other_data_sets(tmp_path, otb):
    for name in ("Jogging.1", "Jogging.2", "Human4", "CarScale"):
        write(tmp_path / "x" / f"{name}.txt", TRUTH)
        write(tmp_path / "x" / "times" / f"{name}_time.txt", [0.5] * FRAMES)
    assert run(tmp_path / "x", "got10k", tmp_path / "out") == 0
    assert results.read_sequence(tmp_path / "out", "Jogging_1")[1].tolist() == [0.5] * FRAMES


def test_got10k_repetitions_take_the_last_columns_of_the_times(tmp_path, monkeypatch):
    names = ["GOT-10k_Val_000001", "GOT-10k_Val_000002"]
    found = sequences_of(names)
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, **_: found)
    for name, columns in zip(names, (2, 5), strict=True):
        for repetition in (1, 2):
            boxes = TRUTH + [repetition, 0, 0, 0]
            write(tmp_path / "x" / name / f"{name}_{repetition:03d}.txt", boxes)
        times = np.tile(np.arange(columns) + 1.0, (FRAMES, 1))
        write(tmp_path / "x" / name / f"{name}_time.txt", times)
    out = tmp_path / "out"
    assert run(tmp_path / "x", "got10k", out, dataset="got10k_val") == 0
    times_s = [
        results.read_sequence(results.run_folder(out, r), n)[1] for n in names for r in (0, 1)
    ]
    assert [t.tolist() for t in times_s] == [[v] * FRAMES for v in (1, 2, 4, 5)]
    assert results.read_sequence(out / "run1", names[0])[0][0, 0] == TRUTH[0, 0] + 2
    (tmp_path / "x" / names[1] / f"{names[1]}_001.txt").unlink()
    runs = layouts.got10k(tmp_path / "x")
    assert names[1] not in runs[0] and runs[1][names[1]].column == -1
    write(tmp_path / "x" / names[1] / f"{names[1]}_001.txt", TRUTH)
    (tmp_path / "x" / names[1] / f"{names[1]}_002.txt").rename(
        tmp_path / "x" / names[1] / f"{names[1]}_003.txt"
    )
    runs = layouts.got10k(tmp_path / "x")
    assert [run[names[1]].column for run in (runs[0], runs[2])] == [-3, -1]


def test_what_is_missing_is_stated_and_kept_in_the_folder(tmp_path, otb, capsys):
    write(tmp_path / "x" / "Jogging-1.txt", TRUTH)
    write(tmp_path / "x" / "Jogging-2.txt", TRUTH[:-1])
    assert run(tmp_path / "x", "pysot", tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "3 of 4 sequences are missing: Jogging_2, Human4_2, CarScale" in printed
    assert "x/Jogging-2.txt: 5 boxes for 6 frames" in printed
    assert results.read_error(tmp_path / "out", "CarScale") == imported.MISSING + "\n"
    assert "5 boxes for 6 frames" in results.read_error(tmp_path / "out", "Jogging_2")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["failed"]) == ["Jogging_2", "Human4_2", "CarScale"]


def test_boxes_that_cannot_be_scored_are_missing(tmp_path, otb, capsys):
    write(tmp_path / "x" / "Jogging-1.txt", TRUTH)
    write(tmp_path / "x" / "CarScale.txt", [*TRUTH[:-1], [8, 10, -1, 12]])
    assert run(tmp_path / "x", "pysot", tmp_path / "out", dataset="folder") == 1
    printed = capsys.readouterr().out
    assert "CarScale, rule 'visible': the predicted box of frame 6 has a negative size\n" in printed
    assert results.read_sequence(tmp_path / "out", "Jogging_1") is not None


def test_lasot_predictions_are_cut_to_the_annotation(tmp_path, monkeypatch, capsys):
    found = sequences_of(["monkey-17"], frames=4)
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, **_: found)
    write(tmp_path / "x_000" / "monkey-17.txt", TRUTH)
    write(tmp_path / "x_000" / "monkey-17_time.txt", [1.0] * FRAMES)
    assert run(tmp_path / "x", "pytracking", tmp_path / "out", dataset="lasot") == 0
    boxes, times_s = results.read_sequence(tmp_path / "out", "monkey-17")
    np.testing.assert_array_equal(boxes, TRUTH[:4])
    assert times_s.tolist() == [1] * 4
    assert "monkey-17: 6 boxes, cut to 4 frames with a box" in capsys.readouterr().out


def test_names():
    ours = ["nfs_Gymnastics", "uav_car1_2", "uav_car12", "GOT-10k_Val_000001", "-aB", "-ab"]
    given = ["gymnastics", "car1-2", "car12", "GOT-10k_Val_000001", "-ab", "_AB", "car1"]
    matched, strays = layouts.match_names(given, ours)
    assert matched == {
        "gymnastics": "nfs_Gymnastics",
        "car1-2": "uav_car1_2",
        "car12": "uav_car12",
        "GOT-10k_Val_000001": "GOT-10k_Val_000001",
        "-ab": "-ab",
    }
    assert strays == ["_AB", "car1"]  # not -aB: it could be either
    with pytest.raises(InputError, match="'car1-2' and 'car1_2' are both the sequence uav_car1_2"):
        layouts.match_names(["car1-2", "car1_2"], ours)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2,3,4\n1,2,x,4\n", "line 2: '1,2,x,4': expected 4 finite numbers"),
        ("1,2,3,nan\n", "line 1: '1,2,3,nan': expected 4 finite numbers"),
        ("1\n2\n0\n", "line 1: '1': expected 4 finite"),  # a VOT file of pysot
        ("\n", "CarScale.txt: no boxes in it"),
    ],
)
def test_unreadable_boxes_are_refused_and_nothing_is_left(tmp_path, otb, capsys, content, message):
    write(tmp_path / "x" / "Jogging_1.txt", TRUTH)
    (tmp_path / "x" / "CarScale.txt").write_text(content)
    assert run(tmp_path / "x", "pysot", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert files(tmp_path) == ["x"]


@pytest.mark.parametrize("content", ["1\n" * 5, "x\n" * 6, "1\n" * 5 + "nan\n", "-1\n" * 6])
def test_times_that_do_not_fit_are_left_out(tmp_path, content):
    (tmp_path / "a_time.txt").write_text(content)
    found = layouts.Files(tmp_path / "a.txt", tmp_path / "a_time.txt")
    assert layouts.read_times(found, FRAMES) is None


@pytest.mark.parametrize(
    ("layout", "dataset", "message"),
    [
        ("pysot", "vot2018", "restart after a failure, not one box a frame"),
        ("pysot", "otb100", "no results of a tracker in it: expected <sequence>.txt"),
        ("got10k", "otb100", "expected <sequence>/<sequence>_001.txt or <sequence>.txt"),
        ("pytracking", "otb100", "expected <param>_000/<sequence>.txt"),
        ("strange", "otb100", "none of its 1 results (Walking) is named like a sequence of otb100"),
        ("gone", "otb100", "gone: no such folder"),
        ("used", "otb100", "used: is not empty: choose another --out"),
    ],
)
def test_refusals(tmp_path, otb, capsys, layout, dataset, message):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "strange" / "Walking.txt", TRUTH)
    write(tmp_path / "used" / "notes.txt", TRUTH)
    directory = tmp_path / (layout if layout in ("strange", "gone") else "empty")
    out = tmp_path / ("used" if layout == "used" else "out")
    layout = layout if layout in layouts.LAYOUTS else "pysot"
    assert run(directory, layout, out, dataset=dataset) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
