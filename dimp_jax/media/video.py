"""Videos and cameras frame by frame."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2
from dimp_jax.media.video_file import Header, read_frames, read_header


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
