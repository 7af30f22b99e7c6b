"""Boxes: the map between image and crop with its half pixels, and relative coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.geometry import boxes

CROP_PX = 288


@pytest.mark.parametrize("scale", [1.0, 0.3, 4.2])
def test_unmoved_box_comes_back_half_a_crop_pixel_further(scale):
    center, size = jnp.asarray([120.25, 77.5]), jnp.asarray([40.0, 64.0])
    view = (jnp.asarray([118.0, 80.0]), jnp.float32(scale), CROP_PX)
    box = boxes.target_box_in_crop(center, size, *view)
    back_center, back_size = boxes.crop_box_to_image(box, *view)
    np.testing.assert_allclose(back_center - center, 0.5 * scale, atol=1e-4)
    np.testing.assert_allclose(back_size, size, rtol=1e-5)


def test_target_box_in_crop():
    """A centred target of h 10, w 20 at scale 1/2: 20 x 40 crop pixels around 143.5."""
    box = boxes.target_box_in_crop(
        jnp.asarray([50.0, 60.0]), jnp.asarray([10.0, 20.0]), jnp.asarray([50.0, 60.0]), 0.5, 288
    )
    np.testing.assert_array_equal(box, [143.5 - 19.5, 143.5 - 9.5, 40, 20])
    box = boxes.target_box_in_crop(
        jnp.asarray([53.0, 58.0]), jnp.asarray([10.0, 20.0]), jnp.asarray([50.0, 60.0]), 0.5, 288
    )
    np.testing.assert_array_equal(box, [124 - 4, 134 + 6, 40, 20])


def some_boxes():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(1, 100, (20, 4)), jnp.float32)


def test_relative_round_trip():
    rect, size_wh = some_boxes(), jnp.asarray([30.0, 12.0])
    relative = boxes.rect_to_relative(rect, size_wh)
    np.testing.assert_allclose(
        boxes.relative_to_rect(relative, size_wh), rect, rtol=1e-4, atol=1e-4
    )
    again = boxes.rect_to_relative(boxes.relative_to_rect(relative, size_wh), size_wh)
    np.testing.assert_allclose(again, relative, rtol=1e-4, atol=1e-5)


def test_relative_by_hand():
    rect = jnp.asarray([[10.0, 20.0, 30.0, 8.0]])
    relative = boxes.rect_to_relative(rect, jnp.asarray([50.0, 4.0]))
    np.testing.assert_allclose(relative, [[25 / 50, 24 / 4, np.log(30), np.log(8)]], rtol=1e-6)


def test_relative_derivative():
    """Moving log w by 1 % widens the box by 1 % around its centre."""
    size_wh = jnp.asarray([50.0, 4.0])
    relative = boxes.rect_to_relative(jnp.asarray([[10.0, 20.0, 30.0, 8.0]]), size_wh)
    tangent = jnp.asarray([[0.0, 0.0, 1.0, 0.0]])
    _, change = jax.jvp(lambda r: boxes.relative_to_rect(r, size_wh), (relative,), (tangent,))
    np.testing.assert_allclose(change, [[-15.0, 0.0, 30.0, 0.0]], rtol=1e-5)
