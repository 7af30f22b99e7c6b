"""3x3 convolutions of stride 1 with 2.25 times fewer multiplications.

Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, "Fast algorithms for convolutional neural
networks", CVPR 2016): a tile of 2 x 2 outputs comes from 16 products of a transformed tile of the
image with a transformed kernel, instead of 36. Over channels and tiles each of them is a matmul.

All is done image by image, so that what is in between stays in the cache.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

TILE = 2  # of 4: 10 % less for a frame of dimp18, ten times the error (by hand, 2026-11-27)
TILE_IN = TILE + 2
# In one dimension: outputs = OUTPUTS ((KERNEL kernel) * (IMAGE image)).
OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
IMAGE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])


def pays(x) -> bool:
    """Whether `convolve` is faster than XLA's convolution: of batches, on a CPU, in float32.

    One image needs the kernel transformed beforehand (`convolve_transformed`).
    """
    return jax.default_backend() == "cpu" and x.dtype == jnp.float32 and x.shape[0] > 1


def transform_kernel(kernel) -> dict:
    """A kernel [3, 3, I, O] for `convolve_transformed`: of each column of a tile [4, I, O].

    Apart, because XLA's CPU backend would copy a slice of one array in each call. In numpy.
    """
    wide = np.asarray(kernel, np.float64)
    found = np.einsum("ai,bj,ijco->baco", KERNEL, KERNEL, wide, optimize=True)
    return {str(column): part for column, part in enumerate(found.astype(kernel.dtype))}


def convolve_transformed(x, transformed: dict, precision=None):
    """The convolution with one cell of zeros around the image; no derivative of its own.

    Args:
      x: [N, H, W, I]. transformed: as `transform_kernel` gives it.

    Returns:
      [N, H, W, O].
    """
    weights = [transformed[key] for key in sorted(transformed)]
    return _each_image(lambda image: _convolve_image(image, weights, precision), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x, kernel, precision=None):
    """The same by a kernel [3, 3, I, O], for training; no forward-mode derivative.

    Its gradients are in the same form: that of x is such a convolution, that of the transformed
    kernel a matmul a product.
    """
    weights = _transform(kernel)
    return _each_image(lambda image: _convolve_image(image, weights, precision), x)


def _forward(x, kernel, precision):
    return convolve(x, kernel, precision), (x, kernel)


def _backward(precision, residuals, cotangent):
    x, kernel = residuals
    turned = _transform(kernel[::-1, ::-1].swapaxes(2, 3))

    def add_image(total, image):
        x, cotangent = image
        pairs = zip(_image_tiles(x), _output_tiles(cotangent), strict=True)
        products = [jnp.matmul(a.swapaxes(1, 2), b, precision=precision) for a, b in pairs]
        return total + jnp.stack(products), _convolve_image(cotangent, turned, precision)

    zero = jnp.zeros((TILE_IN, TILE_IN, *kernel.shape[2:]), kernel.dtype)
    grad_weights, grad_x = jax.lax.scan(add_image, zero, (x, cotangent))
    (grad_kernel,) = jax.linear_transpose(_transform, kernel)(grad_weights)
    return grad_x, grad_kernel


convolve.defvjp(_forward, _backward)


def _each_image(function, x):
    return function(x[0])[None] if x.shape[0] == 1 else jax.lax.map(function, x)


def _transform(kernel):
    """[4, 4, I, O] by column and row of a tile, of a kernel [3, 3, I, O]."""
    rows = jnp.stack(_combine(KERNEL, kernel), axis=1)
    return jnp.stack(_combine(KERNEL, rows))


def _convolve_image(image, weights, precision):
    """[H, W, O] of an image [H, W, I] and four [4, I, O]."""
    height, width, _ = image.shape
    tiles_y, tiles_x = -(-height // TILE), -(-width // TILE)
    products = [
        jnp.matmul(seen, weights[column], precision=precision)
        for column, seen in enumerate(_image_tiles(image))
    ]
    along_y = [jnp.stack(_combine(OUTPUTS, column)) for column in _apart(products)]
    out = jnp.stack(_combine(OUTPUTS, along_y), axis=2)  # [2, tiles, 2, O]
    out = out.reshape(TILE, tiles_y, tiles_x * TILE, -1).swapaxes(0, 1)
    return out.reshape(tiles_y * TILE, tiles_x * TILE, -1)[:height, :width]


def _image_tiles(image):
    """The transformed tiles of an image [H, W, I]: of each of their columns [4, tiles, I]."""
    height, width, inputs = image.shape
    tiles_y, tiles_x = -(-height // TILE), -(-width // TILE)
    ends = tiles_y * TILE - height + 1, tiles_x * TILE - width + 1
    image = jnp.pad(image, ((1, ends[0]), (1, ends[1]), (0, 0)))
    along_y = [image[i : i + (tiles_y - 1) * TILE + 1 : TILE] for i in range(TILE_IN)]
    rows = _apart(jnp.stack(_combine(IMAGE, along_y)))
    along_x = [rows[:, :, i : i + (tiles_x - 1) * TILE + 1 : TILE] for i in range(TILE_IN)]
    return [seen.reshape(TILE_IN, -1, inputs) for seen in _combine(IMAGE, along_x)]


def _output_tiles(cotangent):
    """The cotangents of the products, of each column [4, tiles, O], from that of [H, W, O]."""
    height, width, features = cotangent.shape
    cotangent = jnp.pad(cotangent, ((0, -height % TILE), (0, -width % TILE), (0, 0)))
    rows = _combine(OUTPUTS.T, [cotangent[i::TILE] for i in range(TILE)])
    rows = _apart(jnp.stack(rows))
    columns = _combine(OUTPUTS.T, [rows[:, :, i::TILE] for i in range(TILE)])
    return [wanted.reshape(TILE_IN, -1, features) for wanted in columns]


def _apart(values):
    """Keeps XLA from computing `values` anew in every use: half the time to compile, and to run."""
    return jax.lax.optimization_barrier(values)


def _combine(matrix, parts):
    """matrix @ parts, the parts being arrays of one shape."""
    combined = []
    for row in matrix:
        terms = [p if c == 1 else float(c) * p for c, p in zip(row, parts, strict=True) if c != 0]
        combined.append(sum(terms[1:], start=terms[0]))
    return combined
