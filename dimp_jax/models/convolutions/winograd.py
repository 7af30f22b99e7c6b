"""3x3 convolutions of stride 1 with two to four times fewer multiplications.

Winograd's minimal filtering (Lavin and Gray, "Fast algorithms for convolutional neural networks",
CVPR 2016): a tile of m x m outputs comes from (m + 2)^2 products of a transformed tile of the image
with a transformed kernel, instead of 9 m^2. Over channels and tiles each of them is a matmul.

All is done image by image, so that what is in between stays in the cache.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Interpolation points, besides infinity. For tiles of 4 these have half the error of 0, 1, -1, 2,
# -2, in float32 some three times that of tiles of 2.
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}
TAPS = 3
TRAINING_TILE = 2  # 4 is no faster forwards and backwards


@functools.cache
def transforms(tile: int):
    """Toom-Cook matrices of `tile` outputs: of outputs [m, n], kernel [n, 3], image [n, n].

    With n = m + 2 and A, G, B of these: outputs = A ((G kernel) * (B image)), in one dimension.
    """
    points = np.array(POINTS[tile])
    last = lambda size: np.eye(size)[-1:]
    outputs = np.concatenate([points ** np.arange(tile)[:, None], last(tile).T], 1)
    kernel = np.concatenate([points[:, None] ** np.arange(TAPS), last(TAPS)])
    image = np.zeros((tile + 2, tile + 2))
    for row, point in enumerate(points):  # Lagrange's polynomials, lowest power first
        others = np.delete(points, row)
        image[row, :-1] = np.poly(others)[::-1] / np.prod(point - others)
    image[-1] = np.poly(points)[::-1]
    return outputs, kernel, image


def transform_kernel(kernel, tile: int) -> dict:
    """A kernel [3, 3, I, O] for `convolve_transformed`: (m + 2)^2 matrices [I, O], by number.

    Apart, because XLA's CPU backend would copy a slice of one array in each call. In numpy.
    """
    _, matrix, _ = transforms(tile)
    wide = np.asarray(kernel, np.float64)
    found = np.einsum("ai,bj,ijco->abco", matrix, matrix, wide, optimize=True)
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
    tile = round(len(weights) ** 0.5) - 2
    return _each_image(lambda image: _convolve_image(image, weights, tile, precision), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x, kernel, precision=None):
    """The same by a kernel [3, 3, I, O], for training; no forward-mode derivative.

    Its gradients are in the same form: that of x is such a convolution, that of the transformed
    kernel a matmul a product.
    """
    weights = _transform(kernel)
    run = lambda image: _convolve_image(image, weights, TRAINING_TILE, precision)
    return _each_image(run, x)


def _forward(x, kernel, precision):
    return convolve(x, kernel, precision), (x, kernel)


def _backward(precision, residuals, cotangent):
    x, kernel = residuals
    tile = TRAINING_TILE
    turned = _transform(kernel[::-1, ::-1].swapaxes(2, 3))

    def add_image(total, image):
        x, cotangent = image
        seen, wanted = _image_tiles(x, tile), _output_tiles(cotangent, tile)
        products = [
            jnp.matmul(a.T, b, precision=precision) for a, b in zip(seen, wanted, strict=True)
        ]
        return total + jnp.stack(products), _convolve_image(cotangent, turned, tile, precision)

    zero = jnp.zeros(((tile + 2) ** 2, *kernel.shape[2:]), kernel.dtype)
    grad_weights, grad_x = jax.lax.scan(add_image, zero, (x, cotangent))
    (grad_kernel,) = jax.linear_transpose(_transform, kernel)(grad_weights)
    return grad_x, grad_kernel


convolve.defvjp(_forward, _backward)


def _each_image(function, x):
    return function(x[0])[None] if x.shape[0] == 1 else jax.lax.map(function, x)


def _transform(kernel):
    """[(m + 2)^2, I, O] of a kernel [3, 3, I, O], for tiles of `TRAINING_TILE`."""
    _, matrix, _ = transforms(TRAINING_TILE)
    rows = jnp.stack(_combine(matrix, kernel))
    return jnp.concatenate([jnp.stack(_combine(matrix, row)) for row in rows])


def _convolve_image(image, weights, tile: int, precision):
    """[H, W, O] of an image [H, W, I] and (m + 2)^2 matrices [I, O]."""
    height, width, _ = image.shape
    tiles_y, tiles_x = -(-height // tile), -(-width // tile)
    products = [
        jnp.matmul(seen, weights[index], precision=precision).reshape(tiles_y, tiles_x, -1)
        for index, seen in enumerate(_image_tiles(image, tile))
    ]
    outputs, _, _ = transforms(tile)
    of_column = [_combine(outputs, products[i :: tile + 2]) for i in range(tile + 2)]
    rows = []
    for column in zip(*of_column, strict=True):  # one of the `tile` rows of a tile
        row = jnp.stack(_combine(outputs, column), axis=2)
        rows.append(row.reshape(tiles_y, tiles_x * tile, -1))
    out = jnp.stack(rows, axis=1).reshape(tiles_y * tile, tiles_x * tile, -1)
    return out[:height, :width]


def _image_tiles(image, tile: int):
    """The transformed tiles of an image [H, W, I]: (m + 2)^2 arrays [tiles, I]."""
    height, width, inputs = image.shape
    tiles_y, tiles_x = -(-height // tile), -(-width // tile)
    ends = tiles_y * tile - height + 1, tiles_x * tile - width + 1
    image = jnp.pad(image, ((1, ends[0]), (1, ends[1]), (0, 0)))
    _, _, matrix = transforms(tile)
    tiles = []
    along_y = [image[i : i + (tiles_y - 1) * tile + 1 : tile] for i in range(tile + 2)]
    for row in _combine(matrix, along_y):
        along_x = [row[:, i : i + (tiles_x - 1) * tile + 1 : tile] for i in range(tile + 2)]
        tiles += [seen.reshape(-1, inputs) for seen in _combine(matrix, along_x)]
    return tiles


def _output_tiles(cotangent, tile: int):
    """The cotangents of the products, (m + 2)^2 arrays [tiles, O], from that of [H, W, O]."""
    height, width, features = cotangent.shape
    cotangent = jnp.pad(cotangent, ((0, -height % tile), (0, -width % tile), (0, 0)))
    outputs, _, _ = transforms(tile)
    tiles = []
    for row in _combine(outputs.T, [cotangent[i::tile] for i in range(tile)]):
        along_x = _combine(outputs.T, [row[:, i::tile] for i in range(tile)])
        tiles += [wanted.reshape(-1, features) for wanted in along_x]
    return tiles


def _combine(matrix, parts):
    """matrix @ parts, the parts being arrays of one shape."""
    combined = []
    for row in matrix:
        terms = [p if c == 1 else float(c) * p for c, p in zip(row, parts, strict=True) if c != 0]
        combined.append(sum(terms[1:], start=terms[0]))
    return combined
