"""COCO as still images: every annotated object that is no crowd is a sequence of one frame."""

import json
import math
import re

import numpy as np

from dimp_jax.data import encoded
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.images import InputError

LAYOUT = "the folder of COCO with annotations/instances_train2017.json and images/train2017/"
YEARS = ("2014", "2017")


class CocoTracking(TrackingBuilder):
    """Splits "train", "val" (of the one year that is there) or "train2014", "val2017" and so on.

    Masks are drawn from the polygons; boxes are those of the annotation. A part of the file is
    enough: annotations whose image is not listed are left out; `iscrowd` may be missing, and so may
    the size of an image, with which its picture is otherwise compared.
    """

    IS_VIDEO = False

    @staticmethod
    def list_footage(request):
        source = text.require_folder(request.source, LAYOUT)
        split = _year_split(source, request.split)
        path = source / "annotations" / f"instances_{split}.json"
        folder = source / "images" / split
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder: expected {LAYOUT}")
        try:
            table = json.loads(text.read_text(path))
            images = {image["id"]: image for image in table["images"]}
            objects, left_out = _objects_of(table["annotations"], images)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not COCO's instances file ({error!r})") from error
        footage = [
            Footage(f"{image_id:0>12}", folder / images[image_id]["file_name"], 1, detail)
            for image_id, detail in sorted(objects.items(), key=lambda item: f"{item[0]:0>12}")
        ]
        problems = [
            Problem("other", str(path), f"{why}: {count} left out, the first is {first!r}", count)
            for why, (count, first) in left_out.items()
        ]
        if not footage:
            faults = "".join(f"; {problem.why}" for problem in problems)
            raise InputError(f"{path}: no annotated objects in it{faults}")
        return footage, problems

    @staticmethod
    def read_footage(footage):
        size_hw, rows = footage.detail
        targets, problems = [], []
        for annotation_id, box, polygons in rows:
            name = f"{footage.name}#{annotation_id}"
            mask = None
            if polygons:
                try:
                    if size_hw is None:
                        raise ValueError("the file does not say how large the image is")
                    data = encoded.encode_mask(_draw(polygons, size_hw))
                    mask = lambda frame, data=data: data
                except (TypeError, ValueError) as error:
                    problems.append(Problem("mask", name, f"no mask of its polygons ({error})"))
            targets.append(Target(name, np.float32([box]), np.array([True]), mask))
        return Annotated([footage.path], targets, problems, [size_hw])


def _objects_of(annotations, images):
    """What can be used of a file, which may be a part of COCO's, or made by another tool.

    Returns:
      objects: {image id: ((height, width) or None, rows)}, a row (annotation id, box, polygons).
        Crowds, and boxes without a size, are not among them.
      left_out: {why: [how many, id of the first]}.
    """
    objects, left_out = {}, {}
    for number, item in enumerate(annotations):
        image = images.get(item.get("image_id"))
        if image is None:
            fault = "annotations whose image is not listed"
        elif not isinstance(image.get("file_name"), str):
            fault = "annotations whose image has no file_name"
        elif not _is_box(item.get("bbox")):
            fault = "annotations without a bbox of four finite numbers"
        else:
            if not item.get("iscrowd", 0) and min(item["bbox"][2:]) > 0:
                row = (item.get("id", number), tuple(item["bbox"]), item.get("segmentation"))
                _, rows = objects.setdefault(image["id"], (_size_hw(image), []))
                rows.append(row)
            continue
        left_out.setdefault(fault, [0, item.get("id", number)])[0] += 1
    return {image_id: (size, tuple(rows)) for image_id, (size, rows) in objects.items()}, left_out


def _is_box(value) -> bool:
    numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
    return numbers and len(value) == 4 and all(map(math.isfinite, value))


def _size_hw(image):
    size = (image.get("height"), image.get("width"))
    return size if all(type(v) is int and v > 0 for v in size) else None


def _draw(polygons, size_hw):
    """[H, W] bool: what any of the outlines, flat lists of x, y, encloses.

    Raises:
      ValueError: not finite, or none of at least three points.
    """
    outlines = [np.reshape(np.asarray(p, np.float64), (-1, 2)) for p in polygons if len(p) > 4]
    if not outlines:
        raise ValueError("none has three points")
    if not all(np.isfinite(outline).all() for outline in outlines):
        raise ValueError("not all numbers are finite")
    return np.any([_filled(outline, size_hw) for outline in outlines], axis=0)


def _filled(outline, size_hw):
    """[H, W] bool: pixels whose centres are in an outline [N, 2] of x, y, by the even-odd rule.

    OpenCV's fillPoly also takes the pixels that the outline only touches.
    """
    height, width = size_hw
    x, y = outline.T
    end_x, end_y = np.roll(outline, -1, axis=0).T
    first, stop = np.clip(np.ceil(np.sort([x, end_x], axis=0) - 0.5), 0, width).astype(int)
    # One entry for each column of each edge: where the edge crosses the line of its centres.
    edge = np.repeat(np.arange(len(x)), stop - first)
    column = np.arange(len(edge)) + (stop - np.cumsum(stop - first))[edge]
    slope = (end_y - y)[edge] / (end_x - x)[edge]
    at_y = y[edge] + (column + 0.5 - x[edge]) * slope
    row = np.clip(np.ceil(at_y - 0.5), 0, height).astype(int)
    crossed = np.zeros((height + 1, width), np.uint8)
    np.add.at(crossed, (row, column), 1)
    return np.bitwise_xor.accumulate(crossed)[:height] % 2 == 1


def _year_split(source, split):
    """ "train" -> "train2017", if that is the only year there."""
    match = re.fullmatch(r"(train|val)(2014|2017)?", split)
    if not match:
        raise InputError(f"--split {split}: expected train, val, train2014, train2017, ...")
    if match[2]:
        return split
    years = [y for y in YEARS if (source / "annotations" / f"instances_{split}{y}.json").is_file()]
    if not years:
        name = source / "annotations" / f"instances_{split}2017.json"
        raise InputError(f"{name}: no such file: expected {LAYOUT}")
    if len(years) > 1:
        both = " and ".join(split + year for year in years)
        raise InputError(f"--split {split}: {source} has {both}: say which")
    return split + years[0]
