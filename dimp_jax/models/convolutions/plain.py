"""XLA's own convolution, with a gradient of the kernel that is fast on a CPU."""

import functools

import jax
import jax.numpy as jnp

from dimp_jax.models.convolutions.window import shifted

FEW_CHANNELS = 16


def convolve(x, kernel, stride: int, pads, precision=None):
    """x [N, H, W, I], kernel [k, k, I, O]."""
    if jax.default_backend() == "cpu":
        return _convolve_cpu(x, kernel, stride, tuple(map(tuple, pads)), precision)
    return convolve_xla(x, kernel, stride, pads, precision)


def convolve_xla(x, kernel, stride: int, pads, precision=None, groups: int = 1):
    """The same with XLA's own derivatives."""
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
def _convolve_cpu(x, kernel, stride, pads, precision):
    """No forward-mode derivative.

    XLA's CPU backend runs the gradient of the kernel as a convolution with a kernel of the image's
    size, 1.4 to 3 times slower than the matmul a kernel tap that it also is.
    """
    return convolve_xla(x, kernel, stride, pads, precision)


def _forward(x, kernel, stride, pads, precision):
    return convolve_xla(x, kernel, stride, pads, precision), (x, kernel)


def _backward(stride, pads, precision, residuals, cotangent):
    x, kernel = residuals
    forward = lambda v: convolve_xla(v, kernel, stride, pads, precision)
    (grad_x,) = jax.linear_transpose(forward, x)(cotangent)
    return grad_x, kernel_gradient(x, cotangent, kernel.shape[0], stride, pads, precision)


_convolve_cpu.defvjp(_forward, _backward)


def kernel_gradient(x, cotangent, k: int, stride: int, pads, precision=None):
    """Gradient of `convolve` for its kernel [k, k, I, O].

    One matmul a tap; of few channels, whose matmuls would be thin, one an image of all its patches.
    """
    if x.shape[-1] < FEW_CHANNELS:
        return _gradient_by_patches(x, cotangent, k, stride, pads, precision)
    seen, features = shifted(x, k, stride, pads), cotangent.shape[-1]
    flat = cotangent.reshape(-1, features)
    contract_cells = (((0,), (0,)), ((), ()))
    taps = [
        jax.lax.dot_general(seen(a, b).reshape(-1, x.shape[-1]), flat, contract_cells, precision)
        for a in range(k)
        for b in range(k)
    ]
    return jnp.stack(taps).reshape(k, k, -1, features)


def _gradient_by_patches(x, cotangent, k, stride, pads, precision):
    inputs, features = x.shape[-1], cotangent.shape[-1]

    def add_image(total, image):
        x, cotangent = image
        seen = shifted(x[None], k, stride, pads)
        patches = jnp.concatenate([seen(a, b)[0] for a in range(k) for b in range(k)], axis=-1)
        flat = patches.reshape(-1, k * k * inputs)
        return total + jnp.matmul(
            flat.T, cotangent.reshape(-1, features), precision=precision
        ), None

    zero = jnp.zeros((k * k * inputs, features), cotangent.dtype)
    total, _ = jax.lax.scan(add_image, zero, (x, cotangent))
    return total.reshape(k, k, inputs, features)
