"""The build command: kill and resume, refusals, worker processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader
from rich.console import Console
from tensorflow_datasets.proto import tf_example_pb2

from dimp_jax.data import check, records, records_index
from dimp_jax.data.build import __main__ as build
from dimp_jax.data.build import parts, workers
from dimp_jax.data.builders.tracking import Request
from dimp_jax.host import files
from dimp_jax.media.images import InputError
from tests.support import ROOT
from tests.support import data_trees as trees

SHARED = ROOT.parent / "shared" / "sequences"
LENGTHS = {"a": 3, "b": 4, "c": 2, "d": 5}


def command(folder, out, *options):
    base = ["sequence_folder", "--source", str(folder), "--out", str(out), "--name", "mine"]
    return [*base, "--part-frames", "4", "--workers", "1", *options]


def split_contents(out):
    """{name: text of the file, or records in it}, whose bytes may differ in the order of fields."""
    directory = records_index.split_directory(out, "mine", "train")
    contents = {}
    for path in directory.iterdir():
        if "array_record" in path.name:
            reader = ArrayRecordReader(str(path))
            rows = reader.read(list(range(reader.num_records())))
            contents[path.name] = [tf_example_pb2.Example.FromString(row) for row in rows]
        else:
            contents[path.name] = path.read_text()
    return contents


def test_a_build_that_was_cut_short_goes_on(tmp_path, monkeypatch, capsys):
    folder = trees.sequence_folder(tmp_path / "in", LENGTHS)
    assert build.main(command(folder, tmp_path / "straight")) == 0
    done = []
    build_part = parts.build_part

    def dies_in_the_third(*part):
        if len(done) == 2:
            done.append("cut")
            for count in range(2):  # leaves half a part behind
                trees.write_image(part[3] / "data" / f"{count}.jpg", count)
            raise KeyboardInterrupt
        build_part(*part)
        done.append(part[3].name)

    monkeypatch.setattr(parts, "build_part", dies_in_the_third)
    out = tmp_path / "out"
    assert build.main(command(folder, out)) == 130
    assert "the same command goes on" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="its build is not finished: give its command"):
        records.open_source(out, "mine", min_box_px=0)

    assert build.main(command(folder, out, "--part-frames", "7")) == 2
    assert "frames a part 4 then, 7 now" in capsys.readouterr().err
    os.utime(folder / "b" / "groundtruth.txt")
    assert build.main(command(folder, out)) == 0
    assert "train.building: was built before 1 file changed" in capsys.readouterr().err
    assert done == ["part-00000", "part-00001", "cut", "part-00002", "part-00003"]
    assert split_contents(out) == split_contents(tmp_path / "straight")
    assert {p.name for p in (out / "mine").iterdir()} == {"train", ".train.lock"}


@pytest.mark.slow
def test_killed_with_its_workers_and_resumed(tmp_path):
    """kill -9 of the parent: the workers end too, and the same command finishes the job."""
    folder = trees.sequence_folder(tmp_path / "in", {f"s{k}": 150 for k in range(8)})
    out = tmp_path / "out"
    arguments = command(folder, out, "--workers", "2", "--part-frames", "150")
    module = [sys.executable, "-m", "dimp_jax.data.build", *arguments]
    process = subprocess.Popen(module, stderr=subprocess.DEVNULL, start_new_session=True)
    work = out / "mine" / "train.building"
    deadline = time.monotonic() + 100
    while not list(work.glob("*/part.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while group_is_alive(process.pid):
        assert time.monotonic() < deadline, "a worker outlived the build"
        time.sleep(0.1)
    assert records_index.split_directory(out, "mine", "train") is None
    built_before = {path: path.stat().st_mtime_ns for path in work.glob("*/part.json")}
    assert 0 < len(built_before) < 8
    workers.build_missing(plan_of(folder, out, 150), 1, Console(quiet=True))
    built_after = {path: path.stat().st_mtime_ns for path in work.glob("*/part.json")}
    assert len(built_after) == 8 and built_before.items() <= built_after.items()
    assert subprocess.run(module, stderr=subprocess.DEVNULL, timeout=100).returncode == 0
    source = records.open_source(out, "mine", min_box_px=0)
    assert source.sequence_names == tuple(f"s{k}" for k in range(8))
    assert all(source.visible(s)[:40].all() for s in range(8))


def group_is_alive(group):
    """Whether a process of the group runs; in some containers nobody buries the dead ones."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def plan_of(folder, out, part_frames):
    request = Request(source=folder)
    builder = build.builder_class("sequence_folder")
    return parts.make_plan(builder, request, out / "mine" / "train", part_frames)


def test_stopped_while_joining(tmp_path, monkeypatch):
    folder = trees.sequence_folder(tmp_path / "in", LENGTHS)
    assert build.main(command(folder, tmp_path / "straight")) == 0
    replace, moved = os.replace, []

    def stops(source, target):
        if "array_record" in str(target):
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        replace(source, target)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stops)
        assert build.main(command(folder, out)) == 130
    assert build.main(command(folder, out)) == 0
    assert split_contents(out) == split_contents(tmp_path / "straight")


def test_workers_change_nothing(tmp_path):
    folder = trees.sequence_folder(tmp_path / "in", LENGTHS)
    assert build.main(command(folder, tmp_path / "one")) == 0
    assert build.main(command(folder, tmp_path / "two", "--workers", "2")) == 0
    assert split_contents(tmp_path / "one") == split_contents(tmp_path / "two")


def test_built_already_and_built_from_something_else(tmp_path, capsys):
    folder, out = trees.sequence_folder(tmp_path / "in", LENGTHS), tmp_path / "out"
    assert build.main(command(folder, out)) == 0
    before = split_contents(out)
    assert "mine:train, frames: 14 of 14\n" in capsys.readouterr().err
    assert build.main(command(folder, out, "--part-frames", "99")) == 0  # the same data
    assert "built already, nothing to do" in capsys.readouterr().err
    lines = folder / "a" / "groundtruth.txt"
    lines.write_text(lines.read_text().replace("5,", "4,"))  # corrected afterwards
    assert build.main(command(folder, out)) == 0
    told = capsys.readouterr().err
    assert "train/1.0.0: was built before 1 file changed (" in told and str(lines) in told
    assert "delete that folder" in told and "nothing to do" not in told
    names = tmp_path / "names.txt"
    names.write_text("b\n")
    assert build.main(command(folder, out, "--exclude", str(names))) == 2
    error = capsys.readouterr().err
    assert "excluded names 0 then, 1 now" in error and "choose another --name or --out" in error
    trees.sequence_folder(folder, {"e": 2})
    assert build.main(command(folder, out)) == 2
    assert "videos or images 4 then, 5 now" in capsys.readouterr().err
    assert split_contents(out) == before
    assert build.main(command(folder, out, "--exclude", str(names), "--split", "less")) == 0
    less = records.open_source(out, "mine", "less", min_box_px=0)
    assert less.sequence_names == ("a", "c", "d", "e")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "/none"), "/none: no such folder: expected a sequence (img/*.jpg or *.png"),
        (("--workers", "0"), "--workers 0: expected >= 1"),
        (("--part-frames", "0"), "--part-frames 0: expected >= 1"),
        (("--name", "../x"), "--name '../x': expected letters, digits and underscores"),
        (("--split", "a b"), "--split 'a b': expected letters"),
        (("--split-file", "x"), "--split-file is for lasot, not for sequence_folder"),
        (("--exclude", "/none"), "/none: cannot be read as text (No such file or directory)"),
    ],
)
def test_refused(tmp_path, capsys, options, message):
    folder = trees.sequence_folder(tmp_path / "in", {"a": 2})
    out = tmp_path / "out"
    assert build.main(command(folder, out, *options)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()


def test_names_that_are_not_utf8(tmp_path, capfd):
    """`check` leaves them out, with the rest of the folder; a build must have them renamed."""
    folder, out = trees.sequence_folder(tmp_path / "in", {"a": 2, "b": 2}), tmp_path / "out"
    renamed = (folder / "b").rename(os.fsdecode(bytes(folder) + b"/h\xfcnd"))
    assert build.main(command(folder, out)) == 2
    error = capfd.readouterr().err
    assert error == "build: error: 'h\\udcfcnd' is not UTF-8: rename it\n" and not out.exists()
    for place, frames in ((folder, 2), (renamed, 0)):
        assert check.main([str(place)]) == 1
        printed = capfd.readouterr().out
        assert "left out: 'h\\udcfcnd' is not UTF-8: rename it" in printed
        assert re.search(rf"frames +│ +{frames} ", printed)


def test_usage(capsys):
    for argv in ([], ["mnist", "--source", "x", "--out", "y"]):
        with pytest.raises(SystemExit) as stop:
            build.main(argv)
        assert stop.value.code == 2
    capsys.readouterr()


def test_nothing_usable(tmp_path, capsys):
    folder = trees.sequence_folder(tmp_path / "in", {"a": 2})
    (folder / "a" / "groundtruth.txt").write_text("")
    assert build.main(command(folder, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "nothing in it can be used; 1 problems, the first: " in error
    assert "groundtruth.txt: no boxes in it" in error
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_part_without_a_usable_sequence(tmp_path):
    folder, out = trees.sequence_folder(tmp_path / "in", LENGTHS), tmp_path / "out"
    (folder / "b" / "groundtruth.txt").unlink()  # all of the second part
    assert build.main(command(folder, out)) == 0
    assert records.open_source(out, "mine", min_box_px=0).sequence_names == ("a", "c", "d")


def test_one_build_at_a_time(tmp_path, capsys):
    folder, out = trees.sequence_folder(tmp_path / "in", {"a": 2}), tmp_path / "out"
    with files.alone(plan_of(folder, out, 4).lock, InputError("held")):
        assert build.main(command(folder, out)) == 2
    assert "another build of it is running" in capsys.readouterr().err


def test_exclude_must_fit(tmp_path):
    folder = trees.sequence_folder(tmp_path / "in", {"a": 2})
    request = Request(source=folder, exclude=("a",))
    with pytest.raises(InputError, match="nothing is left to build after --exclude"):
        plan = parts.make_plan(
            build.builder_class("sequence_folder"), request, tmp_path / "x" / "train", 4
        )
        del plan


def overlap(first_xywh, second_xywh):
    corners = np.stack([first_xywh, second_xywh])
    corners[:, 2:] += corners[:, :2]
    sides = np.maximum(corners[:, 2:].min(axis=0) - corners[:, :2].max(axis=0), 0)
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    return sides.prod() / (areas.sum() - sides.prod())


@pytest.mark.skipif(not (SHARED / "train").is_dir(), reason="../shared/sequences is not there")
def test_real_sequences(tmp_path):
    """Masks of real sequences agree with their boxes, through the build and the reader."""
    from dimp_jax.data.builders.davis import hull_xywh

    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((SHARED / "train").iterdir())[:3]:
        (folder / path.name).symlink_to(path)
    assert build.main(command(folder, tmp_path / "out")) == 0
    source = records.open_source(tmp_path / "out", "mine", min_box_px=2)
    assert len(source) == 3 and source.masked.all()
    for sequence in range(3):
        frames = np.flatnonzero(source.visible(sequence))[:8]
        for frame, read in zip(frames, source.read(sequence, frames), strict=True):
            # Scaled down apart from each other, and thin ends of a mask are lost in that.
            mask = source.mask(sequence, frame)
            assert mask.shape == read.image.shape[:2]
            assert overlap(hull_xywh(mask), read.box_xywh) > 0.9
