"""DAVIS at 480p: boxes are the hulls of the objects' masks."""

import io
import re

import numpy as np
from PIL import Image

from dimp_jax.data import encoded
from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.conversion import unreadable
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media import text
from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2
from dimp_jax.media.sequences import frame_paths

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
        source = text.require_folder(request.source, LAYOUT)
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
        paths = frame_paths(footage.path / "JPEGImages" / "480p" / footage.name)
        folder = footage.path / "Annotations" / "480p" / footage.name
        frames, problems = [], []
        for path in paths:
            mask_path = folder / f"{path.stem}.png"
            try:
                indices = read_index_png(mask_path.read_bytes(), str(mask_path))
            except (OSError, BrokenFrame) as error:
                problems.append(Problem("box", str(mask_path), unreadable(error, mask_path)))
                indices = None
            if one_object and indices is not None:
                indices = (indices > 0).astype(np.uint8)
            frames.append(indices)
        objects = sorted(set().union(*(np.unique(f) for f in frames if f is not None)) - {0})
        if not objects:
            raise InputError(f"{folder}: no object in any mask")
        targets = [_target(footage.name, number, objects, frames) for number in objects]
        sizes_hw = [None if frame is None else frame.shape for frame in frames]
        return Annotated(paths, targets, problems, sizes_hw)


def _target(video, number, objects, frames):
    masks = [None if frame is None else frame == number for frame in frames]
    boxes = np.stack([np.full(4, np.nan) if m is None else hull_xywh(m) for m in masks])

    def mask(frame):
        return b"" if masks[frame] is None else encoded.encode_mask(masks[frame])

    name = video if len(objects) == 1 else f"{video}#{number}"
    return Target(name, boxes.astype(np.float32), np.isfinite(boxes).all(axis=1), mask)


def hull_xywh(mask) -> np.ndarray:
    """[4] smallest box around a mask [H, W]; NaN if it is empty."""
    box = np.array(cv2.boundingRect(mask.astype(np.uint8)), float)
    return box if box[2] > 0 else np.full(4, np.nan)


def read_index_png(data: bytes, where: str) -> np.ndarray:
    """[H, W]: the palette indices of a PNG with a palette, the values of a gray one.

    OpenCV would give the palette's colours. Of colours, the largest; transparency counts nothing.

    Raises:
      BrokenFrame: no PNG, or one cut short; `where` is named.
    """
    encoded.checked_size_hw(data, where)
    image = Image.open(io.BytesIO(data))
    values = np.atleast_3d(image)
    return values[..., [band != "A" for band in image.getbands()]].max(axis=2)


def _video_name(line):
    first = line.split()[0]
    return first.split("/")[-2] if "/" in first else first
