"""Building sequence and image folders: order, visibility, what is left out, TFDS's view of it."""

import numpy as np
import pytest

from dimp_jax.data import check, records, records_index
from dimp_jax.data.builders import davis
from tests.support import data_trees as trees
from tests.support.built_data import build_split, check_images, problems, refused


def test_sequence_folder(tmp_path):
    folder = trees.sequence_folder(tmp_path / "in", {"s10": 12, "s9": 3})
    trees.write_mask(folder / "s9" / "mask" / "000002.png", (6, 7, 20, 10))
    rows = trees.rows_of(12)
    rows[1], rows[2], rows[3] = "nan,nan,nan,nan", "0,0,0,0", "70,5,9,9"
    rows[4], rows[5], rows[6] = "1,2,3", "4,4,-2,3", "2,2,1.9,9"
    trees.write_lines(folder / "s10" / "groundtruth.txt", rows)
    source = build_split("sequence_folder", folder, tmp_path / "out")

    assert source.sequence_names == ("s9", "s10") and source.is_video
    hidden = [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(np.flatnonzero(~source.visible(1)), hidden)
    two_px = records.open_source(tmp_path / "out", "sequence_folder", min_box_px=2)
    np.testing.assert_array_equal(np.flatnonzero(~two_px.visible(1)), [*hidden, 6])
    for sequence, name in enumerate(source.sequence_names):
        check_images(source, sequence, sorted((folder / name / "img").iterdir()))
    frames = source.read(1, [11, 0, 11])
    np.testing.assert_array_equal(frames[0].box_xywh, [16, 17, 20, 10])
    np.testing.assert_array_equal(frames[1].box_xywh, [5, 6, 20, 10])
    assert frames[2] is frames[0]  # decoded once

    assert source.masked.any() and source.masked.tolist() == [True, False]
    assert source.mask(0, 0) is None and source.mask(1, 1) is None
    np.testing.assert_array_equal(davis.hull_xywh(source.mask(0, 1)), [6, 7, 20, 10])

    found = problems(tmp_path / "out", "sequence_folder")
    found = {(p.kind, p.count, p.why.split(" in frame")[0].rstrip(",")) for p in found}
    assert found == {
        ("box", 1, "not four numbers x,y,w,h"),
        ("box", 1, "a box without a size, or half a box"),
        ("outside", 1, "the box is outside the image"),
    }


def test_broken_images_are_named_and_not_visible(tmp_path, capsys):
    folder = trees.sequence_folder(tmp_path / "in", {"a": 6, "b": 4, "c": 2, "d": 3})
    trees.truncate(folder / "a" / "img" / "000002.jpg")
    (folder / "a" / "img" / "000003.jpg").write_bytes(b"")
    (folder / "a" / "img" / "000004.jpg").write_bytes(b"no image at all")
    (folder / "b" / "img" / "000002.jpg").unlink()  # which box belongs to which is lost
    (folder / "c" / "groundtruth.txt").write_bytes(b"\xff\xfe\x81")
    trees.write_mask(folder / "d" / "mask" / "000001.png", (1, 1, 5, 5), (10, 10))
    trees.write_mask(folder / "d" / "mask" / "000002.png", (1, 1, 5, 5))
    trees.truncate(folder / "d" / "mask" / "000002.png")
    source = build_split("sequence_folder", folder, tmp_path / "out")
    assert source.sequence_names == ("a", "d")
    assert source.visible(0).tolist() == [True, False, False, False, True, True]
    np.testing.assert_array_equal(source.read(0, [5])[0].box_xywh, [10, 11, 20, 10])
    with pytest.raises(records.BrokenFrame, match="sequence a, frame 1: its image was missing or"):
        source.read(0, [0, 1])
    assert source.mask(1, 0) is None and source.mask(1, 1) is None

    expected = {
        "a/img/000002.jpg: the image is truncated": "image",
        "a/img/000003.jpg: cannot be decoded as an image (0 bytes)": "image",
        "a/img/000004.jpg: cannot be decoded": "image",
        "b: left out: 4 boxes in groundtruth.txt for 3 images in img": "other",
        "groundtruth.txt: cannot be read as text": "other",
        "mask of d, frame 0: 10 x 10 px, the image 64 x 48 px": "mask",
        "mask of d, frame 1: the image is truncated": "mask",
    }
    found = problems(tmp_path / "out", "sequence_folder")
    assert len(found) == len(expected), found
    summary = capsys.readouterr().err
    for text, kind in expected.items():
        lines = [f"{p.where}: {p.why}" for p in found]
        (problem,) = (p for p, line in zip(found, lines, strict=True) if text in line)
        assert problem.kind == kind and text in summary
    assert "7 problems, all of them in" in summary and "problems.json" in summary


def test_image_folder(tmp_path):
    folder = trees.image_folder(tmp_path / "in")
    source = build_split("image_folder", folder, tmp_path / "out")
    assert source.sequence_names == ("img/0.jpg", "img/1.jpg#0", "img/1.jpg#1", "img/2.jpg")
    assert not source.is_video and all(len(source.visible(s)) == 1 for s in range(4))
    for sequence, number in enumerate((0, 1, 1, 2)):
        check_images(source, sequence, [folder / "img" / f"{number}.jpg"])
    np.testing.assert_array_equal(source.read(2, [0])[0].box_xywh, [20, 4, 12, 11])
    assert source.masked.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(davis.hull_xywh(source.mask(2, 0)), [20, 4, 12, 11])
    # The second object of an image costs no second copy of it.
    stored = [len(source.fields(r)["image"].bytes_list.value[0]) for r in range(4)]
    assert stored[2] == 0 and min(stored[0], stored[1], stored[3]) > 0


def test_masks_of_images_with_one_name(tmp_path):
    """In subfolders as the images, or all in one folder: then whose a mask is must be clear."""
    folder = tmp_path / "in"
    names = ("x/1.jpg", "y/1.jpg", "x/2.jpg", "y/2.jpg", "x/3.jpg", "x/3.png")
    for number, name in enumerate(names):
        trees.write_image(folder / name, number)
    trees.write_lines(
        folder / "boxes.csv", ["file,x,y,w,h,has_mask"] + [f"{n},5,5,9,9,1" for n in names]
    )
    for name, left in (("x/1", 5), ("y/1", 6), ("y/2", 7), ("2", 8), ("3", 9)):
        trees.write_mask(folder / "mask" / f"{name}.png", (left, 5, 9, 9))
    source = build_split("image_folder", folder, tmp_path / "out")
    masks = {n: source.mask(s, 0) for s, n in enumerate(source.sequence_names)}
    lefts = {name: davis.hull_xywh(mask)[0] for name, mask in masks.items() if mask is not None}
    assert lefts == {"x/1.jpg": 5, "y/1.jpg": 6, "x/2.jpg": 8, "y/2.jpg": 7}
    found = {(p.where, p.why) for p in problems(tmp_path / "out", "image_folder")}
    why = "2 images would have mask/3.png: mask left out"
    assert found == {("x/3.jpg", why), ("x/3.png", why)}


def test_image_folder_faults(tmp_path, capsys):
    folder = trees.image_folder(tmp_path / "in")
    out = tmp_path / "out"
    path = folder / "boxes.csv"
    more = [
        "img/0.jpg,1,2,x,4,0",
        "img/0.jpg,1,2,3,4",
        '"img/0.jpg,1,2,3,4,0',
        "img/9.jpg,1,1,5,5,1",
        "img/2.jpg,1,1,0,5,0",
    ]
    trees.write_lines(path, [*path.read_text().splitlines(), *more, "img/2.jpg,4,4,5,5,1"])
    source = build_split("image_folder", folder, out)
    assert source.visible(source.sequence_names.index("img/9.jpg")).tolist() == [False]
    assert source.visible(source.sequence_names.index("img/2.jpg#1")).tolist() == [False]
    assert source.masked.tolist() == [False, False, True, False, False, False, False]
    found = [f"{p.where}: {p.why}" for p in problems(out, "image_folder")]
    for text in (
        "boxes.csv, line 6: 'img/0.jpg,1,2,x,4,0': expected file,x,y,w,h,has_mask: left out",
        "boxes.csv, line 7:",
        """boxes.csv, line 8: '"img/0.jpg,1,2,3,4,0': expected""",
        "img/9.jpg: cannot be read (No such file or directory)",
        "mask/9.png: no such file, but has_mask is 1",
        "img/2.jpg#1: the box has no size",
        "img/2.jpg: has_mask is 1 in 2 rows, for one mask: masks left out",
    ):
        assert sum(text in line for line in found) == 1, text
    assert len(found) == 7

    capsys.readouterr()
    path.write_text("name,left,top\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(capsys, "image_folder", folder, empty)
    assert "first line is 'name,left,top': expected a folder with boxes.csv" in message
    path.write_text("file,x,y,w,h\n")
    assert "no rows that can be used" in refused(capsys, "image_folder", folder, empty)


def test_tfds_reads_what_was_built(tmp_path):
    """The result is an ordinary TFDS data set, for any other reader of them."""
    import tensorflow_datasets as tfds

    folder = trees.sequence_folder(tmp_path / "in", {"a": 3, "b": 4, "c": 2})
    build_split("sequence_folder", folder, tmp_path / "out", "--part-frames", "4")
    directory = records_index.split_directory(tmp_path / "out", "sequence_folder", "train")
    builder = tfds.builder_from_directory(directory)
    assert builder.info.splits["train"].shard_lengths == [3, 4, 2]
    rows = list(builder.as_data_source("train"))
    found = [(row["sequence"], row["frame"]) for row in rows]
    assert found == [(n, k) for n, count in ((b"a", 3), (b"b", 4), (b"c", 2)) for k in range(count)]
    path = folder / "b" / "img" / "000003.jpg"
    assert rows[5]["image"] == path.read_bytes()  # the very bytes
    assert builder.info.metadata["names"] == ["a", "b", "c"]


def test_builder_alone_makes_the_same_data_set(tmp_path):
    """`download_and_prepare` without our command line, as with any TFDS builder."""
    from dimp_jax.data.builders.lasot import Lasot
    from dimp_jax.data.builders.tracking import Request

    folder = trees.lasot(tmp_path / "in")
    builder = Lasot(request=Request(source=folder), data_dir=tmp_path / "alone")
    builder.download_and_prepare(download_dir=tmp_path / "downloads")
    ours = build_split("lasot", folder, tmp_path / "ours")
    alone = records.open_source(tmp_path / "alone", "lasot", min_box_px=0)
    assert alone.sequence_names == ours.sequence_names
    for sequence in range(len(ours)):
        np.testing.assert_array_equal(alone.visible(sequence), ours.visible(sequence))
        name = ours.sequence_names[sequence]
        paths = sorted((folder / name.split("-")[0] / name / "img").iterdir())
        check_images(alone, sequence, paths)
    assert check.main([str(tmp_path / "alone")]) == 0


def test_shares_of_the_image_are_no_boxes(tmp_path):
    folder = trees.sequence_folder(tmp_path / "in", {"s": 3})
    trees.write_lines(
        folder / "s" / "groundtruth.txt", [trees.box_row(0), "0.1,0.2,0.3,0.4", "0,0,1,1"]
    )
    source = build_split("sequence_folder", folder, tmp_path / "out")
    assert source.visible(0).tolist() == [True, False, False]
    (problem,) = problems(tmp_path / "out", "sequence_folder")
    assert problem.count == 2 and problem.why.startswith("all values are within 0..1, not pixels")
