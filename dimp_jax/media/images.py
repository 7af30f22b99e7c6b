"""Reads image files as uint8 RGB, and refuses the truncated ones by name."""

import dataclasses
import functools
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dimp_jax.media.opencv import cv2

# 0xFF bytes that neither escape a data byte, restart the coder nor pad: the next real marker.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_PNG_END = b"IEND\xaeB`\x82"


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says what and why."""


@functools.cache
def tell_once(message: str):
    """Warns of something about the input that can be used all the same."""
    logging.getLogger(__name__).warning(message)


@dataclasses.dataclass(frozen=True)
class ImageFrames:
    """The frames of an image folder; iterating decodes them one by one."""

    paths: tuple[Path, ...]
    frame_rate: float | None = None  # unknown
    live: bool = False
    exact: bool = True  # `count` is the number of frames that iterating gives

    @property
    def count(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (name for messages, uint8 RGB [H, W, 3])."""
        for path in self.paths:
            yield str(path), read_image(path)


def read_image(path) -> np.ndarray:
    """Decodes an image file to uint8 RGB [H, W, 3].

    Gray is repeated over the channels, alpha dropped, 16 bits cut to their upper 8.

    Raises:
      InputError: the file cannot be opened, is truncated or is no image.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not is_complete(data):
        raise InputError(f"{path}: the image is truncated, its end is missing ({len(data)} bytes)")
    # An empty buffer is refused by OpenCV with an exception rather than None.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise InputError(f"{path}: cannot be decoded as an image ({len(data)} bytes)")
    tell_if_dark(data, image, path)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def tell_if_dark(data: bytes, image, path):
    """Says once a folder that its 16-bit PNG files have no use of the bits that are kept.

    Args:
      data: the file. image: what was decoded of it, uint8.
    """
    is_16_bit = data.startswith(b"\x89PNG") and data[24] == 16
    if is_16_bit and 0 < image.max() < 64:  # 14 bits of 16
        tell_once(
            f"{Path(path).parent}: 16-bit images that are nearly black: only the upper 8 bits are "
            "read, and these hardly use them (10, 12 or 14 bits of a sensor?): scale them first, "
            "12 bits by 16: cv2.imwrite(file, cv2.imread(file, -1) * 16)"
        )


def is_complete(data: bytes) -> bool:
    """Whether a JPEG or PNG file has its end; True for any other format.

    OpenCV 4 fills the missing part of a JPEG with gray and only prints a warning, so the structure
    is checked here. A JPEG is walked marker by marker: an embedded thumbnail has an end, too.
    """
    if data.startswith(b"\x89PNG"):
        return _PNG_END in data
    if not data.startswith(b"\xff\xd8"):
        return True
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        if match[1] == b"\xd9":
            return True
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False
