"""Archives for the servers: what the writer makes, what it refuses, and what the checker finds."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dimp_jax.evaluation import identity, inputs, results
from dimp_jax.evaluation.exchange import submission, submission_check
from dimp_jax.media.images import ImageFrames, InputError
from dimp_jax.media.sequences import Sequence
from tests.support import benchmark_trees

LOAD = submission.datasets.load
LENGTHS = {"a": 3, "b": 4}
GIVEN = [10.25, 20.5, 30.0, 40.0]
GIVEN_ROW = "10.25,20.50,30.00,40.00\n"  # written by hand, as other toolkits write them
EXPECTED = {name: submission_check.Expected(n, np.array(GIVEN)) for name, n in LENGTHS.items()}
GOOD = {"trackingnet": {f"{s}.txt": GIVEN_ROW * n for s, n in LENGTHS.items()}}
GOOD["lasot"] = {f"t_tracking_result/{s}.txt": GIVEN_ROW * n for s, n in LENGTHS.items()}
GOOD["got10k"] = {
    f"{s}/{s}_{what}.txt": row * n
    for s, n in LENGTHS.items()
    for what, row in {
        **dict.fromkeys(("001", "002", "003"), GIVEN_ROW),
        "time": "1,.5,2e-3\n",
    }.items()
}


def sequences_of(dataset, data_dir):
    """Stands for `datasets.load`: no images are needed to pack boxes."""
    return [
        Sequence(name, ImageFrames((Path("x.jpg"),) * count), None, np.array(GIVEN))
        for name, count in LENGTHS.items()
    ]


@pytest.fixture(autouse=True)
def data_set(monkeypatch):
    monkeypatch.setattr(submission.datasets, "load", sequences_of)
    for server in submission_check.SEQUENCES:
        monkeypatch.setitem(submission_check.SEQUENCES, server, len(LENGTHS))


def make_results(out, dataset, *, runs=1, **source):
    """A results folder; box x + frame, + 0.5 a run; seconds 1, 2, .., + 100 a run."""
    described = inputs.describe(
        inputs.Source(dataset=dataset, data_dir="DATA", **source), checkpoint=None
    )
    identity.make_folder(out, config={}, inputs=described)
    for run in range(runs):
        folder = results.run_folder(out, run)
        folder.mkdir(exist_ok=True)
        for name, count in LENGTHS.items():
            boxes = np.tile(GIVEN, (count, 1))
            boxes[1:, 0] += np.arange(1, count) + run / 2
            results.write_sequence(folder, name, boxes, np.arange(1, count + 1) + 100 * run)
    return out


def pack(out, server, to, *more):
    return submission.main([str(out), "--server", server, "--to", str(to), *more])


def test_a_copy_of_the_data_set_is_read_by_its_own_reader(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(submission.datasets, "load", LOAD)
    data_dir = benchmark_trees.make_got10k(tmp_path / "data", "test")
    described = inputs.describe(
        inputs.Source(dataset="got10k_test", data_dir=str(data_dir)), checkpoint=None
    )
    out = tmp_path / "out"
    identity.make_folder(out, config={}, inputs=described)
    for run in range(3):
        folder = results.run_folder(out, run)
        folder.mkdir(exist_ok=True)
        for name in benchmark_trees.GOT10K_TEST:
            results.write_sequence(folder, name, [benchmark_trees.box(1)] * 4, [0.5] * 4)
    assert pack(out, "got10k", tmp_path / "x.zip") == 0
    command = ["--check", str(tmp_path / "x.zip"), "--server", "got10k", "--dataset-dir"]
    assert submission.main([*command, str(data_dir)]) == 0
    benchmark_trees.write_lines(data_dir / "test" / "list.txt", benchmark_trees.GOT10K_TEST[:1])
    assert submission.main([*command, str(data_dir)]) == 1
    problems = capsys.readouterr().out.splitlines()[2:]
    assert problems[0] == "1 sequences in the data set's folder: expected 2"
    assert problems[1] == "GOT-10k_Test_000002/GOT-10k_Test_000002_001.txt: does not belong there"


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_got10k_has_a_file_and_a_column_of_times_for_every_run(tmp_path, capsys):
    out = make_results(tmp_path / "out", "got10k_test", runs=4)
    assert pack(out, "got10k", tmp_path / "x.zip") == 0
    assert "8 files, as got10k asks for them" in capsys.readouterr().out
    files = contents(tmp_path / "x.zip")
    assert list(files) == sorted(GOOD["got10k"])
    rows = files["a/a_003.txt"].splitlines()
    assert rows[:2] == ["10.2500,20.5000,30.0000,40.0000", "12.2500,20.5000,30.0000,40.0000"]
    times = files["a/a_time.txt"].splitlines()
    assert times[1] == "2.00000000,102.00000000,202.00000000" and len(times) == 3
    first = (tmp_path / "x.zip").read_bytes()
    again = make_results(tmp_path / "again", "got10k_test", runs=3)
    assert pack(again, "got10k", tmp_path / "y.zip") == 0
    assert (tmp_path / "y.zip").read_bytes() == first


def test_trackingnet_is_flat_and_lasot_in_the_folder_of_the_tracker(tmp_path, capsys):
    out = make_results(tmp_path / "out", "trackingnet", runs=2)
    assert pack(out, "trackingnet", tmp_path / "t.zip", "--run", "1") == 0
    files = contents(tmp_path / "t.zip")
    assert list(files) == ["a.txt", "b.txt"] and "\n11.7500,20.5000," in files["a.txt"]
    out = make_results(tmp_path / "ours", "lasot")
    assert pack(out, "lasot", tmp_path / "l.zip") == 0
    assert list(contents(tmp_path / "l.zip")) == [f"ours_tracking_result/{s}.txt" for s in "ab"]
    assert pack(out, "lasot", tmp_path / "results", "--tracker", "dimp50") == 0
    folder = tmp_path / "results" / "dimp50_tracking_result"
    assert [p.name for p in sorted(folder.iterdir())] == ["a.txt", "b.txt"]
    assert list(folder.parent.iterdir()) == [folder]
    assert submission_check.check(folder, "lasot", EXPECTED) == []
    assert pack(out, "lasot", tmp_path / "results", "--tracker", "dimp50") == 2
    assert "dimp50_tracking_result: exists: choose another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "source", "message"),
    [
        ("got10k", {"dataset": "got10k_test"}, "has 1 of the 3 runs .* again with --runs 3"),
        (
            "got10k",
            {"dataset": "got10k_val"},
            "results of got10k_val, .* --dataset got10k_test .*3",
        ),
        ("lasot", {"dataset": None, "data": "D"}, "results of .*/D, and this server scores lasot"),
        (
            "lasot",
            {"dataset": "lasot", "frames": 2},
            "made with --frames, so it is a part of lasot",
        ),
        ("lasot", {"dataset": "lasot", "only": ("a", "b")}, "made with --sequences"),
    ],
)
def test_results_of_something_else_are_refused(tmp_path, server, source, message):
    out = make_results(tmp_path / "out", **source)
    args = submission.Arguments(out=out, server=server, to=tmp_path / "x.zip")
    with pytest.raises(InputError, match=message):
        submission.pack(args)
    assert not (tmp_path / "x.zip").exists()


def test_incomplete_results_are_refused_and_named(tmp_path, capsys):
    out = make_results(tmp_path / "out", "got10k_test", runs=3)
    (out / "run1" / "a.txt").unlink()
    results.write_error(out / "run1", "a", "Traceback")
    (tmp_path / "x.zip").write_text("earlier")
    assert pack(out, "got10k", tmp_path / "x.zip") == 2
    error = capsys.readouterr().err
    assert "run1: incomplete: 1 of 2 sequences have no results (1 of them failed): a:" in error
    assert error.count("\n") == 1 and (tmp_path / "x.zip").read_text() == "earlier"


def test_what_the_server_would_refuse_is_not_written(tmp_path, capsys):
    out = make_results(tmp_path / "out", "trackingnet")
    results.write_sequence(out, "a", [GIVEN, [1, 2, 0, 4], [1, 2, -1, 4]], [1, 1, 1])
    assert pack(out, "trackingnet", tmp_path / "x.zip") == 2
    assert "x.zip: not written, it would be refused: a.txt, line 2" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server", "got10k"], "give a results folder OUT to pack, or --check FILE"),
        (["OUT", "--server", "got10k"], "--to FILE.zip: needed"),
        (["nowhere", "--server", "got10k", "--to", "x.zip"], "nowhere: no such folder"),
        (["OUT", "--server", "got10k", "--to", "x"], "--to x: expected the name of a .zip file"),
        (["OUT", "--server", "trackingnet", "--to", "x.zip", "--run", "1"], "has the runs 0 to 0"),
        (["OUT", "--server", "trackingnet", "--to", "no/x.zip"], "no/x.zip: cannot be written"),
        (["--check", "x.zip", "--server", "got10k"], "--check FILE needs --dataset-dir DIR"),
        (["--check", "x.zip", "--server", "got10k", "--dataset-dir", "."], "x.zip: no such file"),
        (["EMPTY", "--server", "lasot", "--to", "x.zip"], "input.json: cannot be read"),
    ],
)
def test_command_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    make_results(tmp_path / "OUT", "trackingnet")
    (tmp_path / "EMPTY").mkdir()
    monkeypatch.chdir(tmp_path)
    assert submission.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_check_command(tmp_path, capsys):
    path = write_zip(tmp_path / "x.zip", GOOD["got10k"])
    command = ["--check", str(path), "--server", "got10k", "--dataset-dir", "DATA"]
    assert submission.main(command) == 0
    assert "x.zip: nothing is wrong with it" in capsys.readouterr().out
    write_zip(path, {})
    assert submission.main([*command, "--limit", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a/a_001.txt: is missing",
        "a/a_002.txt: is missing",
        "... and 6 more (--limit 8 shows all)",
    ]


@pytest.mark.parametrize("server", GOOD)
def test_good_archives_of_other_hands_pass(tmp_path, server):
    path = write_zip(tmp_path / "x.zip", GOOD[server])
    assert submission_check.check(path, server, EXPECTED) == []
    crlf = {name: text.replace("\n", "\r\n").rstrip() for name, text in GOOD[server].items()}
    assert submission_check.check(write_zip(path, crlf), server, EXPECTED) == []


BOXES, TIMES = "a/a_002.txt", "a/a_time.txt"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({BOXES: None}, f"{BOXES}: is missing"),
        ({"a/a_004.txt": GIVEN_ROW * 3}, "a/a_004.txt: does not belong there"),
        ({"__MACOSX/a": "x"}, "__MACOSX/a: does not belong there"),
        ({BOXES: GIVEN_ROW * 2}, f"{BOXES}: 2 lines for 3 frames"),
        ({BOXES: ""}, f"{BOXES}: 0 lines for 3 frames"),
        (
            {BOXES: GIVEN_ROW * 2 + "1 2 3 4\n"},
            "line 3: '1 2 3 4': expected 4 numbers separated by",
        ),
        ({BOXES: GIVEN_ROW * 2 + "1,2,3\n"}, "line 3: '1,2,3': expected 4 numbers"),
        ({BOXES: GIVEN_ROW * 2 + "1,2,nan,4\n"}, "line 3: '1,2,nan,4': the numbers must be finite"),
        ({BOXES: GIVEN_ROW * 2 + "1,2,3,0\n"}, "line 3: 1,2,3,0: width and height must be > 0"),
        (
            {BOXES: "10.27,20.5,30,40\n" * 3},
            "the first box must be the given one, 10.25,20.5,30,40",
        ),
        ({BOXES: "\ufeff" + GIVEN_ROW * 3}, f"{BOXES}: is not plain text"),
        ({TIMES: None}, f"{TIMES}: is missing"),
        ({TIMES: "1\n" * 3}, f"{TIMES}, line 1: '1': expected 3 numbers separated by commas"),
        ({TIMES: "1,1,1\n" * 4}, f"{TIMES}: 4 lines for 3 frames"),
        ({TIMES: "1,1,1\n" * 2 + "1,0,1\n"}, f"{TIMES}, line 3: 1,0,1: times must be > 0"),
    ],
)
def test_broken_archives(tmp_path, changes, problem):
    files = {n: text for n, text in {**GOOD["got10k"], **changes}.items() if text is not None}
    (found,) = submission_check.check(write_zip(tmp_path / "x.zip", files), "got10k", EXPECTED)
    assert problem in found


def test_folders_at_the_wrong_place(tmp_path):
    check = lambda files, server: submission_check.check(
        write_zip(tmp_path / "x.zip", files), server, EXPECTED
    )
    for server in ("got10k", "trackingnet"):
        (found,) = check({f"top/{n}": text for n, text in GOOD[server].items()}, server)
        assert found == "top/: everything is in this folder; it must be at the top of the archive"
    flat = {name.rpartition("/")[2]: text for name, text in GOOD["lasot"].items()}
    (found,) = check(flat, "lasot")
    assert found == "expected one folder <tracker>_tracking_result at the top, found none"
    two = GOOD["lasot"] | {"u_tracking_result/a.txt": GIVEN_ROW * 3}
    assert "found t_tracking_result, u_tracking_result" in check(two, "lasot")[0]
    (found,) = submission_check.check(tmp_path, "trackingnet", EXPECTED)
    assert found.endswith("a folder, and the server wants a zip file")


def test_damaged_archives(tmp_path):
    path = write_zip(tmp_path / "x.zip", GOOD["trackingnet"])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    (found,) = submission_check.check(path, "trackingnet", EXPECTED)
    assert "x.zip: not a zip file, or damaged" in found
    path.write_bytes(data.replace(b"10.25,", b"11.25,", 1))  # stored, so this is the first box
    (found,) = submission_check.check(path, "trackingnet", EXPECTED)
    assert found.startswith("a.txt: cannot be unpacked (Bad CRC-32")
    flags = data.rindex(b"PK\x01\x02") + 8
    path.write_bytes(data[:flags] + b"\x01" + data[flags + 1 :])
    assert submission_check.check(path, "trackingnet", EXPECTED) == ["b.txt: is encrypted"]
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, text in [*GOOD["trackingnet"].items(), ("a.txt", "")]:
            archive.writestr(name, text)
    (found,) = submission_check.check(path, "trackingnet", EXPECTED)
    assert found == "a.txt: is twice in the archive"
