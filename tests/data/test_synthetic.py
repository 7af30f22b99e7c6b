"""The procedural source: repeatable, exact boxes, smooth motion, and its folders; motion curves."""

import pickle

import numpy as np
import pytest

from dimp_jax.config.training import SyntheticConfig
from dimp_jax.data import synthetic
from dimp_jax.data.composite import motion, sprites

CONFIG = SyntheticConfig(num_sequences=50, length=12, size_hw_px=(90, 120))


@pytest.fixture(scope="module")
def source():
    return synthetic.SyntheticSource(CONFIG)


def test_frames_are_images_with_a_box_inside(source):
    assert len(source) == 50 and source.is_video and source.name == "synthetic"
    for sequence in range(0, 50, 7):
        assert source.visible(sequence).tolist() == [True] * 12
        for frame in source.read(sequence, range(12)):
            assert frame.image.shape == (90, 120, 3) and frame.image.dtype == np.uint8
            assert frame.image.std() > 5
            assert frame.box_xywh.shape == (4,) and frame.box_xywh.dtype == np.float32
            x, y, width, height = frame.box_xywh
            assert x >= 0 and y >= 0 and x + width <= 120 and y + height <= 90
            assert min(width, height) >= 4


def test_a_frame_is_a_function_of_its_indices(source):
    expected = source.read(3, range(12))
    again = pickle.loads(pickle.dumps(source))
    synthetic._scene.cache_clear()
    order = [7, 2, 7, 11]
    again.read(30, [0])
    for t, frame in zip(order, again.read(3, order), strict=True):
        np.testing.assert_array_equal(frame.image, expected[t].image)
        np.testing.assert_array_equal(frame.box_xywh, expected[t].box_xywh)


def test_sequences_and_seeds_differ(source):
    other = synthetic.SyntheticSource(CONFIG, seed=1)
    first = source.read(0, [0])[0].image
    assert (source.read(1, [0])[0].image != first).mean() > 0.5
    assert (other.read(0, [0])[0].image != first).mean() > 0.5


@pytest.mark.parametrize("sequence", range(0, 50, 5))
def test_the_box_is_the_hull_of_the_target(source, sequence):
    scene = synthetic._scene(CONFIG, (synthetic._SEED, 0, sequence))
    for t, frame in enumerate(source.read(sequence, range(12))):
        patch = sprites.warp(scene.sprites[-1], scene.poses[-1, t], CONFIG.size_hw_px)
        alpha = np.zeros((400, 400))
        rows, columns = patch.rgba.shape[:2]
        alpha[patch.y_px + 100 :, patch.x_px + 100 :][:rows, :columns] = patch.rgba[..., 3]
        y, x = np.nonzero(alpha[100:190, 100:220] > 127.5)
        hull = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
        np.testing.assert_array_equal(frame.box_xywh, hull)


def test_the_target_moves_smoothly_and_changes_its_size(source):
    ratios = []
    for sequence in range(30):
        boxes = np.array([frame.box_xywh for frame in source.read(sequence, range(12))])
        center, size = boxes[:, :2] + boxes[:, 2:] / 2, np.sqrt(boxes[:, 2:].prod(axis=1))
        steps = np.linalg.norm(np.diff(center, axis=0), axis=1) / size[1:]
        assert steps.max() < 0.5
        ratios.append(size.max() / size.min())
    assert 1.1 < np.median(ratios) < 2.5


def test_what_is_not_there_is_refused(source):
    with pytest.raises(IndexError, match="sequence 50: expected 0 to 49"):
        source.read(50, [0])
    with pytest.raises(IndexError, match="sequence -1: expected 0 to 49"):
        source.visible(-1)
    with pytest.raises(IndexError, match="frame 12: expected 0 to 11"):
        source.read(0, [12])
    with pytest.raises(ValueError, match="length=0.*expected at least one sequence"):
        synthetic.SyntheticSource(SyntheticConfig(length=0))


def test_smooth_noise_has_unit_variance_and_is_smooth():
    noise = motion.smooth_noise(np.random.default_rng(0), 4000, 10, 20)
    assert noise.shape == (4000, 20)
    assert abs(noise.std() - 1) < 0.05 and abs(noise.mean()) < 0.05
    # Knots 10 frames apart: steps of about a tenth, changes of the step of about a hundredth.
    assert np.abs(np.diff(noise, axis=0)).std() < 0.15
    assert np.diff(noise, n=2, axis=0).std() < 0.04


def test_bounce_reflects_into_its_range():
    path = np.array([[-1.0, 4.0], [3.0, 12.0], [7.0, -1.0]])
    folded = motion.bounce(path, (0, 0), (5, 10))
    np.testing.assert_allclose(folded, [[1, 4], [3, 8], [3, 1]])
    np.testing.assert_allclose(motion.bounce(path, 9, 3), np.full((3, 2), 6.0))


def test_affine_maps_invert():
    rng = np.random.default_rng(0)
    matrix = motion.affine(rng.normal(size=(5, 2, 2)), rng.normal(size=(5, 2)))
    points = rng.normal(size=(5, 7, 2))
    back = motion.apply_affine(motion.invert_affine(matrix), motion.apply_affine(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-9)
    np.testing.assert_allclose(motion.rotation(np.pi / 2) @ (1, 0), (0, 1), atol=1e-12)
