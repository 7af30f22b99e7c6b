"""Building COCO: its annotation file, whole and in part, and pictures of another size."""

import json

import numpy as np
import pytest
from PIL import Image

from dimp_jax.data import check
from dimp_jax.data.builders import coco, davis
from tests.support import data_trees as trees
from tests.support.built_data import build_split, check_images, problems, refused


def test_coco(tmp_path, capsys):
    folder, out = trees.coco(tmp_path / "in"), tmp_path / "out"
    source = build_split("coco_tracking", folder, out)
    names = ("000000000007#2", "000000000009#1", "000000000009#4")
    assert source.sequence_names == names and not source.is_video
    check_images(source, 2, [folder / "images" / "train2017" / "000000000009.jpg"])
    np.testing.assert_array_equal(source.read(0, [0])[0].box_xywh, [1.5, 2, 9, 8.25])
    assert source.masked.tolist() == [False, True, False]
    np.testing.assert_array_equal(davis.hull_xywh(source.mask(1, 0)), [10, 8, 20, 12])
    assert problems(out, "coco_tracking") == []

    trees.coco(folder, "2014")
    capsys.readouterr()
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(capsys, "coco_tracking", folder, empty)
    assert "train2014 and train2017: say which" in message
    (folder / "annotations" / "instances_train2014.json").write_text('{"images": []}')
    message = refused(capsys, "coco_tracking", folder, empty, "--split", "train2014")
    assert "not COCO's instances file" in message
    source = build_split("coco_tracking", folder, out, "--split", "train2017")
    assert len(source) == 3


def square(low, high):
    return [low, low, high, low, high, high, low, high]


@pytest.mark.parametrize(
    ("polygons", "area_px"),
    [
        ([square(2, 12)], 100),
        ([square(2.5, 12.5)], 100),
        ([square(-3.2, 4.4)], 16),
        ([square(5, 30), square(15, 40)], 2 * 25**2 - 15**2),  # a union
        ([square(2, 12), [20, 20, 24, 24]], 100),
        ([[10, 10, 40, 10, 40, 25]], 225),
    ],
)
def test_masks_have_the_area_of_their_polygons(polygons, area_px):
    assert coco._draw(polygons, (48, 64)).sum() == area_px


@pytest.mark.parametrize(
    ("polygons", "said"),
    [
        ([[1, 2, float("nan"), 4, 5, 6]], "not all numbers are finite"),
        ([[1, 2, 3, 4]], "none has three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "reshape"),
    ],
)
def test_polygons_that_cannot_be_drawn(polygons, said):
    footage = coco.Footage("9", "9.jpg", 1, ((48, 64), ((1, (1, 1, 5, 5), polygons),)))
    annotated = coco.CocoTracking.read_footage(footage)
    assert annotated.targets[0].mask is None
    assert said in annotated.problems[0].why


def coco_file(folder, change):
    """Changes the parsed annotation file."""
    path = folder / "annotations" / "instances_train2017.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def test_part_of_coco(tmp_path):
    """A subset, or the file of another tool: what can be used is, and the rest is counted."""
    folder = trees.coco(tmp_path / "in")

    def change(table):
        images, rows = table["images"], table["annotations"]
        for row in rows:
            del row["id"], row["segmentation"]
        del rows[0]["iscrowd"], images[0]["height"], images[2]["file_name"]
        rows += [{"image_id": 99, "bbox": [1, 1, 5, 5]}] * 2  # not listed
        rows += [{"bbox": [1, 1, 5, 5]}, {"image_id": 11, "bbox": [1, 1, 5, 5]}, {"image_id": 9}]
        bad = ([1, 2, 3], [1, 2, float("nan"), 4], "1234", [1, 2, None, 4], [1, 2, True, 4])
        rows += [{"image_id": 9, "bbox": box} for box in bad]

    coco_file(folder, change)
    source = build_split("coco_tracking", folder, tmp_path / "out")
    assert source.sequence_names == ("000000000007#1", "000000000009#0", "000000000009#3")
    assert all(source.visible(s).all() for s in range(3)) and not source.masked.any()
    np.testing.assert_array_equal(source.read(1, [0])[0].box_xywh, [10, 8, 20, 12])
    assert [(p.kind, p.count, p.why) for p in problems(tmp_path / "out", "coco_tracking")] == [
        ("other", 3, "annotations whose image is not listed: 3 left out, the first is 5"),
        ("other", 1, "annotations whose image has no file_name: 1 left out, the first is 8"),
        (
            "other",
            6,
            "annotations without a bbox of four finite numbers: 6 left out, the first is 9",
        ),
    ]


def test_coco_of_no_use(tmp_path, capsys):
    folder, out = trees.coco(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    coco_file(folder, lambda table: table["images"].clear())
    message = refused(capsys, "coco_tracking", folder, out)
    assert "no annotated objects in it; annotations whose image is not listed: 5 left" in message
    for value in ([3], ["text"], [None]):
        for key in ("images", "annotations"):
            trees.coco(folder)
            coco_file(folder, lambda table, key=key, value=value: table.update({key: value}))
            message = refused(capsys, "coco_tracking", folder, out)
            assert "not COCO's instances file" in message


def turned(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_pictures_of_another_size_than_in_coco(tmp_path):
    """Boxes are not meant for a picture that decodes to another size, or turned."""
    folder = trees.coco(tmp_path / "in")
    images = folder / "images" / "train2017"
    turned(images / "000000000007.jpg", 6)
    trees.write_image(images / "000000000009.jpg", 9, size_wh=(32, 24))
    source = build_split("coco_tracking", folder, tmp_path / "out")
    assert not any(source.visible(sequence).any() for sequence in range(3))
    first, second = problems(tmp_path / "out", "coco_tracking")
    assert (first.kind, second.kind) == ("image", "image")
    assert first.why == (
        "48 x 64 px (turned by its EXIF orientation), but 64 x 48 by the annotation"
    )
    assert second.why == "32 x 24 px, but 64 x 48 by the annotation"
    assert check.main([str(tmp_path / "out")]) == 1

    turned(images / "000000000007.jpg", 3)
    trees.write_image(images / "000000000009.jpg", 9)
    turned(images / "000000000009.jpg", 1)  # as it is
    source = build_split("coco_tracking", folder, tmp_path / "again")
    assert [source.visible(s).all() for s in range(3)] == [False, True, True]
    (problem,) = problems(tmp_path / "again", "coco_tracking")
    assert "its EXIF orientation turns it within 64 x 48 px" in problem.why

    # Some tools write down the size as turned.
    turned(images / "000000000007.jpg", 8)
    coco_file(folder, lambda table: table["images"][0].update(height=64, width=48))
    source = build_split("coco_tracking", folder, tmp_path / "third")
    assert source.visible(0).all() and problems(tmp_path / "third", "coco_tracking") == []
