"""The check command over sequences, image folders and built data."""

import contextlib
import json
import re
from pathlib import Path

from dimp_jax.data import check, records_index
from dimp_jax.data.build import __main__ as build
from dimp_jax.data.builders import sequence_folder
from dimp_jax.data.builders.tracking import Request
from tests.support import data_trees as trees

LENGTHS = {"a": 3, "b": 4, "c": 2, "d": 5}


def command(folder, out):
    base = ["sequence_folder", "--source", str(folder), "--out", str(out), "--name", "mine"]
    return [*base, "--part-frames", "4", "--workers", "1"]


def run_check(directory, capsys, *options):
    status = check.main([str(directory), *options])
    captured = capsys.readouterr()
    counts = {}
    for line in captured.out.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if len(cells) == 2 and cells[1].isdecimal():
            counts[cells[0]] = int(cells[1])
    return status, counts, captured


def test_check_clean(tmp_path, capsys):
    folder, out = trees.sequence_folder(tmp_path / "in", LENGTHS), tmp_path / "out"
    trees.write_lines(folder / "a" / "groundtruth.txt", ["1,2,3,4", "nan,nan,nan,nan", "0,0,0,0"])
    assert build.main(command(folder, out)) == 0
    capsys.readouterr()
    directory = records_index.split_directory(out, "mine", "train")
    for place in (folder, out, out / "mine", directory.parent, directory):
        status, counts, _ = run_check(place, capsys)
        assert status == 0
        expected = {"sequences": 4, "frames": 14, "visible": 12, "absent": 2}
        assert counts == {**dict.fromkeys(check.HEADINGS.values(), 0), **expected}
    with contextlib.chdir(folder / "d"):
        (footage,), _ = sequence_folder.SequenceFolder.list_footage(Request(source=Path(".")))
        assert footage.name == "d"
        status, counts, captured = run_check(".", capsys)  # a single sequence
    assert status == 0 and counts["sequences"] == 1 and counts["frames"] == 5
    assert re.search("┃ +d ┃", captured.out)
    status, counts, _ = run_check(trees.image_folder(tmp_path / "stills"), capsys)
    assert status == 0 and counts["sequences"] == 4


def test_check_says_what_is_wrong_where(tmp_path, capsys):
    folder, out = trees.sequence_folder(tmp_path / "in", LENGTHS), tmp_path / "out"
    trees.truncate(folder / "a" / "img" / "000002.jpg")
    (folder / "b" / "img" / "000004.jpg").unlink()
    trees.write_lines(folder / "c" / "groundtruth.txt", ["1,1,-4,3", "1,2,3"])
    trees.write_lines(folder / "d" / "groundtruth.txt", [*trees.rows_of(4), "90,1,2,2"])
    texts = [
        "a/img/000002.jpg: the image is truncated",
        "b: left out: 4 boxes in groundtruth.txt for 3 images",
        "c/groundtruth.txt: a box without a size, or half a box, in frame 0",
        "c/groundtruth.txt: not four numbers x,y,w,h in frame 1",
        "d: the box is outside the image in frame 4",
    ]
    expected = {"broken images": 1, "bad boxes": 2, "boxes outside": 1, "left out": 3}
    status, counts, captured = run_check(folder, capsys)
    assert status == 1 and counts.items() >= expected.items()
    assert all(text in captured.out for text in texts)
    _, _, captured = run_check(folder, capsys, "--limit", "2")
    assert "and 3 more (--limit 5 shows all)" in captured.out
    _, _, captured = run_check(folder, capsys, "--limit", "0")
    assert captured.out.endswith("\n5 problems (--limit 5 shows all)\n")
    status, _, captured = run_check(folder, capsys, "--limit", "-1")
    assert status == 2 and captured.err == "check: error: --limit -1: expected >= 0\n"

    assert build.main(command(folder, out)) == 0
    capsys.readouterr()
    status, counts, captured = run_check(out, capsys)
    assert status == 1 and counts.items() >= expected.items()
    assert all(text in captured.out for text in texts)
    assert counts["sequences"] == 3 and counts["frames"] == 10 and counts["visible"] == 6


def test_check_damaged_data_set(tmp_path, capsys):
    folder, out = trees.sequence_folder(tmp_path / "in", {"a": 3, "b": 4}), tmp_path / "out"
    assert build.main(command(folder, out)) == 0
    capsys.readouterr()
    directory = records_index.split_directory(out, "mine", "train")
    metadata = json.loads((directory / "metadata.json").read_text())
    metadata["names"] = ["b", "a"]
    (directory / "metadata.json").write_text(json.dumps(metadata))
    status, counts, captured = run_check(out, capsys)
    assert status == 1 and counts["broken images"] == 7
    assert "holds frame 0 of a: the records are out of order" in captured.out
    metadata["lengths"] = [3, 5]
    (directory / "metadata.json").write_text(json.dumps(metadata))
    status, counts, captured = run_check(out, capsys)
    assert status == 1 and "the index does not agree with itself" in captured.out


def test_check_refused(tmp_path, capsys):
    assert check.main([str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert check.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "expected a sequence" in error and "or an image folder (boxes.csv)" in error
