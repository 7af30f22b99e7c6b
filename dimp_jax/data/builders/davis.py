"""DAVIS at 480p: boxes are the hulls of the objects' masks."""

import re

import numpy as np

from dimp_jax.data import encoded
from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2

LAYOUT = (
    "the folder of DAVIS with JPEGImages/480p/<video>/, Annotations/480p/<video>/ and "
    "ImageSets/2016/ or ImageSets/2017/"
)


class DavisTracking(TrackingBuilder):
    """Splits "train" and "val" of 2017 (every object a sequence), "train2016", "val2016".

    In 2016 all that is marked in a frame is one object.
    """

    IS_VIDEO = True

    @staticmethod
    def list_footage(request):
        match = re.fullmatch(r"(train|val)(2016|2017)?", request.split)
        if not match:
            raise InputError(f"--split {request.split}: expected train, val, train2016 or val2016")
        source = files.require_folder(request.source, LAYOUT)
        year = match[2] or "2017"
        path = source / "ImageSets" / year / f"{match[1]}.txt"
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected {LAYOUT}")
        # 2017 lists videos; 2016 lists pairs of files, an image and its mask.
        lines = files.read_names(path, "videos")
        names = list(dict.fromkeys(_video_name(line) for line in lines))
        footage, problems = [], []
        for name in names:
            images = source / "JPEGImages" / "480p" / name
            if images.is_dir():
                one_object = year == "2016"
                footage.append(Footage(name, source, files.count_images(images), one_object))
            else:
                problems.append(Problem("other", str(images), "no such folder: left out"))
        if not footage:
            raise InputError(
                f"{source / 'JPEGImages' / '480p'}: none of the {len(names)} videos of {path.name} "
                f"is there: expected {LAYOUT}"
            )
        return footage, problems

    @staticmethod
    def read_footage(footage):
        one_object = footage.detail
        paths = files.image_paths(footage.path / "JPEGImages" / "480p" / footage.name)
        folder = footage.path / "Annotations" / "480p" / footage.name
        frames, problems = [], []
        for path in paths:
            mask_path = folder / f"{path.stem}.png"
            try:
                indices = read_index_png(mask_path.read_bytes(), str(mask_path))
            except OSError as error:
                problems.append(
                    Problem("box", str(mask_path), f"cannot be read ({error.strerror})")
                )
                indices = None
            except BrokenFrame as error:
                text = str(error).removeprefix(f"{mask_path}: ")
                problems.append(Problem("box", str(mask_path), text))
                indices = None
            if one_object and indices is not None:
                indices = (indices > 0).astype(np.uint8)
            frames.append(indices)
        objects = sorted(set().union(*(np.unique(f) for f in frames if f is not None)) - {0})
        if not objects:
            raise InputError(f"{folder}: no object in any mask")
        targets = [_target(footage.name, number, objects, frames) for number in objects]
        return Annotated(paths, targets, problems)


def _target(video, number, objects, frames):
    masks = [None if frame is None else frame == number for frame in frames]
    boxes = np.stack([np.full(4, np.nan) if m is None else hull_xywh(m) for m in masks])

    def mask(frame):
        return b"" if masks[frame] is None else encoded.encode_mask(masks[frame])

    name = video if len(objects) == 1 else f"{video}#{number}"
    return Target(name, boxes.astype(np.float32), np.isfinite(boxes).all(axis=1), mask)


def hull_xywh(mask) -> np.ndarray:
    """[4] smallest box around a mask [H, W]; NaN if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.full(4, np.nan)
    x, y = columns[0], rows[0]
    return np.array([x, y, columns[-1] - x + 1, rows[-1] - y + 1], float)


def read_index_png(data: bytes, where: str) -> np.ndarray:
    """[H, W] uint8: the palette indices of a PNG with a palette, the values of a gray one.

    OpenCV gives the palette's colours; two indices of one colour cannot be told apart.

    Raises:
      BrokenFrame: no PNG, or one cut short; `where` is named.
    """
    encoded.checked_size_hw(data, where)
    match = re.search(rb"PLTE", data[:4096])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if match is None:
        return image if image.ndim == 2 else image.max(axis=2)
    size = int.from_bytes(data[match.start() - 4 : match.start()], "big")
    palette_rgb = np.frombuffer(data[match.end() : match.end() + size], np.uint8).reshape(-1, 3)
    if image.ndim == 2:  # a palette of grays
        image = np.repeat(image[..., None], 3, axis=2)
    # Of two indices of one colour the first counts, as `unique` gives it.
    colors, indices = np.unique(_color_codes(palette_rgb), return_index=True)
    return indices.astype(np.uint8)[np.searchsorted(colors, _color_codes(image[..., ::-1]))]


def _color_codes(rgb):
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _video_name(line):
    first = line.split()[0]
    return first.split("/")[-2] if "/" in first else first
