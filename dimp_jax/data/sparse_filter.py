"""Filters of few taps in a large kernel, as a line of motion blur is."""

import numpy as np

from dimp_jax.media.opencv import cv2

# OpenCV filters 8-bit images with kernels below this many cells tap by tap, and leaves out those
# that are 0; for others it takes a Fourier transform, which costs twenty times as much here.
_DIRECT_CELLS = 130
_ONE = 64  # of the 16-bit sums of several parts; 255 * 64 fits


def filter_sparse(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)`` for a sparse kernel.

    Equal to it up to 1 in places, where a kernel needs several parts.

    Args:
      image: [H, W, C] uint8.
      kernel: [K, K] float32, K odd, weights >= 0 that add up to 1.
    """
    if kernel.size < _DIRECT_CELLS:
        return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    height, width = image.shape[:2]
    reach = kernel.shape[0] // 2
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    total = None
    for row, col, part in _parts(kernel * np.float32(_ONE), 0, 0):
        rows, cols = part.shape
        under = padded[row : row + height + rows - 1, col : col + width + cols - 1]
        summed = cv2.filter2D(under, cv2.CV_16S, part, anchor=(0, 0))[:height, :width]
        total = summed if total is None else cv2.add(total, summed)
    return cv2.convertScaleAbs(total, alpha=1 / _ONE)


def _parts(kernel, row, col):
    """(row, column, part) of a kernel at `row`, `col`, cut where it is 0 and until it is small."""
    rows, cols = np.flatnonzero(kernel.any(axis=1)), np.flatnonzero(kernel.any(axis=0))
    if not len(rows):
        return []
    row, col = row + int(rows[0]), col + int(cols[0])
    kernel = kernel[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    if kernel.size < _DIRECT_CELLS:
        return [(row, col, np.ascontiguousarray(kernel))]
    if kernel.shape[0] >= kernel.shape[1]:
        middle = kernel.shape[0] // 2
        return [*_parts(kernel[:middle], row, col), *_parts(kernel[middle:], row + middle, col)]
    middle = kernel.shape[1] // 2
    return [*_parts(kernel[:, :middle], row, col), *_parts(kernel[:, middle:], row, col + middle)]
