"""The box a person gives to start with: what is taken, and what is another convention."""

import numpy as np

from dimp_jax.media.images import InputError

SIDES_PX = (1e-3, 1e6)  # others are a mistake, and float32 has no room for much more


def checked_box(box, image_size_hw, what="box") -> np.ndarray:
    """The box (x, y, w, h in pixels) as [4] float64.

    Raises:
      InputError: `what` is no four finite numbers, is empty, outside the image or no size that a
        target can have, or is of another convention: corner pairs, or shares of the image in 0..1.
    """
    try:
        values = np.asarray(box, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
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
    if min(width, height) < SIDES_PX[0] or max(width, height) > SIDES_PX[1]:
        least, most = SIDES_PX
        raise InputError(f"{what} {given}: expected sides of {least:g} to {most:,.0f} pixels")
    return values


def share_inside(box, image_size_hw) -> float:
    """The share of a box [4] that lies in the image."""
    low, high = box[:2], box[:2] + box[2:]
    shown = np.clip(high, 0, image_size_hw[::-1]) - np.clip(low, 0, image_size_hw[::-1])
    return float(np.prod(shown / box[2:]))


def is_share(box) -> bool:
    """Whether a box [4] is given in shares of the image: one pixel in its corner is no target."""
    return bool(np.abs(box).max() <= 1)
