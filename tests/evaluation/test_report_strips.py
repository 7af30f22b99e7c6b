"""The report's strips: windows of frames, with the boxes of trackers drawn into them."""

import cv2
import numpy as np
import pytest

from dimp_jax.evaluation.report import strips
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from tests.media.test_sequences import all_frames, make_video, target_box, target_frame, truncate
from tests.support.report_results import FRAMES, make_data

COLORS_RGB = {"x": (255, 0, 0), "y": (0, 0, 255)}


@pytest.mark.parametrize("size_hw", [(240, 320), (100, 600), (600, 100)])
def test_window_holds_every_box_that_is_in_the_image(size_hw):
    rng = np.random.default_rng(0)
    for _ in range(50):
        corner = rng.uniform(0, 0.8, (3, 2)) * size_hw[::-1]
        boxes = np.concatenate([corner, rng.uniform(2, 0.2 * min(size_hw), (3, 2))], axis=1)
        x, y, width, height = strips.cut_window(size_hw, boxes[0], list(boxes[1:]), 4 / 3)
        assert width / height == pytest.approx(4 / 3)
        assert width <= max(size_hw[1], size_hw[0] * 4 / 3) + 1e-9
        for box in boxes:
            assert x <= box[0] + 1e-9 and min(box[0] + box[2], size_hw[1]) <= x + width + 1e-9
            assert y <= box[1] + 1e-9 and min(box[1] + box[3], size_hw[0]) <= y + height + 1e-9


def test_tile_shows_target_truth_and_boxes_in_their_colours():
    image, truth = target_frame(0), np.array(target_box(0))
    far = {"x": truth + [24, 0, 0, 0], "y": truth + [1e9, 0, 0, 0]}
    tile = strips.draw_tile(image, truth, far, COLORS_RGB)
    assert tile.shape == (240, 320, 3) and tile.dtype == np.uint8
    assert (tile == strips.TRUTH_RGB).all(axis=2).sum() > 100
    assert (tile == COLORS_RGB["x"]).all(axis=2).sum() > 100
    nothing = strips.draw_tile(image, None, {"x": np.full(4, np.nan)}, COLORS_RGB)
    assert not (nothing == strips.TRUTH_RGB).all(axis=2).any()


def test_strip_of_a_folder_with_overlaps(tmp_path):
    sequence = sequences.load_sequence(make_data(tmp_path) / "a1")
    sequence.groundtruth[-1] = np.nan
    exact = np.array([target_box(i) for i in range(FRAMES)])
    strip = strips.make_strip(sequence, {"x": exact, "y": exact[:4]}, COLORS_RGB, frames=3)
    assert [tile.frame for tile in strip.tiles] == [0, 4, 7] and strip.problem is None
    assert strip.tiles[0].overlaps == {"x": 1.0, "y": 1.0}
    assert strip.tiles[1].overlaps == {"x": 1.0, "y": None}  # y ended before
    assert strip.tiles[2].overlaps == {"x": None, "y": None}  # the target is absent
    jpeg = np.frombuffer(strip.tiles[0].jpeg, np.uint8)
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape == (240, 320, 3)


def test_strip_reads_single_frames_of_a_video(tmp_path):
    sequence = sequences.load_video(make_video(tmp_path / "v.avi"), box=target_box(0))
    frames = all_frames(sequence)
    found = list(strips.read_frames(sequence, np.array([0, 5, 11])))
    for image, index in zip(found, (0, 5, 11), strict=True):
        np.testing.assert_array_equal(image, frames[index])
    with pytest.raises(InputError, match="ends before frame 40"):
        list(strips.read_frames(sequence, np.array([0, 40])))


def test_unreadable_frame_costs_its_strip_only(tmp_path):
    sequence = sequences.load_sequence(make_data(tmp_path) / "a1")
    truncate(tmp_path / "a1" / "img" / "000008.jpg")
    boxes = np.array([target_box(i) for i in range(FRAMES)])
    strip = strips.make_strip(sequence, {"x": boxes}, COLORS_RGB)
    assert "truncated" in strip.problem and np.all(strip.overlaps["x"] == 1.0)
