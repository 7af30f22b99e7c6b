"""A photograph among others: where each of them lies, and where its box is."""

import numpy as np

from dimp_jax.data import mosaic
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.source import Frame

CELLS = mosaic.draw_cells(100, sample_draws(1, 0))


def whole(image, box_xywh, others):
    cells = [mosaic.Cell(i, draw.mirrored) for i, draw in enumerate(CELLS)]
    frame = mosaic.surrounded(Frame(image, box_xywh), cells, others.__getitem__)
    rows, columns, _ = frame.image.shape
    return frame.image.within((0, 0), (columns, rows)), frame.box_xywh


def test_the_picture_is_in_the_middle_and_the_box_on_it():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    others = [np.full((7 * n + 5, 40, 3), 10 * n, np.uint8) for n in range(1, 9)]
    canvas, box = whole(image, (3, 4, 10, 12), others)
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
    canvas, _ = whole(image, (0, 0, 4, 4), [ramp] * 8)
    cells = [
        canvas[r : r + 16, c : c + 16, 0].astype(int) for r in (0, 16, 32) for c in (0, 16, 32)
    ]
    del cells[4]
    slopes = {int(np.sign(cell[0, -1] - cell[0, 0])) for cell in cells}
    assert slopes == {-1, 1}
    assert all(14 <= cell.min() <= 18 and 46 <= cell.max() <= 50 for cell in cells)


def test_only_what_is_looked_at_is_read():
    rng = np.random.default_rng(0)
    image, *others = rng.integers(0, 256, (9, 20, 30, 3), np.uint8)
    complete, _ = whole(image, (0, 0, 4, 4), others)
    read = []

    def noted(index):
        read.append(index)
        return others[index]

    cells = [mosaic.Cell(i, draw.mirrored) for i, draw in enumerate(CELLS)]
    frame = mosaic.surrounded(Frame(image, (0, 0, 4, 4)), cells, noted)
    part = frame.image.within((31, 19), (90, 40))
    np.testing.assert_array_equal(part[19:40, 31:90], complete[19:40, 31:90])
    assert read == [1, 2, 4]
    frame.image.within((30, 20), (60, 40))
    assert len(read) == 3
