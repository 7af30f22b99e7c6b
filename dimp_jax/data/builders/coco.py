"""COCO as still images: every annotated object that is no crowd is a sequence of one frame."""

import json
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

    Masks are drawn from the polygons; boxes are those of the annotation.
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
            objects = {}
            for item in table["annotations"]:
                if not item["iscrowd"] and min(item["bbox"][2:]) > 0:
                    polygons = item.get("segmentation")
                    row = (item["id"], tuple(item["bbox"]), polygons)
                    objects.setdefault(item["image_id"], []).append(row)
            footage = [
                Footage(
                    f"{image_id:012d}",
                    folder / images[image_id]["file_name"],
                    1,
                    (images[image_id]["height"], images[image_id]["width"], tuple(rows)),
                )
                for image_id, rows in sorted(objects.items())
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not COCO's instances file ({error!r})") from error
        if not footage:
            raise InputError(f"{path}: no annotated objects in it")
        return footage, []

    @staticmethod
    def read_footage(footage):
        height, width, rows = footage.detail
        targets, problems = [], []
        for annotation_id, box, polygons in rows:
            name = f"{footage.name}#{annotation_id}"
            mask = None
            if polygons:
                try:
                    data = encoded.encode_mask(_draw(polygons, (height, width)))
                    mask = lambda frame, data=data: data
                except (TypeError, ValueError) as error:
                    problems.append(
                        Problem("mask", name, f"no mask, not a list of polygons ({error})")
                    )
            targets.append(Target(name, np.float32([box]), np.array([True]), mask))
        return Annotated([footage.path], targets, problems)


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
