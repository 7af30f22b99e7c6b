"""The box a person gives to start with: what is taken, and what is another convention."""

import numpy as np

from dimp_jax.media.images import InputError


def checked_box(box, image_size_hw, what="box") -> np.ndarray:
    """The box (x, y, w, h in pixels) as [4] float64.

    Raises:
      InputError: `what` is no four finite numbers, is empty or outside the image, or is of another
        convention: corner pairs, or shares of the image in 0..1.
    """
    try:
        values = np.asarray(box, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: expected four numbers x, y, w, h, got {box!r:.80}") from error
    if values.shape == (2, 2):
        raise InputError(
            f"{what} {values.tolist()}: corner pairs: expected x, y, w, h, that is "
            "x1, y1, x2 - x1, y2 - y1"
        )
    values = values.reshape(-1)
    given = ", ".join(f"{value:g}" for value in values)
    if values.shape != (4,):
        raise InputError(f"{what}: expected four numbers x, y, w, h, got {given or 'none'}")
    if not np.isfinite(values).all():
        raise InputError(f"{what} {given}: not finite: expected four finite numbers x, y, w, h")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise InputError(f"{what} {given}: the box is empty: width and height must be positive")
    rows, columns = image_size_hw
    if is_share(values) and max(rows, columns) > 1:
        raise InputError(
            f"{what} {given}: all values are within 0..1: expected pixels, not shares of the "
            f"image: multiply x and w by {columns}, y and h by {rows}"
        )
    if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
        raise InputError(f"{what} {given}: outside the image of {columns} x {rows} pixels")
    return values


def is_share(box) -> bool:
    """Whether a box [4] is given in shares of the image: one pixel in its corner is no target."""
    return bool(np.abs(box).max() <= 1)
