"""3x3 convolutions of stride 1 with two to four times fewer multiplications.

Winograd's minimal filtering (Lavin and Gray, "Fast algorithms for convolutional neural networks",
CVPR 2016): a tile of m x m outputs comes from (m + 2)^2 products of a transformed tile of the image
with a transformed kernel, instead of 9 m^2. Over channels and tiles each of them is a matmul.
"""

import functools

import jax.numpy as jnp
import numpy as np

# Interpolation points, besides infinity. For tiles of 4 these have half the error of 0, 1, -1, 2,
# -2, in float32 some three times that of tiles of 2.
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}
TAPS = 3


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
    """A kernel [3, 3, I, O] for `convolve`: (m + 2)^2 matrices [I, O], by number.

    Apart, because XLA's CPU backend would copy a slice of one array in each call. In numpy.
    """
    _, matrix, _ = transforms(tile)
    wide = np.asarray(kernel, np.float64)
    found = np.einsum("ai,bj,ijco->abco", matrix, matrix, wide, optimize=True)
    flat = found.astype(kernel.dtype).reshape(-1, *kernel.shape[2:])
    return {f"{index:02d}": np.ascontiguousarray(part) for index, part in enumerate(flat)}


def convolve(x, transformed: dict, precision=None):
    """The convolution with one cell of zeros around the image.

    Args:
      x: [N, H, W, I]. transformed: as `transform_kernel` gives it.

    Returns:
      [N, H, W, O].
    """
    tile = round(len(transformed) ** 0.5) - 2
    outputs, _, image = transforms(tile)
    n, height, width, inputs = x.shape
    tiles_y, tiles_x = -(-height // tile), -(-width // tile)
    ends = tiles_y * tile - height + 1, tiles_x * tile - width + 1
    x = jnp.pad(x, ((0, 0), (1, ends[0]), (1, ends[1]), (0, 0)))
    along_y = lambda i: x[:, i : i + (tiles_y - 1) * tile + 1 : tile]
    products = []
    for row in _combine(image, [along_y(i) for i in range(tile + 2)]):
        along_x = lambda i, row=row: row[:, :, i : i + (tiles_x - 1) * tile + 1 : tile]
        for seen in _combine(image, [along_x(i) for i in range(tile + 2)]):
            weights = transformed[f"{len(products):02d}"]
            flat = jnp.matmul(seen.reshape(-1, inputs), weights, precision=precision)
            products.append(flat.reshape(n, tiles_y, tiles_x, -1))
    of_column = [_combine(outputs, products[i :: tile + 2]) for i in range(tile + 2)]
    rows = []
    for column in zip(*of_column, strict=True):  # one of the `tile` rows of a tile
        row = jnp.stack(_combine(outputs, column), axis=3)
        rows.append(row.reshape(n, tiles_y, tiles_x * tile, -1))
    out = jnp.stack(rows, axis=2).reshape(n, tiles_y * tile, tiles_x * tile, -1)
    return out[:, :height, :width]


def _combine(matrix, parts):
    """matrix @ parts, the parts being arrays of one shape."""
    combined = []
    for row in matrix:
        terms = [p if c == 1 else float(c) * p for c, p in zip(row, parts, strict=True) if c != 0]
        combined.append(sum(terms[1:], start=terms[0]))
    return combined
