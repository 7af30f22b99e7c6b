"""Depthwise convolutions, one filter a channel: k x k shifted multiply-adds."""

import functools

import jax
import jax.numpy as jnp

from dimp_jax.models.convolutions.window import shifted
from dimp_jax.models.mixed_precision import full_precision


def convolve(x, kernel, stride: int, pads):
    """x [N, H, W, C], kernel [k, k, 1, C]."""
    if jax.default_backend() == "cpu":
        return _convolve_cpu(x, kernel, stride, tuple(map(tuple, pads)))
    return multiply_add(x, kernel, stride, pads)


def multiply_add(x, kernel, stride: int, pads):
    """The same with JAX's own derivatives."""
    k = kernel.shape[0]
    seen = shifted(x, k, stride, pads)
    return sum(seen(a, b) * kernel[a, b][None, None] for a in range(k) for b in range(k))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_cpu(x, kernel, stride, pads):
    """`multiply_add` with gradients of its own; no forward-mode derivative.

    XLA's CPU backend runs the derived ones as k k passes over the whole batch each.
    """
    return multiply_add(x, kernel, stride, pads)


def _forward(x, kernel, stride, pads):
    return multiply_add(x, kernel, stride, pads), (x, kernel)


def _backward(stride, pads, residuals, cotangent):
    x, kernel = residuals
    k = kernel.shape[0]
    if stride == 1:
        turned = tuple((k - 1 - low, k - 1 - high) for low, high in pads)
        grad_x = multiply_add(cotangent, kernel[::-1, ::-1], 1, turned)
    else:
        forward = lambda v: multiply_add(v, kernel, stride, pads)
        (grad_x,) = jax.linear_transpose(forward, x)(cotangent)

    def add_image(total, image):
        x, cotangent = image  # of one image: all taps read it while it is in the cache
        seen = shifted(x[None], k, stride, pads)
        taps = [seen(a, b)[0] * cotangent for a in range(k) for b in range(k)]
        return total + jnp.stack([full_precision(t).sum((0, 1)) for t in taps]), None

    zero = jnp.zeros((k * k, x.shape[-1]), jnp.promote_types(x.dtype, jnp.float32))
    grad_kernel, _ = jax.lax.scan(add_image, zero, (x, cotangent))
    return grad_x, grad_kernel.reshape(kernel.shape).astype(kernel.dtype)


_convolve_cpu.defvjp(_forward, _backward)
