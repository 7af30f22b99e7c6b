"""Annotated frames: small, large, wide and tall."""

import numpy as np
import pytest

from dimp_jax.media import draw


@pytest.mark.parametrize("size_hw", [(40, 64), (96, 128), (272, 640), (1080, 1920), (900, 300)])
def test_annotation_keeps_to_the_frame(size_hw):
    image = np.full((*size_hw, 3), 120, np.uint8)
    box = np.array([0.25 * size_hw[1], 0.25 * size_hw[0], 0.5 * size_hw[1], 0.4 * size_hw[0]])
    drawn = draw.annotate(
        image, box, verdict="NOT_FOUND", score=0.123, frame=1234, groundtruth=box + 3, fps=123.4
    )
    assert (image == 120).all()
    scale = drawn.shape[1] // size_hw[1]
    assert drawn.shape == (scale * size_hw[0], scale * size_hw[1], 3) and drawn.shape[1] >= 300
    corner = drawn[round(box[1] * scale), round((box[0] + box[2] / 2) * scale)].astype(int)
    assert corner[0] > corner[1] + 100  # red: not found
    label = drawn[-max(14, drawn.shape[0] // 20) :]
    assert (label < 60).any() and (label > 200).any()
    assert (drawn[-3:, -3:] == 120).all()  # the text ends inside


def test_nan_ground_truth_and_far_boxes_are_drawn_safely():
    image = np.full((48, 64, 3), 120, np.uint8)
    box, absent = [1e9, -1e9, 5, 5], np.full(4, np.nan)
    far = draw.annotate(image, box, verdict="NORMAL", score=None, frame=0, groundtruth=absent)
    assert (far[: far.shape[0] // 2] == 120).all()


def test_heat_map_lies_where_its_cells_are():
    """19 scores 16 px apart over a crop of 288 px: the middle cell is in its middle."""
    crop, scores = np.full((288, 288, 3), 60, np.uint8), np.zeros((19, 19), np.float32)
    scores[9 + 2, 9 - 3] = 1.0
    drawn = draw.heat_map(crop, scores, 16).astype(int)
    changed = np.argwhere((drawn != crop).any(axis=-1))
    np.testing.assert_allclose(changed.mean(axis=0), [143.5 + 2 * 16, 143.5 - 3 * 16], atol=0.6)
    assert np.ptp(changed, axis=0).tolist() == [31, 31]  # it falls to 0 within a cell
    assert drawn[175, 95, 0] > drawn[175, 95, 2] + 50  # the warm end of the colours
    assert draw.heat_map(crop, scores * 0, 16).tolist() == crop.tolist()
