"""The source over built data: pickling, threads, refusals; and the index in the metadata."""

import pickle
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from dimp_jax.data import records, records_index
from dimp_jax.data.build import __main__ as build
from dimp_jax.data.records_index import SequenceIndex
from dimp_jax.data.source import BrokenFrame
from tests.support import ROOT
from tests.support import data_trees as trees


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(folder of the sequences, folder of built data), in several files of records."""
    root = tmp_path_factory.mktemp("records")
    folder = trees.sequence_folder(root / "in", {"a": 4, "b": 3, "c": 5}, suffix=".png")
    options = ["--source", str(folder), "--out", str(root / "out"), "--name", "mine"]
    argv = ["sequence_folder", *options, "--workers", "1", "--part-frames", "4"]
    assert build.main(argv) == 0
    return folder, root / "out"


def image(folder, name, frame):
    return cv2.imread(str(folder / name / "img" / f"{frame + 1:06d}.png"))[..., ::-1]


def test_reads_any_frames_in_any_order(built):
    folder, out = built
    source = records.open_source(out, "mine", min_box_px=2)
    assert len(source) == 3 and source.name == "mine" and not source.masked.any()
    for sequence, name in enumerate("abc"):
        frames = [2, 0, 2, 1]
        for frame, read in zip(frames, source.read(sequence, frames), strict=True):
            np.testing.assert_array_equal(read.image, image(folder, name, frame))
            np.testing.assert_array_equal(read.box_xywh, [5 + frame, 6 + frame, 20, 10])
            assert read.image.dtype == np.uint8 and read.image.flags.c_contiguous
    for frame in (-1, 3):
        with pytest.raises(IndexError, match=rf"sequence b, frame {frame}: the sequence has 3"):
            source.read(1, [frame])
    assert source.read(0, []) == []


def test_min_box_px(built):
    for min_box_px, expected in ((0, True), (9.9, True), (10, True), (10.01, False)):
        source = records.open_source(built[1], "mine", min_box_px=min_box_px)
        assert source.visible(2).tolist() == [expected] * 5
    for wrong in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a length >= 0 in pixels"):
            records.open_source(built[1], "mine", min_box_px=wrong)


def test_pickles_as_its_place(built):
    source = records.open_source(built[1], "mine", min_box_px=3)
    source.read(0, [0])
    data = pickle.dumps(source)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert repr(copy) == repr(source)
    np.testing.assert_array_equal(copy.read(2, [4])[0].image, source.read(2, [4])[0].image)


def test_threads_read_at_once(built):
    folder, out = built
    source = records.open_source(out, "mine", min_box_px=0)
    expected = {(s, f): image(folder, "abc"[s], f) for s in range(3) for f in range(3)}
    faults = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            place = int(rng.integers(3)), int(rng.integers(3))
            if not np.array_equal(source.read(place[0], [place[1]])[0].image, expected[place]):
                faults.append(place)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_missing_data_set(built, tmp_path):
    out = built[1]
    with pytest.raises(FileNotFoundError) as missing:
        records.open_source(out, "got10k", "val", min_box_px=2)
    for text in (
        "no built data set got10k:val in it, but mine:train",
        "python -m dimp_jax.data.build BUILDER --source DIR",
        f"--out {out} --name got10k --split val",
    ):
        assert text in str(missing.value)
    with pytest.raises(FileNotFoundError, match="in it, but nothing"):
        records.open_source(tmp_path, "mine", min_box_px=2)


def test_damaged_files_are_named(built, tmp_path):
    copy = tmp_path / "mine"
    copy.mkdir()
    directory = records_index.split_directory(built[1], "mine", "train")
    target = copy / "train" / "1.0.0"
    target.mkdir(parents=True)
    for path in directory.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    source = records.open_source(tmp_path, "mine", min_box_px=0)
    first, second, third = sorted(target.glob("*array_record*"))
    first.write_bytes(first.read_bytes()[:200])
    with pytest.raises(BrokenFrame, match="00000-of-00003, record 1 of the split: "):
        source.read(0, [1])
    assert len(source.read(2, [1])) == 1
    second.unlink()
    with pytest.raises(BrokenFrame, match="00001-of-00003: no such file"):
        source.read(1, [0])
    with pytest.raises(FileNotFoundError, match="2 of 3 record files"):
        records.open_source(tmp_path, "mine", min_box_px=0)
    (target / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match="1.0.0: not a data set that can be read"):
        records.open_source(tmp_path, "mine", min_box_px=0)


def test_index_survives_the_metadata():
    rng = np.random.default_rng(0)
    lengths = np.array([3, 1, 70, 2])
    boxes = rng.uniform(0, 9, (76, 4))
    boxes[5] = np.nan
    visible = rng.random(76) > 0.3
    visible[5] = False
    boxes[7, 2:], visible[7] = 1e5, True
    boxes[8, 2:], visible[8] = (0.06, 4), True
    codes = records_index.side_codes(boxes, visible)
    index = SequenceIndex(("a", "b", "c", "d"), lengths, codes, np.array([1, 0, 0, 1], bool))
    copy = records_index.from_metadata(records_index.to_metadata(index))
    assert copy.names == index.names and copy.starts.tolist() == [0, 3, 4, 74]
    np.testing.assert_array_equal(copy.side_codes, codes)
    np.testing.assert_array_equal(copy.masked, index.masked)
    side = np.min(boxes[:, 2:], axis=1)
    for min_box_px in (0.125, 2.0, 4.5):  # whole steps: exact
        expected = visible & (side >= min_box_px)
        np.testing.assert_array_equal(copy.visible(min_box_px), expected)
    assert copy.visible(0)[7] and copy.visible(1000)[7] and not copy.visible(0)[8]
    both = records_index.concatenate([index, copy])
    assert both.names == index.names * 2 and both.starts[4] == 76 and len(both.side_codes) == 152


def test_workers_start_without_jax():
    code = (
        "import sys, dimp_jax.data.records, dimp_jax.data.build, dimp_jax.data.check;"
        "import dimp_jax.data.build.workers, dimp_jax.data.builders.davis; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dimp_jax.data.builders.davis" in loaded
    assert not {"jax", "flax", "tensorflow", "torch"} & loaded


THREADS = """
import os, sys, threading, time
sys.path.insert(0, {root!r})
from dimp_jax.data import records

def first_use(delay_s):
    time.sleep(delay_s)
    records._example()

threads = [threading.Thread(target=first_use, args=(0.02 * k,), daemon=True) for k in range(60)]
for thread in threads:
    thread.start()
until = time.monotonic() + 60
for thread in threads:
    thread.join(max(0, until - time.monotonic()))
print(sum(thread.is_alive() for thread in threads), flush=True)
os._exit(0)
"""


def test_threads_that_read_their_first_record_do_not_wait_for_each_other():
    """Without a lock one process in three hung: the library's modules are loaded at first use."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS.format(root=str(ROOT))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "0\n", done.stderr
