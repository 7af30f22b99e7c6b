"""What the exported tracker has of its own: crops, first samples and plans, in jax."""

import functools

import jax
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.export import first_samples, programs, windows
from dimp_jax.geometry import search_crops
from dimp_jax.tracking import augment, online
from dimp_jax.tracking.localize import Verdict


@pytest.mark.parametrize(
    ("border_mode", "arithmetic"),
    [("replicate", "2019"), ("inside", "2019"), ("inside", "2022"), ("inside_major", "2022")],
)
def test_windows_are_those_of_the_tracker(border_mode, arithmetic):
    """The same bits of the corners; centres far outside and windows of 1 to 900 px among them."""
    options = {"border_mode": border_mode, "max_scale_change": 1.5, "arithmetic": arithmetic}

    @jax.jit
    def cut(image, center, size):
        patch, coord = windows.cut(image, center, size, 72, **options)
        shift = windows.inside_shift_yx(center, size, image.shape[:2])
        return patch, coord, shift, *windows.position_and_scale(coord, 72)

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (97, 131, 3), np.uint8)
    for case in range(80):
        center = (rng.uniform(-0.3, 1.3, 2) * image.shape[:2]).astype(np.float32)
        size = np.float32(np.exp(rng.uniform(0, np.log(900))))
        if case % 4 == 0:
            size = np.round(size) + np.float32(0.5)  # where the rounding turns
        patch, coord, shift, position, scale = cut(image, center, size)
        expected, corners = search_crops.sample_patch(
            image, center, (size, size), (72, 72), **options
        )
        np.testing.assert_array_equal(coord, corners)
        np.testing.assert_allclose(patch, expected, atol=7e-3)  # OpenCV's resize
        np.testing.assert_array_equal(shift, search_crops.inside_shift_yx(center, size, (97, 131)))
        expected_position, expected_scale = search_crops.sample_position_scale(corners, 72)
        np.testing.assert_array_equal(position, expected_position)
        np.testing.assert_allclose(scale, expected_scale, rtol=2e-7)


def test_first_samples_are_those_of_the_tracker():
    config = configs.AugmentConfig(
        shifts=((0.6, -0.6), (-2.5, 0.1)), blur_sigmas_px=((3.0, 1.0),), rotations_deg=(10.0, -45.0)
    )
    side = augment.expansion_size_px(config, 96)
    rng = np.random.default_rng(0)
    # Smooth enough that a rotation by OpenCV is within 4e-3 grey levels, as on a picture.
    patch = search_crops.resize(rng.uniform(0, 255, (24, 24, 3)), (side, side))
    make = jax.jit(functools.partial(first_samples.make, config=config, crop_px=96))
    for _ in range(3):
        uniforms = rng.uniform(size=(augment.num_random_shifts(config), 2)).astype(np.float32)
        further = rng.uniform(-30, 30, 2).astype(np.float32)
        samples, shifts = make(patch, shift_uniforms=uniforms, further_shift_yx=further)
        transforms = augment.moved(augment.build_transforms(config, 96, uniforms), further)
        np.testing.assert_array_equal(shifts, [t.shift_yx for t in transforms])
        expected = augment.apply_transforms(patch, transforms, 96)
        rotated = np.array([t.kind == "rotate" for t in transforms])
        np.testing.assert_allclose(samples[rotated], expected[rotated], atol=5e-3)
        np.testing.assert_allclose(samples[~rotated], expected[~rotated], atol=2e-4)


@pytest.mark.parametrize(
    ("update", "threshold"),
    [("memory", None), ("memory", 0.4), ("moving_average", 0.4), ("none", 0.4)],
)
def test_plans_are_those_of_the_tracker(update, threshold):
    config = configs.MemoryConfig(
        update=update,
        sample_interval=2,
        train_interval=5,
        low_score_threshold=threshold,
        low_score_iterations=3,
    )
    plans = programs.tabulate(config)
    for frame in range(2, 40):
        for verdict in Verdict:
            for low, score in enumerate((0.5, 0.3)):
                *variant, rate = online.plan_learning(config, frame, verdict, score)
                number = plans.choice[frame % len(plans.choice), verdict, low]
                found = plans.variants[number - 1] if number else (False, 0)
                assert found == tuple(variant)
                assert plans.rate[verdict] == np.float32(rate)
