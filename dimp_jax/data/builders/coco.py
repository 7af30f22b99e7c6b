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
from dimp_jax.media.opencv import cv2

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
    mask = np.zeros(size_hw, np.uint8)
    outlines = [np.reshape(np.asarray(p, np.float64), (-1, 2)) for p in polygons if len(p) > 4]
    # Outlines run along the borders between pixels; fillPoly's corners are pixel centres.
    cv2.fillPoly(mask, [np.round(outline - 0.5).astype(np.int32) for outline in outlines], 1)
    return mask > 0


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
