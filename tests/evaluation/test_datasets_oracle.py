"""The got10k package (MIT, test extra) reads the same frames and boxes from the same copies."""

import numpy as np
import pytest

from dimp_jax.evaluation import datasets
from tests.support import benchmark_trees as trees

oracle = pytest.importorskip("got10k.datasets", reason="the test extra is not installed")


def assert_same(ours, theirs):
    image_files, boxes = theirs
    assert [str(path) for path in ours.frames.paths] == image_files
    np.testing.assert_array_equal(ours.groundtruth, boxes)


def test_otb(tmp_path):
    theirs = oracle.OTB(str(trees.make_otb(tmp_path)), 2015, download=False)
    # It looks for .jpg only, and begins Tiger1 with the first frame.
    names = [name for name in trees.OTB if name not in ("KiteSurf", "Tiger1")]
    for sequence in datasets.load("otb100", tmp_path, only=names):
        name = sequence.name.replace("Human4_2", "Human4").replace("_", ".")
        assert_same(sequence, theirs[name])
    (tiger,) = datasets.load("otb100", tmp_path, only=["Tiger1"])
    image_files, boxes = theirs["Tiger1"]
    assert_same(tiger, (image_files[5:], boxes[5:]))


def test_nfs(tmp_path):
    theirs = oracle.NfS(str(trees.make_nfs(tmp_path)), fps=30)
    for sequence in datasets.load("nfs", tmp_path, only=trees.NFS):
        assert_same(sequence, theirs[sequence.name.removeprefix("nfs_")])


def test_uav123(tmp_path):
    trees.make_uav123(tmp_path)
    for other in ("a", "b"):  # it wants more than three things in the folder
        (tmp_path / other).mkdir()
    trees.write_frames(tmp_path / "data_seq" / "UAV123" / "bird1", range(1, 254), "{:06d}.jpg")
    lines = ["NaN,NaN,NaN,NaN" if i % 9 == 5 else trees.rows([i])[0] for i in range(1, 254)]
    trees.write_lines(tmp_path / "anno" / "UAV123" / "bird1_1.txt", lines)
    (sequence,) = datasets.load("uav123", tmp_path, only=["uav_bird1_1"])
    assert_same(sequence, oracle.UAV123(str(tmp_path))["bird1_1"])


def test_got10k(tmp_path):
    theirs = oracle.GOT10k(str(trees.make_got10k(tmp_path)), "val", return_meta=True)
    for sequence in datasets.load("got10k_val", tmp_path):
        *footage, meta = theirs[sequence.name]
        assert_same(sequence, footage)
        np.testing.assert_array_equal(sequence.visible, meta["cover"] > 0)
        assert meta["resolution"] == "({:.0f}, {:.0f})".format(*sequence.bound_wh)


def test_vot2018(tmp_path):
    trees.make_vot2018(tmp_path)
    for name in trees.VOT2018:  # it expects the layout of older copies
        for path in (tmp_path / name / "color").iterdir():
            path.rename(tmp_path / name / path.name)
        (tmp_path / name / "color").rmdir()
    theirs = oracle.VOT(str(tmp_path), 2018, download=False)
    for sequence in datasets.load("vot2018", tmp_path):
        assert_same(sequence, theirs[sequence.name])
