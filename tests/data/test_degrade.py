"""Degraded frames: what each change does to a known picture, and that draws decide all of it."""

import numpy as np

from dimp_jax.config.training import CropConfig
from dimp_jax.data.degrade import TINT, degrade, draw_degrading, enlarged, motion_blur
from dimp_jax.data.draws import sample_draws


def degraded(image, size_px, config, index):
    return degrade(image, size_px, draw_degrading(config, sample_draws(0, index)))


def dot(side=41):
    image = np.zeros((side, side, 3), np.uint8)
    image[side // 2, side // 2] = 210
    return image


def test_motion_blur_spreads_a_dot_along_its_line():
    blurred = motion_blur(dot(), 20, 0.0)[..., 0].astype(int)
    assert set(np.nonzero(blurred)[0]) == {20}
    columns = np.nonzero(blurred)[1]
    assert (columns.min(), columns.max()) == (10, 30)
    assert abs(blurred.sum() - 210) <= 21  # rounding of each of 21 pixels
    np.testing.assert_array_equal(motion_blur(dot(), 20, np.pi / 2)[..., 0], blurred.T)


def test_an_enlarged_picture_has_lost_its_detail():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(enlarged(stripes, 1.0), stripes)
    assert np.ptp(enlarged(stripes, 0.25)) <= 1 and enlarged(stripes, 0.25).shape == stripes.shape


def test_contrast_keeps_the_mean_and_draws_decide():
    rng = np.random.default_rng(0)
    image = rng.integers(90, 160, (32, 32, 3), np.uint8)
    config = CropConfig(contrast_jitter=0.3)
    changed = [degraded(image, 10.0, config, index) for index in range(20)]
    assert max(abs(c.mean() - image.mean()) for c in changed) < 4
    spreads = np.array([c.std() for c in changed]) / image.std()
    assert spreads.min() < 0.8 and spreads.max() > 1.25
    draws = sample_draws(0, 3)
    draws.uniforms(2)
    numbers = draws.normals(4)
    gains = np.exp(0.3 * (numbers[0] + TINT * numbers[1:]))
    by_hand = np.rint(np.clip(image.mean() + (image - image.mean()) * gains, 0, 255))
    assert np.abs(by_hand - changed[3]).max() <= 1
    assert np.mean(by_hand != changed[3]) < 1e-3
    again = degraded(image, 10.0, config, 3)
    np.testing.assert_array_equal(again, changed[3])


def test_probabilities_are_those_of_the_config():
    config = CropConfig(blur_probability=0.3, coarse_probability=0.0)
    image = dot()
    changed = [
        not np.array_equal(degraded(image, 20.0, config, index), image) for index in range(300)
    ]
    assert 0.22 < np.mean(changed) < 0.38
