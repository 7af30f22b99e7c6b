"""Videos and cameras frame by frame, and annotated videos, written atomically."""

import contextlib
import dataclasses
import errno
import functools
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2
from dimp_jax.media.video_file import Header, read_frames, read_header

LEAST_FREE_BYTES = 1 << 20  # a disk with less is taken for full


@dataclasses.dataclass(frozen=True)
class VideoFrames:
    """Frames `start` .. `stop` - 1 of a video file, or of camera `source` if it is an int.

    Frames are read in order and never sought, which is exact for every codec. A camera is endless
    (`count` is None) unless `stop` is given.
    """

    source: str | int
    start: int = 0
    stop: int | None = None
    exact: bool = False  # the count in the header is an estimate

    @property
    def live(self) -> bool:
        return isinstance(self.source, int)

    @functools.cached_property
    def _header(self) -> Header:
        return Header(None, None) if self.live else read_header(self.source)

    @property
    def count(self) -> int | None:
        ends = [end for end in (self._header.count, self.stop) if end is not None]
        return max(0, min(ends) - self.start) if ends else None

    @property
    def frame_rate(self) -> float | None:
        return self._header.frame_rate

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (name for messages, uint8 RGB [H, W, 3]).

        Raises:
          InputError: the video cannot be opened, or no frame of it can be decoded.
        """
        read = _read_camera if self.live else read_frames
        name = f"camera {self.source}" if self.live else str(self.source)
        for index, image in read(self.source, self.start, self.stop):
            yield f"{name}, frame {index}", image


def _read_camera(number, start, stop):
    """Yields (index, uint8 RGB [H, W, 3]). Raises InputError: it cannot be opened, or ends."""
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise InputError(f"camera {number}: cannot be opened")
        index = 0
        while stop is None or index < stop:
            ok, image = capture.read()
            if not ok:
                break
            if index >= start:
                yield index, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            index += 1
    finally:
        capture.release()
    if index <= start:
        raise InputError(f"camera {number}: frame {index} cannot be read")


@contextlib.contextmanager
def video_writer(path, frame_rate):
    """Gives `write(rgb)`; the mp4 appears under `path` only when the block ends without an error.

    Raises:
      InputError: this OpenCV cannot encode mp4. OSError: the disk is full, or anything else that
        keeps the file from being whole; OpenCV itself does not say so.
    """
    path = Path(path)
    # Another process may write a video of the same name.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part.mp4")
    writer, written = None, 0

    def write(rgb):
        nonlocal writer, written
        height, width = rgb.shape[:2]
        # The codec cuts odd sizes; a repeated last row or column keeps the whole frame.
        bgr = cv2.copyMakeBorder(
            cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE
        )
        if writer is None:
            fourcc = cv2.VideoWriter_fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(temporary), fourcc, frame_rate, bgr.shape[1::-1])
            if not writer.isOpened():
                raise InputError(f"{path}: this OpenCV build cannot write mp4 (mp4v) videos")
        writer.write(bgr)
        written += 1

    try:
        yield write
        if writer is not None:
            writer.release()
            _check_written(temporary, path, written)
            os.replace(temporary, path)
    finally:
        if writer is not None:
            writer.release()
        temporary.unlink(missing_ok=True)


def _check_written(temporary, path, count: int):
    """Raises OSError, in the name of `path`, unless `temporary` is a video of `count` frames."""
    written = cv2.VideoCapture(str(temporary))
    found = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
    written.release()
    if found != count:
        free = shutil.disk_usage(path.parent).free
        cause = errno.ENOSPC if free < LEAST_FREE_BYTES else errno.EIO
        raise OSError(cause, os.strerror(cause), str(path))
