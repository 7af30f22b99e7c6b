"""Encoded images: whether they can be decoded, and the RGB or mask in them."""

import numpy as np

from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.images import is_complete, tell_if_dark
from dimp_jax.media.opencv import cv2


def decode_rgb(data: bytes, where: str) -> np.ndarray:
    """[H, W, 3] uint8 RGB of a JPEG or PNG file; gray is repeated, alpha dropped.

    Raises:
      BrokenFrame: no image; `where` is named.
    """
    return _decode(data, cv2.IMREAD_COLOR_RGB, where)


def decode_mask(data: bytes, where: str) -> np.ndarray:
    """[H, W] bool of an encoded 0/255 mask. Raises BrokenFrame: no image; `where` is named."""
    return _decode(data, cv2.IMREAD_GRAYSCALE, where) > 127


def encode_mask(mask) -> bytes:
    """[H, W] bool as a PNG of 0/255."""
    return cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()


def checked_size_hw(data: bytes, where: str) -> tuple[int, int]:
    """Height and width of an image that decodes and has its end.

    Raises:
      BrokenFrame: no image, or one cut short; `where` is named.
    """
    if not is_complete(data):
        raise BrokenFrame(f"{where}: the image is truncated ({len(data)} bytes)")
    image = _decode(data, cv2.IMREAD_GRAYSCALE, where)
    tell_if_dark(data, image, where)
    return image.shape[:2]


def check_annotated_size(data: bytes, size_hw, annotated_hw, where: str) -> None:
    """Raises BrokenFrame if the boxes of an annotation may not be meant for an image as it decodes.

    Args:
      data: the file. size_hw: (height, width) that it decodes to, turned as its EXIF says.
      annotated_hw: (height, width) by the annotation.
    """
    turned = ""
    if b"Exif\0\0" in data or b"eXIf" in data:
        stored = _decode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION, where)
        if not np.array_equal(stored, _decode(data, cv2.IMREAD_GRAYSCALE, where)):
            turned = " (turned by its EXIF orientation)"
    if tuple(size_hw) != tuple(annotated_hw):
        height, width = annotated_hw
        raise BrokenFrame(
            f"{where}: {size_hw[1]} x {size_hw[0]} px{turned}, but {width} x {height} by the "
            "annotation"
        )
    if turned and stored.shape == tuple(size_hw):
        raise BrokenFrame(
            f"{where}: its EXIF orientation turns it within {size_hw[1]} x {size_hw[0]} px: which "
            "way its boxes are meant is not known"
        )


def _decode(data, flags, where):
    # An empty buffer is refused by OpenCV with an exception rather than None.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise BrokenFrame(f"{where}: cannot be decoded as an image ({len(data)} bytes)")
    return image
