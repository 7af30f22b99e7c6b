"""Proposals and box jitter: known answers, invariants, boxes of all sizes."""

import math

import numpy as np
import pytest

from dimp_jax.config.training import ProposalConfig
from dimp_jax.data import jitter, proposals
from dimp_jax.data.draws import sample_draws
from dimp_jax.geometry import box_mixture

SIGMAS = ProposalConfig().sigmas
STDS = ProposalConfig().mixture_stds
BOXES = [
    (100, 80, 40, 30),
    (0.2, -300.5, 1.0, 1.0),  # one pixel, far outside
    (5, 5, 0.01, 0.02),
    (-50, 20, 2000, 3),
    (10, 10, 4000, 3000),
]


def test_iou_by_hand():
    assert proposals.iou_xywh((0, 0, 4, 4), (2, 2, 4, 4)) == 4 / 28
    assert proposals.iou_xywh((0, 0, 4, 4), (0, 0, 4, 4)) == 1
    assert proposals.iou_xywh((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert proposals.iou_xywh((0, 0, 4, 4), (9, 9, 1, 1)) == 0


def test_perturbed_boxes_overlap_enough():
    box = (100.0, 80.0, 40.0, 30.0)
    boxes, overlap = proposals.perturbed_proposals(box, 400, 0.1, SIGMAS, sample_draws(0, 0))
    assert boxes.shape == (400, 4) and boxes.dtype == overlap.dtype == np.float32
    assert (overlap > 0.1).all() and (overlap <= 1).all()
    np.testing.assert_array_equal(boxes, np.round(boxes))
    expected = [proposals.iou_xywh(b, box) for b in boxes.astype(float)]
    np.testing.assert_allclose(overlap, expected, rtol=1e-6)
    assert overlap.min() < 0.3 and overlap.max() > 0.9  # all kinds of them


def test_more_noise_overlaps_less():
    mean = [
        proposals.perturbed_proposals(BOXES[0], 300, 0.0, (sigma,), sample_draws(1, 0))[1].mean()
        for sigma in SIGMAS
    ]
    assert mean == sorted(mean, reverse=True)


@pytest.mark.parametrize("box", BOXES)
def test_boxes_of_all_sizes_are_finite(box):
    draws = sample_draws(3, 0)
    boxes, overlap = proposals.perturbed_proposals(box, 50, 0.1, SIGMAS, draws)
    assert np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()
    assert ((overlap >= 0) & (overlap <= 1)).all()
    boxes, log_density, target = proposals.mixture_proposals(box, 128, STDS, (0.05, 0.05), draws)
    assert boxes.shape == (128, 4) and log_density.shape == target.shape == (128,)
    assert boxes.dtype == log_density.dtype == target.dtype == np.float32
    assert np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()
    assert np.isfinite(log_density).all() and np.isfinite(target).all() and (target >= 0).all()
    jittered = jitter.jitter_box(box, 4.5, 0.5, draws)
    assert np.isfinite(jittered).all() and (jittered[2:] > 0).all()


def test_an_impossible_overlap_ends_with_the_last_try():
    """No box of integers overlaps this one by half."""
    box, overlap = proposals.perturb_box((0.5, 0.5, 0.1, 0.1), 0.5, 0.3, sample_draws(0, 1))
    assert overlap <= 0.5 and np.isfinite(box).all()


def test_density_by_hand():
    at_mean = box_mixture.gaussian_log_density(np.zeros(4), (0.05, 0.5))
    assert math.isclose(at_mean, -2 * math.log(2 * math.pi * 0.05 * 0.5))
    both = box_mixture.mixture_log_density(np.zeros((1, 4)), ((0.05, 0.05), (0.5, 0.5)))
    narrow, wide = (2 * math.pi * 0.0025) ** -2, (2 * math.pi * 0.25) ** -2
    np.testing.assert_allclose(both, [math.log((narrow + wide) / 2)])
    far = box_mixture.mixture_log_density(np.full((1, 4), 60.0), STDS)  # exp of it is 0
    assert np.isfinite(far).all() and far < -700


def test_importance_weights_average_to_one():
    """mean(p / q) over draws from q is 1: the target density is normalised."""
    _, log_density, target = proposals.mixture_proposals(
        BOXES[0], 20_000, STDS, (0.05, 0.05), sample_draws(2, 0)
    )
    ratio = target * np.exp(-log_density)
    assert abs(ratio.mean() - 1) < 3 * ratio.std() / math.sqrt(len(ratio))


def test_jitter_by_hand():
    box = np.array((10, 20, 40, 30), np.float32)
    np.testing.assert_allclose(jitter.jitter_box(box, 0.0, 0.0, sample_draws(0, 0)), box)
    drawn = np.array([jitter.jitter_box(box, 3.0, 0.25, sample_draws(0, i)) for i in range(2000)])
    log_size = np.log(drawn[:, 2:] / box[2:])
    np.testing.assert_allclose(log_size.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(log_size.std(0), 0.25, atol=0.02)
    shift = drawn[:, :2] + drawn[:, 2:] / 2 - (30, 35)
    reach = 1.5 * np.sqrt(drawn[:, 2:].prod(-1, keepdims=True))
    assert (np.abs(shift) <= reach * 1.0001).all() and (np.abs(shift) > 0.9 * reach).any()


def test_gray_has_opencvs_luma():
    image = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 10, 10)]], np.uint8)
    gray = jitter.to_grayscale(image)
    np.testing.assert_array_equal(gray[0, :, 0], (76, 150, 29, 10))
    assert gray.shape == image.shape and (gray == gray[..., :1]).all()


def test_a_box_that_is_flipped_twice_is_itself():
    box = jitter.flip_box((1, 2, 3, 2), 7)
    np.testing.assert_array_equal(box, (2, 2, 3, 2))  # (7 - 1) - (1 + 3)
    np.testing.assert_array_equal(jitter.flip_box(box, 7), (1, 2, 3, 2))


def test_brightness_stays_in_its_range():
    factors = jitter.brightness_factors(2000, 0.2, sample_draws(0, 0))
    assert factors.dtype == np.float32 and 0.8 <= factors.min() < 0.81
    assert 1.19 < factors.max() <= 1.2
