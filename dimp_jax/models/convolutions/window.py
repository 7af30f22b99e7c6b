"""Where a kernel looks: padding, and the part of the image that each of its taps sees."""

from typing import Literal

import jax.numpy as jnp

Padding = Literal["torch", "same", "valid"]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: the odd pixel goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_amounts(shape_hw, kernel: int, stride: int, padding: Padding):
    """Padding ((top, bottom), (left, right)); "torch" is kernel // 2 on every side."""
    if padding == "torch":
        return ((kernel // 2, kernel // 2),) * 2
    if padding == "same":
        return tuple(same_padding(size, kernel, stride) for size in shape_hw)
    return ((0, 0), (0, 0))


def shifted(x, kernel: int, stride: int, pads):
    """A function of a tap (a, b) to what it sees of x [N, H, W, C] in every output cell."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, cols = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    height, width = (rows - 1) * stride + 1, (cols - 1) * stride + 1
    return lambda a, b: x[:, a : a + height : stride, b : b + width : stride]
