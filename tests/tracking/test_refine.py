"""Box refinement: jittered starts, ascent on a known objective, the mean of the best boxes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dimp_jax.config import RefineConfig
from dimp_jax.geometry.boxes import rect_to_relative, relative_to_rect
from dimp_jax.tracking import refine
from dimp_jax.tracking.refine import jittered_boxes, mean_of_best

ascend = jax.jit(refine.ascend, static_argnums=(0, 2))
BOX = jnp.asarray([50.0, 60.0, 40.0, 10.0])


def uniforms(count=200, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(count, 4)), jnp.float32)


def test_the_box_itself_comes_first():
    boxes = jittered_boxes(BOX, uniforms(9), 0.1, 0.5)
    assert boxes.shape == (10, 4)
    np.testing.assert_array_equal(boxes[0], BOX)
    assert (abs(boxes[1:] - boxes[:1]).max(1) > 0).all()
    assert jittered_boxes(BOX, uniforms(0), 0.1, 0.5).shape == (1, 4)


def test_no_jitter_in_the_middle():
    boxes = jittered_boxes(BOX, jnp.full((3, 4), 0.5), 0.1, 0.5)
    np.testing.assert_allclose(boxes, jnp.tile(BOX, (4, 1)), rtol=1e-6)


def test_jitter_by_hand():
    """Offsets (u - 0.5) * 20 * (0.1, 0.1, 0.5, 0.5): the centre, then the size."""
    boxes = jittered_boxes(BOX, jnp.asarray([[1.0, 0.0, 0.75, 0.25]]), 0.1, 0.5)
    center, size = np.array([70 + 1.0, 65 - 1.0]), np.array([40 + 2.5, 10 - 2.5])
    np.testing.assert_allclose(boxes[1], [*(center - size / 2), *size], rtol=1e-5)


def test_sizes_stay_above_a_third_of_the_shorter_side():
    boxes = np.asarray(jittered_boxes(BOX, uniforms(), 0.1, 5.0))
    assert boxes[:, 2:].min() >= 10 / 3 - 1e-5
    assert (np.isclose(boxes[:, 2:], 10 / 3, rtol=1e-5)).any(), "the limit was never reached"
    centers = boxes[:, :2] + boxes[:, 2:] / 2
    assert abs(centers - [70, 65]).max() <= 0.5 * 20 * 0.1 + 1e-4


TARGET = np.array([55.0, 58.0, 36.0, 13.0], np.float32)
PIXELS = RefineConfig(method="iou", iterations=1, step_position=2e-4, step_size=1e-4)
RELATIVE = RefineConfig(method="iou_relative", iterations=1, step_position=3e-3, step_size=1e-3)


def quadratic(boxes):
    """Highest at TARGET; the rows do not influence each other."""
    return -((boxes - TARGET[None]) ** 2).sum(-1)


def test_one_step_in_pixels():
    """b + step * gradient * (w, h, w, h)."""
    start = jittered_boxes(BOX, uniforms(3), 0.1, 0.5)
    boxes, iou = ascend(quadratic, start, PIXELS)
    grad = -2 * (start - TARGET[None])
    step = np.float32([[2e-4, 2e-4, 1e-4, 1e-4]])
    expected = start + step * grad * jnp.concatenate([start[:, 2:], start[:, 2:]], -1)
    np.testing.assert_allclose(boxes, expected, rtol=1e-5)
    np.testing.assert_allclose(iou, quadratic(start), rtol=1e-6)  # before the step


def test_one_step_in_relative_coordinates():
    start = jittered_boxes(BOX, uniforms(3), 0.1, 0.5)
    boxes, iou = ascend(quadratic, start, RELATIVE)
    size_wh = start[0, 2:]
    relative = rect_to_relative(start, size_wh)
    grad = jax.grad(lambda r: quadratic(relative_to_rect(r, size_wh)).sum())(relative)
    moved = relative + np.float32([[3e-3, 3e-3, 1e-3, 1e-3]]) * grad
    np.testing.assert_allclose(boxes, relative_to_rect(moved, size_wh), rtol=1e-5)
    np.testing.assert_allclose(iou, quadratic(start), rtol=1e-4)


@pytest.mark.parametrize("config", [PIXELS, RELATIVE], ids=lambda c: c.method)
def test_ascent_goes_up(config):
    config = dataclasses.replace(config, step_position=1e-4, step_size=1e-4)
    start = jittered_boxes(BOX, uniforms(9), 0.1, 0.5)
    previous = quadratic(start)
    for count in (1, 3, 10):
        boxes, _ = ascend(quadratic, start, dataclasses.replace(config, iterations=count))
        now = quadratic(boxes)
        assert (now > previous).all()
        previous = now


def test_the_ranking_is_that_before_the_last_step():
    start = jittered_boxes(BOX, uniforms(3), 0.1, 0.5)
    two, _ = ascend(quadratic, start, dataclasses.replace(PIXELS, iterations=2))
    _, iou = ascend(quadratic, start, dataclasses.replace(PIXELS, iterations=3))
    np.testing.assert_allclose(iou, quadratic(two), rtol=1e-5)


def test_step_decay():
    """Two steps with decay 1/2 are one step and one of half the length."""
    config = dataclasses.replace(PIXELS, step_decay=0.5, iterations=2)
    half = dataclasses.replace(PIXELS, step_position=1e-4, step_size=0.5e-4)
    start = jittered_boxes(BOX, uniforms(3), 0.1, 0.5)
    both, _ = ascend(quadratic, start, config)
    by_hand, _ = ascend(quadratic, ascend(quadratic, start, PIXELS)[0], half)
    np.testing.assert_allclose(both, by_hand, rtol=1e-6)


@pytest.mark.parametrize("config", [PIXELS, RELATIVE], ids=lambda c: c.method)
def test_derivatives(config):
    config = dataclasses.replace(config, iterations=3)
    with jax.enable_x64():
        start = jnp.asarray(np.asarray(jittered_boxes(BOX, uniforms(2), 0.1, 0.5)), jnp.float64)
        fn = lambda b: refine.ascend(quadratic, b, config)
        assert fn(start)[0].dtype == jnp.float64
        check_grads(fn, (start,), 1, modes=("rev",), eps=1e-4, rtol=1e-6, atol=1e-6)


# --------------------------------------------------------------------------------- mean of best

GOOD = jnp.asarray([[0.0, 0, 10, 10], [1, 1, 12, 10], [2, 2, 14, 10], [3, 3, 16, 10]])


def test_mean_of_the_best():
    box, valid = mean_of_best(GOOD, jnp.asarray([0.1, 0.9, 0.8, 0.5]), 2, 6.0)
    assert valid
    np.testing.assert_allclose(box, [1.5, 1.5, 13, 10])
    best, _ = mean_of_best(GOOD, jnp.asarray([0.1, 0.9, 0.8, 0.5]), 1, 6.0)
    np.testing.assert_array_equal(best, GOOD[1])
    everything, _ = mean_of_best(GOOD, jnp.asarray([0.1, 0.9, 0.8, 0.5]), 99, 6.0)
    np.testing.assert_allclose(everything, GOOD.mean(0))


def test_negative_scores_rank_too():
    box, valid = mean_of_best(GOOD, jnp.asarray([-3.0, -9.0, -1.0, -5.0]), 2, 6.0)
    assert valid
    np.testing.assert_allclose(box, (GOOD[0] + GOOD[2]) / 2)


@pytest.mark.parametrize(
    "bad",
    [
        [0.0, 0, 61, 10],
        [0.0, 0, 10, 61],
        [0.0, 0, 60, 10],  # the limit itself is out
        [np.nan, 0, np.nan, 10],
        [0.0, 0, -100, 8],  # a negative width becomes 1
    ],
)
def test_unacceptable_boxes_are_left_out(bad):
    boxes = jnp.concatenate([GOOD[:2], jnp.asarray([bad])])
    box, valid = mean_of_best(boxes, jnp.asarray([0.2, 0.1, 0.9]), 3, 6.0)
    assert valid
    np.testing.assert_allclose(box, GOOD[:2].mean(0))
    box, valid = mean_of_best(jnp.asarray([bad] * 3), jnp.asarray([0.2, 0.1, 0.9]), 3, 6.0)
    assert not valid and np.isfinite(box).all()


def test_nan_in_the_corner_or_the_score_alone_is_left_out():
    boxes = jnp.concatenate([GOOD[:2], jnp.asarray([[np.nan, 0.0, 10, 10]])])
    box, valid = mean_of_best(boxes, jnp.asarray([0.2, 0.1, 0.9]), 3, 6.0)
    assert valid
    np.testing.assert_allclose(box, GOOD[:2].mean(0))
    for top_k in (2, 3):
        box, valid = mean_of_best(GOOD[:3], jnp.asarray([0.2, 0.1, np.nan]), top_k, 6.0)
        assert valid
        np.testing.assert_allclose(box, GOOD[:2].mean(0))


def test_sides_are_at_least_one_pixel():
    box, valid = mean_of_best(jnp.asarray([[5.0, 6.0, 0.2, 0.4]]), jnp.asarray([0.5]), 3, 6.0)
    assert valid
    np.testing.assert_array_equal(box, [5, 6, 1, 1])


def test_size_rate_goes_a_part_of_the_way():
    """The box goes where it would; its size only the given share of the way, in the logarithm."""
    peak = jnp.asarray([150.0, 130.0, 50.0, 20.0])  # x, y, w, h
    iou_fn = lambda b: 1 - 0.5 * jnp.sum(((b - peak[None]) / 20) ** 2, -1)
    pose = (jnp.asarray([140.0, 170.0]), jnp.asarray([40.0, 40.0]), jnp.float32(1.0))
    base_hw = jnp.asarray([40.0, 40.0])
    middle = jnp.asarray([143.5, 143.5])

    def refined(rate):
        config = RefineConfig(iterations=200, size_rate=rate)
        return refine.refine_pose(
            iou_fn, pose, base_hw, middle, jnp.float32(1.0), uniforms(5), config, 288
        )

    whole, part = refined(1.0), refined(0.25)
    np.testing.assert_allclose(whole[1], (20, 50), rtol=0.05)
    np.testing.assert_allclose(part[0], whole[0])
    np.testing.assert_allclose(part[1], 40 * (whole[1] / 40) ** 0.25, rtol=1e-5)
    np.testing.assert_allclose(part[2], jnp.sqrt(part[1].prod() / 1600), rtol=1e-5)


def test_aspect_prior_is_a_posterior_of_two_normals():
    """A normal density of log w and log h times one of their difference, in closed form."""
    mean, std, prior_std = np.log([60.0, 20.0]), 0.1, 0.2
    log_density = lambda b: -0.5 * jnp.sum((jnp.log(b[:, 2:]) - mean[None]) ** 2, -1) / std**2
    posterior = refine.with_aspect_prior(log_density, jnp.asarray([30.0, 30.0]), prior_std)
    # log w + log h keeps its mean; log w - log h, of variance 2 std^2, is drawn towards 0.
    kept = prior_std**2 / (prior_std**2 + 2 * std**2)
    total, difference = mean.sum(), kept * (mean[0] - mean[1])
    best = np.exp([(total + difference) / 2, (total - difference) / 2])
    box = jnp.asarray([[10.0, 10.0, *best]])
    np.testing.assert_allclose(jax.grad(lambda b: posterior(b)[0])(box), 0, atol=2e-5)
    lost = jax.grad(lambda b: posterior(b)[0])(jnp.asarray([[10.0, 10.0, -5.0, 20.0]]))
    assert not np.isnan(lost[0, 3])


def test_aspect_prior_of_student_lets_go():
    """Near the size's proportions it pulls as its curvature says, far off hardly at all."""
    pull = lambda ratio, dof: float(
        jax.grad(
            lambda log_ratio: refine.with_aspect_prior(
                lambda b: jnp.zeros(len(b)), jnp.asarray([30.0, 30.0]), 0.2, dof
            )(jnp.asarray([[0.0, 0.0, 1.0, 1.0]]).at[0, 2].set(jnp.exp(log_ratio)))[0]
        )(jnp.float32(ratio))
    )
    np.testing.assert_allclose(pull(0.01, 3.0), -(4 / 3) * 0.01 / 0.2**2, rtol=2e-3)
    np.testing.assert_allclose(pull(1.4, None), -1.4 / 0.2**2, rtol=1e-3)
    np.testing.assert_allclose(pull(1.4, 3.0), -4 * 1.4 / (3 * 0.2**2 + 1.4**2), rtol=1e-3)
