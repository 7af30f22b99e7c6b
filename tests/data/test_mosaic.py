"""A photograph among others: where each of them lies, and where its box is."""

import numpy as np

from dimp_jax.data import mosaic
from dimp_jax.data.draws import sample_draws


def test_the_picture_is_in_the_middle_and_the_box_on_it():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    others = [np.full((7 * n + 5, 40, 3), 10 * n, np.uint8) for n in range(1, 9)]
    canvas, box = mosaic.surrounded(image, (3, 4, 10, 12), others, sample_draws(0, 0))
    assert canvas.shape == (60, 90, 3) and canvas.dtype == np.uint8
    np.testing.assert_array_equal(canvas[20:40, 30:60], image)
    assert box.tolist() == [33, 24, 10, 12]
    corners = canvas[::20, ::30, 0]
    assert corners.ravel().tolist()[:4] + corners.ravel().tolist()[5:] == [
        10 * n for n in range(1, 9)
    ]


def test_neighbours_fill_their_cells_and_are_mirrored_at_random():
    image = np.zeros((16, 16, 3), np.uint8)
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    canvas, _ = mosaic.surrounded(image, (0, 0, 4, 4), [ramp] * 8, sample_draws(1, 0))
    cells = [
        canvas[r : r + 16, c : c + 16, 0].astype(int) for r in (0, 16, 32) for c in (0, 16, 32)
    ]
    del cells[4]
    slopes = {int(np.sign(cell[0, -1] - cell[0, 0])) for cell in cells}
    assert slopes == {-1, 1}
    assert all(14 <= cell.min() <= 18 and 46 <= cell.max() <= 50 for cell in cells)
