"""Precise RoI pooling: the exact mean of the bilinear map, by cases that can be worked out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dimp_jax.models import roi_pool as roi
from dimp_jax.models.roi_pool import hat_integral, xywh_to_xyxy

roi_pool = jax.jit(roi.roi_pool, static_argnums=(2, 3))
H, W = 7, 9
RNG = np.random.default_rng(0)
FEAT = RNG.standard_normal((H, W, 3)).astype(np.float32)


def pool(feat, box, bins=1, scale=1.0):
    """One box, corners in cells."""
    return np.asarray(roi_pool(jnp.asarray(feat), jnp.asarray([box], jnp.float32), bins, scale)[0])


def test_constant_map():
    """The constant wherever the bin lies within the outermost pixel centres, 0 far outside."""
    ones = np.full((H, W, 1), 2.5, np.float32)
    np.testing.assert_allclose(pool(ones, (0.0, 0.0, W - 1.0, H - 1.0), 3), 2.5, rtol=1e-5)
    np.testing.assert_allclose(pool(ones, (2.3, 1.1, 2.4, 5.9), 4), 2.5, rtol=1e-5)
    for outside in (
        (-9.0, 1.0, -2.0, 3.0),
        (1.0, H + 1.0, 3.0, H + 4.0),
        (W + 5.0,) * 2 + (99,) * 2,
    ):
        np.testing.assert_array_equal(pool(ones, outside, 2), 0.0)


def test_the_border_falls_to_zero_over_one_cell():
    ones = np.ones((H, W, 1), np.float32)
    # From the last pixel centre to one beyond it the map falls from 1 to 0: its mean is 1/2.
    np.testing.assert_allclose(pool(ones, (W - 1.0, 2.0, W + 0.0, 3.0)), 0.5, rtol=1e-5)
    np.testing.assert_allclose(pool(ones, (-1.0, 2.0, 0.0, 3.0)), 0.5, rtol=1e-5)
    np.testing.assert_allclose(pool(ones, (2.0, -1.0, 3.0, 1.0)), 0.75, rtol=1e-5)


def test_whole_map():
    """All hats in full: the sum over the area. Between the border pixels: the trapezoid rule."""
    everything = pool(FEAT, (-1.0, -1.0, W, H))[0, 0]
    expected = FEAT.sum((0, 1)) / ((W + 1) * (H + 1))
    np.testing.assert_allclose(everything, expected, rtol=1e-4, atol=1e-5)
    inner = pool(FEAT, (0.0, 0.0, W - 1.0, H - 1.0))[0, 0]
    mean = np.trapezoid(np.trapezoid(FEAT, axis=0), axis=0) / ((H - 1) * (W - 1))
    np.testing.assert_allclose(inner, mean, rtol=1e-4, atol=1e-5)


def test_one_bin_is_the_mean_of_four():
    box = (1.3, 0.4, 6.9, 5.2)
    for bins in (2, 5):
        parts = pool(FEAT, box, bins)
        np.testing.assert_allclose(parts.mean((0, 1)), pool(FEAT, box)[0, 0], rtol=1e-4, atol=1e-5)


def test_linear_ramp_gives_the_bin_centres():
    rows, cols = np.mgrid[:H, :W].astype(np.float32)
    box = (0.7, 1.2, 7.1, 5.6)
    out = pool(np.stack([rows, cols], -1), box, 4)
    centers = lambda a, b: a + (b - a) * (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(out[..., 0], np.tile(centers(1.2, 5.6)[:, None], 4), rtol=1e-5)
    np.testing.assert_allclose(out[..., 1], np.tile(centers(0.7, 7.1), (4, 1)), rtol=1e-5)


def test_a_narrow_bin_is_bilinear_interpolation():
    """Also far from the origin, where a difference of antiderivatives would lose its digits."""
    feat = np.zeros((4, 40, 1), np.float32)
    feat[1:3, 36:38, 0] = [[1.0, 3.0], [5.0, -2.0]]
    out = pool(feat, (36.25, 1.5, 36.2505, 1.5005), 2)
    top, bottom = 1.0 + 0.25 * 2.0, 5.0 - 0.25 * 7.0
    np.testing.assert_allclose(out, (top + bottom) / 2, rtol=0, atol=5e-3)


@pytest.mark.parametrize("dx", [0, 2])
@pytest.mark.parametrize("dy", [0, 1])
def test_translation_by_whole_cells(dx, dy):
    feat = np.zeros((12, 14, 3), np.float32)
    feat[1 : 1 + H, 1 : 1 + W] = FEAT
    moved = np.roll(feat, (dy, dx), (0, 1))
    box = np.array([0.2, 1.7, 8.3, 6.4])
    expected = pool(feat, box, 3)
    out = pool(moved, box + [dx, dy, dx, dy], 3)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_scale_and_axes():
    """Boxes are in pixels, x first; the map is rows first."""
    box = np.array([1.5, 2.5, 6.0, 4.0])
    np.testing.assert_allclose(pool(FEAT, 16 * box, 3, 1 / 16), pool(FEAT, box, 3), rtol=1e-6)
    transposed = pool(FEAT.swapaxes(0, 1), box[[1, 0, 3, 2]], 3)
    np.testing.assert_allclose(transposed.swapaxes(0, 1), pool(FEAT, box, 3), rtol=1e-5, atol=1e-6)


def test_boxes_are_independent():
    boxes = jnp.asarray([[0.5, 0.5, 3.0, 4.0], [2.0, 1.0, 8.0, 6.0], [4.0, 4.0, 4.0, 4.0]])
    together = roi_pool(jnp.asarray(FEAT), boxes, 2, 1.0)
    assert together.shape == (3, 2, 2, 3)
    for out, box in zip(together, boxes, strict=True):
        np.testing.assert_allclose(out, pool(FEAT, box, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "box", [(3.0, 2.0, 3.0, 5.0), (3.2, 2.1, 3.2, 2.1), (5.0, 4.0, 3.0, 6.0), (1e6,) * 4]
)
def test_a_box_without_area_gives_zeros_and_finite_gradients(box):
    total = lambda f, b: roi_pool(f, b, 2, 1.0).sum()
    value, grads = jax.value_and_grad(total, argnums=(0, 1))(
        jnp.asarray(FEAT), jnp.asarray([box], jnp.float32)
    )
    assert value == 0
    for grad in grads:
        assert np.isfinite(grad).all()


def test_derivatives_in_map_and_box():
    with jax.enable_x64():
        feat = jnp.asarray(FEAT, jnp.float64)
        # No edge on a pixel centre: there the derivative in the box is one-sided.
        box = jnp.asarray([[0.61, 1.33, 6.87, 5.12], [-0.4, 2.2, 8.6, 7.3]], jnp.float64)
        fn = lambda f, b: roi_pool(f, b, 2, 1.0)
        check_grads(fn, (feat, box), 1, modes=("rev",), eps=1e-5, rtol=1e-6, atol=1e-6)


def test_derivative_in_the_box_by_the_edge():
    """d/dx1 of the mean over one bin is (value at the edge - mean) / width."""
    column = FEAT[:, :, :1].mean(0, keepdims=True).repeat(H, 0)  # varies along x alone
    box = jnp.asarray([[1.4, 1.0, 5.7, 5.0]])
    mean = lambda b: roi_pool(jnp.asarray(column), b, 1, 1.0).sum()
    grad = jax.grad(mean)(box)[0]
    line = column[0, :, 0]
    at = lambda x: np.interp(x, np.arange(W), line)
    width = 5.7 - 1.4
    np.testing.assert_allclose(grad[2], (at(5.7) - mean(box)) / width, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(grad[0], (mean(box) - at(1.4)) / width, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(grad[1::2], 0, atol=1e-5)


def test_hat_integral():
    a, b = (
        jnp.asarray([-1.0, -1.0, -5.0, 0.0, 2.0, -0.5]),
        jnp.asarray([1.0, 0.0, 5.0, 0.5, 3, 0.5]),
    )
    np.testing.assert_allclose(hat_integral(a, b), [1.0, 0.5, 1.0, 0.375, 0.0, 0.75])


def test_corners():
    box = jnp.asarray([[[1.0, 2.0, 3.0, 5.0]]])
    np.testing.assert_array_equal(xywh_to_xyxy(box), [[[1.0, 2.0, 4.0, 7.0]]])
