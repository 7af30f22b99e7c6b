"""The forms of 3x3 convolutions, of the stem's kernel gradient and of the max pool, two of each."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import figure, median_s
from dimp_jax.models import resnet
from dimp_jax.models.convolutions import plain, winograd

# Side of the map, channels in and out: of ResNets on crops of 288 px, and dimp_lite0's largest.
SHAPES = ((72, 64, 64), (36, 128, 128), (36, 256, 256), (18, 256, 256), (32, 96, 96))
TRAINING_IMAGES = 12  # of a step of dimp18
STEM_IMAGES = 6  # of one of its two passes
IN_A_ROW = 8  # so that the cost of a call does not count


def figures():
    for shape in SHAPES:
        yield _frame_figure(*shape)
    for shape in SHAPES:
        yield _training_figure(*shape)
    yield _stem_figure()
    yield _pool_figure()


def _frame_figure(side, inputs, outputs):
    x, kernel = _operands(1, side, inputs, outputs)
    weights = jax.device_put(winograd.transform_kernel(np.asarray(kernel)))
    forms = {
        "plain_ms": (_plain, kernel),
        "winograd_ms": (winograd.convolve_transformed, weights),
    }
    times = {name: _ms(form, x, weights) for name, (form, weights) in forms.items()}
    return _figure(f"{side}x{side}, {inputs} to {outputs}, one image", times)


def _training_figure(side, inputs, outputs):
    x, kernel = _operands(TRAINING_IMAGES, side, inputs, outputs)
    step = lambda form: jax.jit(jax.grad(lambda *args: jnp.sum(form(*args) ** 2), argnums=(0, 1)))
    forms = {"plain_ms": _plain, "winograd_ms": winograd.convolve}
    times = {name: 1e3 * median_s(step(form), x, kernel, repeats=5) for name, form in forms.items()}
    name = f"{side}x{side}, {inputs} to {outputs}, {TRAINING_IMAGES} images with gradients"
    return _figure(name, times)


def _stem_figure():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((STEM_IMAGES, 288, 288, 3)), jnp.float32)
    cotangent = jnp.asarray(rng.standard_normal((STEM_IMAGES, 144, 144, 64)), jnp.float32)
    pads = ((3, 3), (3, 3))

    def gradient_ms(few_channels):
        run = jax.jit(lambda x, g: plain.kernel_gradient(x, g, 7, 2, pads))
        with mock.patch.object(plain, "FEW_CHANNELS", few_channels):
            return 1e3 * median_s(run, x, cotangent, repeats=5)

    times = {"taps_ms": gradient_ms(0), "patches_ms": gradient_ms(plain.FEW_CHANNELS)}
    name = f"kernel gradient of the stem, {STEM_IMAGES} images"
    return figure(name, times["taps_ms"] / times["patches_ms"], "x the speed by taps", **times)


def _pool_figure():
    x = np.random.default_rng(0).standard_normal((STEM_IMAGES, 144, 144, 64))
    x = jnp.asarray(np.maximum(x, 0), jnp.float32)
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    xla = lambda x: jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads
    )
    gradient = lambda pool: jax.jit(jax.grad(lambda x: jnp.sum(pool(x) ** 2)))
    forms = {"xla_ms": xla, "shifts_ms": resnet.max_pool}
    times = {name: 1e3 * median_s(gradient(pool), x, repeats=5) for name, pool in forms.items()}
    name = f"max pool of {STEM_IMAGES} images with gradient"
    return figure(name, times["xla_ms"] / times["shifts_ms"], "x the speed of XLA's", **times)


def _operands(images, side, inputs, outputs):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, side, side, inputs))
    kernel = rng.standard_normal((3, 3, inputs, outputs)) / (9 * inputs) ** 0.5
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def _plain(x, kernel):
    return plain.convolve(x, kernel, 1, ((1, 1), (1, 1)))


def _ms(form, x, weights):
    """Of one of several layers in a row, of as many channels in as out."""

    @jax.jit
    def layers(x, weights):
        for _ in range(IN_A_ROW):
            x = jax.nn.relu(form(x, weights))
        return x

    return 1e3 * median_s(layers, x, weights) / IN_A_ROW


def _figure(name, times):
    ratio = times["plain_ms"] / times["winograd_ms"]
    return figure(f"3x3 convolution, {name}", ratio, "x the speed of the plain form", **times)
