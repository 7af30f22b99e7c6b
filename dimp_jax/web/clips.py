"""Clips that the page can choose: the demo clip, and videos that were uploaded."""

import re
import secrets
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation import demo
from dimp_jax.media import sequences, video_file
from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2
from dimp_jax.media.sequences import Sequence

LONGEST_NAME = 160  # bytes of an uploaded file's name that are kept


class Clip(NamedTuple):
    """A clip, and its first frame."""

    id: str
    sequence: Sequence
    first: np.ndarray  # uint8 RGB [H, W, 3]
    folder: Path | None = None  # of the uploaded file

    def told(self, error) -> str:
        """An error's message, in which the uploaded file is called as its owner calls it."""
        return told(error, self.folder)

    def described(self) -> dict:
        """What the page needs to know, as JSON types."""
        height, width = self.first.shape[:2]
        box = self.sequence.init_box
        return {
            "id": self.id,
            "name": self.sequence.name,
            "width": width,
            "height": height,
            "frames": self.sequence.frames.count,
            "frame_rate": self.sequence.frames.frame_rate,
            "box": None if box is None else [round(float(value), 2) for value in box],
        }


def of_demo(limit: int | None) -> Clip:
    """The demo clip, with its first box. Raises InputError: it is not installed."""
    try:
        return _clip(demo.load(limit=limit), None)
    except InputError as error:
        text = str(error).replace(", or give --data or --video", ", or upload a video")
        raise InputError(text) from error


def of_upload(path: Path, limit: int | None) -> Clip:
    """An uploaded video, alone in its folder. Raises InputError: it cannot be read."""
    try:
        video_file.require_self_contained(path)
        return _clip(sequences.load_video(str(path), limit=limit), path.parent)
    except InputError as error:
        raise InputError(told(error, path.parent)) from error


def _clip(sequence, folder) -> Clip:
    _, first = next(sequence.images())
    return Clip(secrets.token_urlsafe(8), sequence, first, folder)


def told(error, folder: Path | None) -> str:
    """The message of an error without the name of the server's folder."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{Path(error.filename).name}: {error.strerror}"
    return text if folder is None else text.replace(f"{folder}/", "")


def file_name(given: str) -> str:
    """A name for an uploaded file: that of its owner, without what could leave its folder."""
    name = re.sub(r"[^\w. +()-]+", "_", Path(given.replace("\\", "/")).name).lstrip(". ")
    stem = Path(name).stem.encode()[:LONGEST_NAME].decode(errors="ignore")
    suffix = Path(name).suffix[:10]
    return f"{stem or 'video'}{suffix}"


def jpeg(image) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()
