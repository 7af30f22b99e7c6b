"""Convolutions as functions of arrays, in the forms that XLA runs fast.

Measured on CPU (docs/performance.md): 1x1 convolutions are matmuls and depthwise ones k x k shifted
multiply-adds; both give the same numbers as `conv_general_dilated` and are 2 to 70 times faster.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp


def full_precision(x):
    """bfloat16 to float32; leaves float32 (and float64) as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: the odd pixel goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_amounts(shape_hw, kernel: int, stride: int, padding: Literal["torch", "same", "valid"]):
    """Padding ((top, bottom), (left, right)); "torch" is kernel // 2 on every side."""
    if padding == "torch":
        return ((kernel // 2, kernel // 2),) * 2
    if padding == "same":
        return tuple(same_padding(size, kernel, stride) for size in shape_hw)
    return ((0, 0), (0, 0))


def conv1x1(x, kernel, stride: int = 1, precision=None):
    """[N, H, W, I] by [1, 1, I, O] as one matmul; a stride slices first."""
    x = x[:, ::stride, ::stride]
    return jnp.einsum("nhwi,io->nhwo", x, kernel[0, 0], precision=precision)


def depthwise(x, kernel, stride: int, pads):
    """[N, H, W, C] by [k, k, 1, C], one filter a channel, as k k shifted multiply-adds."""
    if jax.default_backend() == "cpu":
        return _depthwise_cpu(x, kernel, stride, tuple(map(tuple, pads)))
    return _depthwise(x, kernel, stride, pads)


def _depthwise(x, kernel, stride, pads):
    k = kernel.shape[0]
    shifted = _shifted(x, k, stride, pads)
    return sum(shifted(a, b) * kernel[a, b][None, None] for a in range(k) for b in range(k))


def _shifted(x, k, stride, pads):
    """A function of a tap (a, b) to what it sees of x [N, H, W, C] in every output cell."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, cols = ((size - k) // stride + 1 for size in x.shape[1:3])
    height, width = (rows - 1) * stride + 1, (cols - 1) * stride + 1
    return lambda a, b: x[:, a : a + height : stride, b : b + width : stride]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise_cpu(x, kernel, stride, pads):
    """`_depthwise` with gradients of its own; no forward-mode derivative.

    XLA's CPU backend runs the derived ones as k k passes over the whole batch each.
    """
    return _depthwise(x, kernel, stride, pads)


def _depthwise_cpu_forward(x, kernel, stride, pads):
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _depthwise_cpu_backward(stride, pads, residuals, cotangent):
    x, kernel = residuals
    k = kernel.shape[0]
    if stride == 1:
        turned = tuple((k - 1 - low, k - 1 - high) for low, high in pads)
        grad_x = _depthwise(cotangent, kernel[::-1, ::-1], 1, turned)
    else:
        forward = lambda v: _depthwise(v, kernel, stride, pads)
        (grad_x,) = jax.linear_transpose(forward, x)(cotangent)

    def add_image(total, image):
        x, cotangent = image  # of one image: all taps read it while it is in the cache
        shifted = _shifted(x[None], k, stride, pads)
        taps = [shifted(a, b)[0] * cotangent for a in range(k) for b in range(k)]
        return total + jnp.stack([full_precision(t).sum((0, 1)) for t in taps]), None

    zero = jnp.zeros((k * k, x.shape[-1]), jnp.promote_types(x.dtype, jnp.float32))
    grad_kernel, _ = jax.lax.scan(add_image, zero, (x, cotangent))
    return grad_x, grad_kernel.reshape(kernel.shape).astype(kernel.dtype)


_depthwise_cpu.defvjp(_depthwise_cpu_forward, _depthwise_cpu_backward)


def conv(x, kernel, stride: int, pads, groups: int = 1, precision=None):
    """Plain NHWC convolution by XLA."""
    if groups == 1 and jax.default_backend() == "cpu":
        return _conv_cpu(x, kernel, stride, tuple(map(tuple, pads)), precision)
    return _conv_xla(x, kernel, stride, pads, precision, groups)


def _conv_xla(x, kernel, stride, pads, precision=None, groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=precision,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv_cpu(x, kernel, stride, pads, precision):
    """XLA's convolution with another gradient of the kernel; no forward-mode derivative.

    XLA's CPU backend runs that gradient as a convolution with a kernel of the image's size, 1.4 to
    3 times slower than the matmul a kernel tap that it also is (docs/performance.md).
    """
    return _conv_xla(x, kernel, stride, pads, precision)


def _conv_cpu_forward(x, kernel, stride, pads, precision):
    return _conv_xla(x, kernel, stride, pads, precision), (x, kernel)


def _conv_cpu_backward(stride, pads, precision, residuals, cotangent):
    x, kernel = residuals
    forward = lambda v: _conv_xla(v, kernel, stride, pads, precision)
    (grad_x,) = jax.linear_transpose(forward, x)(cotangent)
    return grad_x, kernel_gradient(x, cotangent, kernel.shape[0], stride, pads, precision)


_conv_cpu.defvjp(_conv_cpu_forward, _conv_cpu_backward)


def kernel_gradient(x, cotangent, k: int, stride: int, pads, precision=None):
    """Gradient of `conv` for its kernel [k, k, I, O], one matmul a tap."""
    shifted, features = _shifted(x, k, stride, pads), cotangent.shape[-1]
    flat = cotangent.reshape(-1, features)
    contract_cells = (((0,), (0,)), ((), ()))
    taps = [
        jax.lax.dot_general(shifted(a, b).reshape(-1, x.shape[-1]), flat, contract_cells, precision)
        for a in range(k)
        for b in range(k)
    ]
    return jnp.stack(taps).reshape(k, k, -1, features)
