"""Lines in large kernels: as OpenCV's own filter."""

import numpy as np
import pytest

from dimp_jax.data.sparse_filter import filter_sparse
from dimp_jax.media.opencv import cv2


@pytest.mark.parametrize("side", [3, 11, 13, 23, 41])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_line_is_filtered_as_by_opencv(side, channels):
    rng = np.random.default_rng(side)
    image = rng.integers(0, 256, (60, 70, channels), np.uint8)
    middle = side // 2
    for angle in (0.0, 0.3, 0.8, 1.2, np.pi / 2, 2.5):
        kernel = np.zeros((side, side), np.float32)
        along = middle * np.linspace(-1, 1, 4 * side)
        rows = np.rint(middle + along * np.sin(angle)).astype(int)
        columns = np.rint(middle + along * np.cos(angle)).astype(int)
        np.add.at(kernel, (rows, columns), rng.uniform(0, 1, 4 * side))
        kernel /= kernel.sum()
        expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        apart = np.abs(filter_sparse(image, kernel).astype(int) - expected)
        assert apart.max() <= (1 if side > 11 else 0)
        assert np.mean(apart) < 0.02


def test_any_kernel_will_do():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    kernel = np.full((15, 15), 1 / 225, np.float32)
    expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    apart = np.abs(filter_sparse(image, kernel).astype(int) - expected)
    assert apart.max() <= 1
