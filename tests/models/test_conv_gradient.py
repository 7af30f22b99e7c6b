"""The kernel gradient by one matmul a tap is that of XLA's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.models.convolutions import depthwise, plain, window


def operands(size, inputs, features, kernel):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, size, size + 1, inputs)), jnp.float32)
    return x, jnp.asarray(rng.standard_normal((kernel, kernel, inputs, features)), jnp.float32)


@pytest.mark.parametrize("padding", ["torch", "same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "inputs"), [(3, 1, 3), (7, 2, 3), (3, 2, 16), (5, 1, 16)]
)
def test_gradients(kernel, stride, inputs, padding):
    """Of few channels by patches, of more by taps."""
    x, weights = operands(12, inputs, 4, kernel)
    pads = window.pad_amounts(x.shape[1:3], kernel, stride, padding)
    run = lambda conv: jax.value_and_grad(
        lambda x, w: jnp.sum(jnp.sin(conv(x, w, stride, pads))), argnums=(0, 1)
    )(x, weights)
    (value, grads), (expected, expected_grads) = run(plain.convolve), run(plain.convolve_xla)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for got, wanted in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, "same"), (5, 1, "torch"), (5, 2, "same")]
)
def test_gradients_of_depthwise(kernel, stride, padding):
    x, weights = operands(12, 3, 4, kernel)
    weights = weights[:, :, :1, :3]
    pads = window.pad_amounts(x.shape[1:3], kernel, stride, padding)
    run = lambda conv: jax.jit(
        jax.grad(lambda x, w: jnp.sum(jnp.sin(conv(x, w, stride, pads))), argnums=(0, 1))
    )(x, weights)
    for got, expected in zip(run(depthwise.convolve), run(depthwise.multiply_add), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_kernel_gradient_by_hand():
    """One pixel of gradient: the kernel's gradient is the patch under it."""
    x, weights = operands(6, 2, 3, 3)
    pads = ((1, 1), (1, 1))
    cotangent = jnp.zeros((2, 6, 7, 3)).at[1, 2, 4, 0].set(1.0)
    grad = plain.kernel_gradient(x, cotangent, 3, 1, pads)
    np.testing.assert_array_equal(grad[..., 0], x[1, 1:4, 3:6])
    assert not np.asarray(grad[..., 1:]).any()


def test_over_a_mapped_axis():
    """A kernel that is shared by mapped images gets the sum of their gradients."""
    x, weights = operands(5, 2, 3, 3)
    pads = ((1, 1), (1, 1))
    together = lambda w: jnp.sum(plain.convolve(x, w, 1, pads) ** 2)
    mapped = lambda w: jnp.sum(jax.vmap(lambda v: plain.convolve(v[None], w, 1, pads))(x) ** 2)
    np.testing.assert_allclose(jax.grad(mapped)(weights), jax.grad(together)(weights), rtol=1e-4)


def test_the_images_need_no_gradient():
    """What is not differentiated is not computed: one convolution, and matmuls."""
    x, weights = operands(5, 2, 3, 3)
    loss = lambda w: jnp.sum(plain.convolve(x, w, 1, ((1, 1), (1, 1))) ** 2)
    text = jax.jit(jax.grad(loss)).lower(weights).compile().as_text()
    assert text.count(" convolution(") <= 1
