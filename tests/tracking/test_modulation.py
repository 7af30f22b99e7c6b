"""The fit of the IoU network's modulation on the first frame, with densities that are known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.tracking import modulation, programs

REFINE = config.RefineConfig(method="iou_relative", modulation_samples=4)
BOX = jnp.asarray([40.0, 30.0, 24.0, 36.0])  # of pixels 40 .. 63 and 30 .. 65


def filled(box_xywh):
    """A crop that is 1 in a box and 0 outside."""
    x, y, w, h = (int(v) for v in box_xywh)
    return jnp.zeros((96, 96, 3)).at[y : y + h, x : x + w].set(1.0)


def test_copies_show_the_target_in_their_boxes():
    patch = filled(BOX).at[:, 52:, 1].set(0.0)  # the second channel: its left half
    samples, boxes = modulation.copies(patch, BOX, 6)
    assert samples.shape == (6, 64, 64, 3)
    np.testing.assert_allclose(samples[0], patch[16:80, 20:84], atol=1e-6)
    np.testing.assert_allclose(boxes[0], [19.5, 13.5, 24, 36])
    assert len(np.unique(np.round(boxes, 2), axis=0)) == 6
    pixel = np.arange(64)
    for number, (sample, (x, y, w, h)) in enumerate(zip(samples, boxes, strict=True)):
        whole, half = np.asarray(sample[..., 0]), np.asarray(sample[..., 1])
        area = whole.sum()
        np.testing.assert_allclose(area, w * h, rtol=0.02)
        np.testing.assert_allclose((whole.sum(0) @ pixel) / area, x + w / 2, atol=0.05)
        np.testing.assert_allclose((whole.sum(1) @ pixel) / area, y + h / 2, atol=0.05)
        left = (half.sum(0) @ pixel) / half.sum() < x + w / 2
        assert left == (number % 2 == 0)


def test_what_lies_outside_is_the_border():
    patch = jnp.broadcast_to(jnp.arange(96.0)[:, None, None], (96, 96, 3))
    samples, _ = modulation.copies(patch, jnp.asarray([0.0, 0.0, 80.0, 80.0]), 6)
    assert np.asarray(samples).min() >= 0 and np.asarray(samples).max() <= 95
    assert all(np.ptp(np.asarray(sample), axis=1).max() < 1e-4 for sample in samples)


def test_boxes_have_the_densities_that_they_were_drawn_from():
    boxes, log_density, true = modulation.boxes_around(jnp.tile(BOX, (40, 1)), 50)
    assert boxes.shape == (50, 40, modulation.NUM_BOXES, 4)
    # By importance sampling the true density has the mass 1, and its mean is the box.
    weight = np.asarray(true * np.exp(-log_density), float)
    np.testing.assert_allclose(weight.mean(), 1, atol=0.02)
    center = np.asarray(boxes[..., :2] + boxes[..., 2:] / 2)
    mean = (weight[..., None] * center).mean((0, 1, 2))
    np.testing.assert_allclose(mean, [52, 48], rtol=0.02)


def energy(scale, boxes):
    """Log density of boxes around one that is wider and lower than `BOX`, in the logarithm."""
    x, y, w, h = jnp.moveaxis(boxes, -1, 0)
    center = (x + w / 2 - 52) / 24, (y + h / 2 - 48) / 36
    size = jnp.log(w / 24) - scale[0, 0], jnp.log(h / 36) + scale[0, 1]
    return -sum(error**2 for error in (*center, *size)) / (2 * 0.05**2)


@pytest.mark.parametrize(("penalty", "left"), [(0.0, (0.0, 0.03)), (1e6, (0.97, 1.0))])
def test_the_fit_finds_the_known_box(penalty, left):
    """A network that sees the box too wide and too low; a penalty keeps it from changing."""
    before = jnp.asarray([[0.1, 0.2]])
    settings = {"modulation_penalty": penalty, "modulation_rate": 0.1, "modulation_iterations": 60}
    refine = dataclasses.replace(REFINE, **settings)
    after = modulation.fitted(before, energy, jnp.tile(BOX, (4, 1)), refine)
    share = np.asarray(after / before)[0]
    assert (share >= left[0] - 0.03).all() and (share <= left[1] + 0.03).all()


def test_a_network_of_overlaps_cannot_be_fitted():
    with pytest.raises(ValueError, match=r"modulation_samples=4 with refine\.method='iou': the"):
        programs.check_refine(dataclasses.replace(REFINE, method="iou"))
    with pytest.raises(ValueError, match="modulation_samples=-1: expected 0 or more"):
        programs.check_refine(dataclasses.replace(REFINE, modulation_samples=-1))
    programs.check_refine(REFINE)
