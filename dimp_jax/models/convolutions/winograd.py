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

TILE = 2  # tiles of 4 gain 10 % of a frame, at ten times the error
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
    """A kernel [3, 3, I, O] for `convolve_transformed`: 16 matrices [I, O], by number.

    Apart, because XLA's CPU backend would copy a slice of one array in each call. In numpy.
    """
    wide = np.asarray(kernel, np.float64)
    found = np.einsum("ai,bj,ijco->abco", KERNEL, KERNEL, wide, optimize=True)
    flat = found.astype(kernel.dtype).reshape(-1, *kernel.shape[2:])
    return {f"{index:02d}": np.ascontiguousarray(part) for index, part in enumerate(flat)}


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
        seen, wanted = _image_tiles(x), _output_tiles(cotangent)
        products = [
            jnp.matmul(a.T, b, precision=precision) for a, b in zip(seen, wanted, strict=True)
        ]
        return total + jnp.stack(products), _convolve_image(cotangent, turned, precision)

    zero = jnp.zeros((TILE_IN**2, *kernel.shape[2:]), kernel.dtype)
    grad_weights, grad_x = jax.lax.scan(add_image, zero, (x, cotangent))
    (grad_kernel,) = jax.linear_transpose(_transform, kernel)(grad_weights)
    return grad_x, grad_kernel


convolve.defvjp(_forward, _backward)


def _each_image(function, x):
    return function(x[0])[None] if x.shape[0] == 1 else jax.lax.map(function, x)


def _transform(kernel):
    """[16, I, O] of a kernel [3, 3, I, O]."""
    rows = _combine(KERNEL, kernel)
    return jnp.concatenate([jnp.stack(_combine(KERNEL, row)) for row in rows])


def _convolve_image(image, weights, precision):
    """[H, W, O] of an image [H, W, I] and 16 matrices [I, O]."""
    height, width, _ = image.shape
    tiles_y, tiles_x = -(-height // TILE), -(-width // TILE)
    products = [
        jnp.matmul(seen, weights[index], precision=precision).reshape(tiles_y, tiles_x, -1)
        for index, seen in enumerate(_image_tiles(image))
    ]
    of_column = [_combine(OUTPUTS, products[i::TILE_IN]) for i in range(TILE_IN)]
    rows = []
    for column in zip(*of_column, strict=True):  # the upper or the lower row of all tiles
        row = jnp.stack(_combine(OUTPUTS, column), axis=2)
        rows.append(row.reshape(tiles_y, tiles_x * TILE, -1))
    out = jnp.stack(rows, axis=1).reshape(tiles_y * TILE, tiles_x * TILE, -1)
    return out[:height, :width]


def _image_tiles(image):
    """The transformed tiles of an image [H, W, I]: 16 arrays [tiles, I]."""
    height, width, inputs = image.shape
    tiles_y, tiles_x = -(-height // TILE), -(-width // TILE)
    ends = tiles_y * TILE - height + 1, tiles_x * TILE - width + 1
    image = jnp.pad(image, ((1, ends[0]), (1, ends[1]), (0, 0)))
    tiles = []
    along_y = [image[i : i + (tiles_y - 1) * TILE + 1 : TILE] for i in range(TILE_IN)]
    for row in _combine(IMAGE, along_y):
        along_x = [row[:, i : i + (tiles_x - 1) * TILE + 1 : TILE] for i in range(TILE_IN)]
        tiles += [seen.reshape(-1, inputs) for seen in _combine(IMAGE, along_x)]
    return tiles


def _output_tiles(cotangent):
    """The cotangents of the products, 16 arrays [tiles, O], from that of [H, W, O]."""
    height, width, features = cotangent.shape
    cotangent = jnp.pad(cotangent, ((0, -height % TILE), (0, -width % TILE), (0, 0)))
    tiles = []
    for row in _combine(OUTPUTS.T, [cotangent[i::TILE] for i in range(TILE)]):
        along_x = _combine(OUTPUTS.T, [row[:, i::TILE] for i in range(TILE)])
        tiles += [wanted.reshape(-1, features) for wanted in along_x]
    return tiles


def _combine(matrix, parts):
    """matrix @ parts, the parts being arrays of one shape."""
    combined = []
    for row in matrix:
        terms = [p if c == 1 else float(c) * p for c, p in zip(row, parts, strict=True) if c != 0]
        combined.append(sum(terms[1:], start=terms[0]))
    return combined
