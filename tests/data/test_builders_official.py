"""Building GOT-10k, LaSOT, TrackingNet and DAVIS: layouts, splits, visibility."""

import io

import numpy as np
import pytest
from PIL import Image

from dimp_jax.data import records
from dimp_jax.data.build import __main__ as build
from dimp_jax.data.builders import (
    annotation_files,
    coco,
    davis,
    got10k,
    lasot,
    sequence_folder,
    trackingnet,
)
from dimp_jax.data.builders.tracking import Request
from tests.support import data_trees as trees
from tests.support.built_data import build_split, check_images, problems, refused
from tests.support.hidden_files import sprinkle


def test_got10k(tmp_path, capsys):
    folder = trees.got10k(tmp_path / "in")
    out = tmp_path / "out"
    source = build_split("got10k", folder, out)
    assert source.sequence_names == tuple(f"GOT-10k_Train_00000{n}" for n in (1, 2, 3))
    for sequence, name in enumerate(source.sequence_names):
        # absent in frame 1, wholly covered in 2
        assert source.visible(sequence).tolist() == [True, False, False, True, True]
        check_images(source, sequence, sorted((folder / "train" / name).glob("*.jpg")))
    (problem,) = problems(out, "got10k")
    assert problem.where.endswith("GOT-10k_Train_000004") and "no such folder" in problem.why

    val = build_split("got10k", folder, out, "--split", "val")
    assert val.sequence_names == ("GOT-10k_Val_000001",) and val.name == "got10k:val"
    assert len(records.open_source(out, "got10k", min_box_px=0)) == 3  # both are there

    listed = tmp_path / "exclude.txt"
    trees.write_lines(listed, ["GOT-10k_Train_000002", "GOT-10k_Train_000004"])
    options = ("--split", "vottrain", "--exclude", str(listed))
    vot = build_split("got10k", folder, out, *options)
    assert vot.sequence_names == ("GOT-10k_Train_000001", "GOT-10k_Train_000003")


def test_got10k_numbers_its_frames(tmp_path):
    folder = trees.got10k(tmp_path / "in")
    first, second = (folder / "train" / f"GOT-10k_Train_00000{n}" for n in (1, 2))
    (first / "00000001.jpg").unlink()  # the others keep their boxes
    trees.write_lines(second / "cover.label", [8, 8, 8])
    trees.write_lines(folder / "train" / "GOT-10k_Train_000003" / "absence.label", ["yes"])
    source = build_split("got10k", folder, tmp_path / "out")
    assert source.visible(0).tolist() == [False, False, False, True, True]
    np.testing.assert_array_equal(source.read(0, [3])[0].box_xywh, [8, 9, 20, 10])
    assert source.visible(1).tolist() == [True, False, True]
    found = [f"{p.where}: {p.why}" for p in problems(tmp_path / "out", "got10k")]
    for text in (
        "000001/00000001.jpg: cannot be read",
        "5 boxes, 5 absence flags, 3 covers: the first 3 frames are used",
        "2 more images than the 3 annotated frames",
        "GOT-10k_Train_000003: left out: ",
        "GOT-10k_Train_000004",
    ):
        assert sum(text in line for line in found) == 1, text
    assert len(found) == 5


def test_refused_got10k(tmp_path, capsys):
    folder, out = trees.got10k(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    listed = tmp_path / "list.txt"
    listed.write_text("a\nb\na\n")
    assert annotation_files.read_names(listed) == ("a", "b")  # each is built once
    listed.unlink()
    assert "test has no boxes" in refused(capsys, "got10k", folder, out, "--split", "test")
    message = refused(capsys, "got10k", folder, out, "--split", "vottrain")
    assert "as --exclude FILE" in message
    options = ("--split", "vottrain", "--exclude", str(listed))
    assert "cannot be read as text (No such file" in refused(
        capsys, "got10k", folder, out, *options
    )
    listed.write_text("3\n17\n")
    assert "numbers, not names of sequences" in refused(capsys, "got10k", folder, out, *options)
    listed.write_text("GOT-10k_Train_000001\nnobody\n")
    assert "1 of its 2 names are not in" in refused(capsys, "got10k", folder, out, *options)
    listed.write_text("nobody\n")
    message = refused(capsys, "got10k", folder, out, "--exclude", str(listed))
    assert "1 of its 1 names are not in" in message and "'nobody' among them" in message
    assert "those there are such as 'GOT-10k_Train_000001'" in message
    message = refused(capsys, "got10k", folder / "train", out)
    assert "expected the folder of GOT-10k with train/list.txt" in message


def test_lasot(tmp_path, capsys):
    folder, out = trees.lasot(tmp_path / "in"), tmp_path / "out"
    source = build_split("lasot", folder, out)
    assert source.sequence_names == ("airplane-1", "book-1", "book-10")
    for sequence in range(3):  # occluded in frame 1, out of view in 2, no size in 3
        assert source.visible(sequence).tolist() == [True, False, False, False]
    check_images(source, 2, sorted((folder / "book" / "book-10" / "img").iterdir()))
    assert build_split("lasot", folder, out, "--split", "test").sequence_names == ("airplane-2",)
    assert problems(out, "lasot") == []

    empty = tmp_path / "empty"
    empty.mkdir()
    listed = folder / "testing_set.txt"
    moved = listed.rename(tmp_path / "tests.txt")
    capsys.readouterr()
    assert "as --split-file FILE" in refused(capsys, "lasot", folder, empty)
    moved.write_text("airplane-1\nbook one\n")
    option = ("--split-file", str(moved))
    assert "'book one': expected names such" in refused(capsys, "lasot", folder, empty, *option)
    moved.write_text("book-1\n")
    options = ("--source", str(folder), "--out", str(out), "--name", "other", "--workers", "1")
    assert build.main(["lasot", *options, *option]) == 0
    source = records.open_source(out, "other", min_box_px=0)
    assert source.sequence_names == ("airplane-1", "airplane-2", "book-10")


def test_trackingnet(tmp_path, capsys):
    folder, out = trees.trackingnet(tmp_path / "in"), tmp_path / "out"
    source = build_split("trackingnet", folder, out, "--split", "train_0")
    assert source.sequence_names == ("a_0",)
    assert source.visible(0).tolist() == [True] * 11 + [False]
    paths = [folder / "TRAIN_0" / "frames" / "a_0" / f"{k}.jpg" for k in range(12)]
    check_images(source, 0, paths)  # 10.jpg after 9.jpg
    for split in ("train", "train_0_1"):
        assert build_split("trackingnet", folder, out, "--split", split).sequence_names == (
            "a_0",
            "b_3",
        )
    capsys.readouterr()
    empty = tmp_path / "empty"
    empty.mkdir()
    for split in ("train_12", "train_3_1", "TEST"):
        message = refused(capsys, "trackingnet", folder, empty, "--split", split)
        assert "expected train, train_0 .. train_11" in message
    message = refused(capsys, "trackingnet", folder, empty, "--split", "train_5")
    assert "TRAIN_5/anno: no *.txt in it" in message


def test_pictures_of_another_size_than_in_got10k_and_davis(tmp_path):
    got10k, davis = trees.got10k(tmp_path / "got10k"), trees.davis(tmp_path / "davis")
    first = got10k / "train" / "GOT-10k_Train_000001"
    (first / "meta_info.ini").write_text("[METAINFO]\nresolution: (64, 48)\n")
    trees.write_image(first / "00000004.jpg", 3, size_wh=(128, 96))
    source = build_split("got10k", got10k, tmp_path / "out")
    assert source.visible(0).tolist() == [True, False, False, False, True]
    found = [p.why for p in problems(tmp_path / "out", "got10k") if p.kind == "image"]
    assert found == ["128 x 96 px, but 64 x 48 by the annotation"]

    trees.write_image(davis / "JPEGImages" / "480p" / "bear" / "00002.jpg", 2, size_wh=(32, 24))
    source = build_split("davis_tracking", davis, tmp_path / "out")
    assert source.visible(0).tolist() == [True, True, False, True]
    (problem,) = problems(tmp_path / "out", "davis_tracking")
    assert problem.why == "32 x 24 px, but 64 x 48 by the annotation"


def test_davis(tmp_path, capsys):
    folder, out = trees.davis(tmp_path / "in"), tmp_path / "out"
    source = build_split("davis_tracking", folder, out)
    assert source.sequence_names == ("bear#1", "bear#2")
    assert source.visible(0).all() and source.visible(1).tolist() == [True, True, False, True]
    boxes = [frame.box_xywh for frame in source.read(0, range(4))]
    np.testing.assert_array_equal(boxes, [[5 + k, 10, 20, 10] for k in range(4)])
    paths = sorted((folder / "JPEGImages" / "480p" / "bear").iterdir())
    check_images(source, 1, paths)  # through the first object's records
    for sequence in (0, 1):
        hull = davis.hull_xywh(source.mask(sequence, 3))
        np.testing.assert_array_equal(hull, source.read(sequence, [3])[0].box_xywh)
    whole = build_split("davis_tracking", folder, out, "--split", "train2016")
    assert whole.sequence_names == ("bear",)
    np.testing.assert_array_equal(whole.read(0, [0])[0].box_xywh, [5, 10, 45, 26])

    capsys.readouterr()
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(capsys, "davis_tracking", folder, empty, "--split", "val")
    assert "ImageSets/2017/val.txt: no such file: expected the folder of DAVIS" in message
    (folder / "Annotations" / "480p" / "bear" / "00001.png").write_bytes(b"\x89PNG")
    again = build_split("davis_tracking", folder, tmp_path / "out2")
    assert again.visible(0).tolist() == [True, False, True, True]
    (problem,) = problems(tmp_path / "out2", "davis_tracking")
    assert problem.where.endswith("00001.png") and "truncated" in problem.why


def test_palette_indices_not_colours():
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    np.testing.assert_array_equal(davis.read_index_png(trees.palette_png(indices), "here"), indices)
    for mode in ("L", "LA", "RGBA"):
        file = io.BytesIO()
        Image.fromarray(indices).convert(mode).save(file, "png")
        np.testing.assert_array_equal(davis.read_index_png(file.getvalue(), "here"), indices)


@pytest.mark.parametrize(
    ("builder", "make"),
    [
        (got10k.Got10k, trees.got10k),
        (lasot.Lasot, trees.lasot),
        (trackingnet.TrackingNet, trees.trackingnet),
        (coco.CocoTracking, trees.coco),
        (davis.DavisTracking, trees.davis),
        (
            sequence_folder.SequenceFolder,
            lambda root: trees.sequence_folder(root, {"a": 3, "b": 2}),
        ),
    ],
)
def test_hidden_files_are_passed_over(tmp_path, builder, make):
    root = make(tmp_path / "in")
    read = lambda footage: [(a.image_paths, a.problems) for a in map(builder.read_footage, footage)]
    footage, problems = builder.list_footage(Request(source=root))
    before = read(footage)
    sprinkle(root)
    assert builder.list_footage(Request(source=root)) == (footage, problems)
    assert read(footage) == before
