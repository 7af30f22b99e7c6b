"""Distance basis, learned maps, labels, initial loss parameters and the residuals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import PredictorConfig
from dimp_jax.predictor import correlation, objectives
from dimp_jax.predictor import target_maps as maps_lib
from dimp_jax.predictor.objectives import bentpar_activation, leaky_activation
from dimp_jax.predictor.predict import init_params
from dimp_jax.predictor.target_maps import TargetMaps, target_center_yx

# Compiled whole: operation by operation the same takes minutes.
correlate = jax.jit(correlation.correlate)
distance_basis = jax.jit(maps_lib.distance_basis, static_argnums=(1, 2, 3))
gaussian_label = jax.jit(maps_lib.gaussian_label, static_argnums=(1, 2, 3, 4))
target_maps = jax.jit(maps_lib.target_maps, static_argnames="mask_activation")
dimp_residual = jax.jit(objectives.dimp_residual, static_argnames="activation")
l2_residual = jax.jit(objectives.l2_residual, static_argnames="hinge_threshold")

BINS, WIDTH = 12, 0.5  # the last bin begins at a distance of 5.5 cells


@pytest.mark.parametrize("center", [(4.0, 5.0), (3.3, 7.8), (-20.0, 2.0), (400.0, 400.0)])
def test_basis_sums_to_one(center):
    basis = distance_basis(jnp.asarray([center]), (9, 11), BINS, WIDTH)
    assert basis.shape == (1, 9, 11, BINS)
    assert (basis >= 0).all()
    np.testing.assert_allclose(basis.sum(-1), 1.0, rtol=0, atol=2e-4 if center[0] > 9 else 1e-5)


def test_far_cells_use_the_last_bin_only():
    center = jnp.asarray([[0.0, 0.0]])
    basis = distance_basis(center, (9, 11), BINS, WIDTH)[0]
    rows, cols = np.mgrid[:9, :11]
    far = np.hypot(rows, cols) > (BINS - 1) * WIDTH
    assert far.any() and not far.all()
    last = np.zeros(BINS)
    last[-1] = 1
    np.testing.assert_array_equal(np.asarray(basis)[far], np.broadcast_to(last, (far.sum(), BINS)))
    assert (np.asarray(basis)[~far][:, -1] < 1).all()


def test_basis_interpolates_between_two_bins():
    """At a distance of 1.2 cells and bins 0.5 apart: 0.6 of bin 2 and 0.4 of bin 3."""
    basis = distance_basis(jnp.asarray([[2.0, 2.0 + 1.2]]), (5, 5), BINS, WIDTH)[0, 2, 2]
    np.testing.assert_allclose(basis[2:4], [0.6, 0.4], rtol=1e-5)
    assert np.count_nonzero(basis) == 2


def test_basis_is_rotation_symmetric():
    basis = np.asarray(distance_basis(jnp.asarray([[4.0, 4.0]]), (9, 9), BINS, WIDTH)[0])
    for turns in (1, 2, 3):
        np.testing.assert_array_equal(np.rot90(basis, turns), basis)
    np.testing.assert_array_equal(basis.swapaxes(0, 1), basis)
    # 3, 4 and 0, 5 cells away: not a symmetry of the grid, the same distance all the same.
    np.testing.assert_allclose(basis[4 + 3, 4 + 4], basis_at(5.0), atol=1e-6)


def basis_at(distance):
    return np.asarray(distance_basis(jnp.asarray([[0.0, distance]]), (1, 1), BINS, WIDTH)[0, 0, 0])


def test_target_center():
    box = jnp.asarray([[100.0, 40.0, 56.0, 80.0], [0.0, 0.0, 32.0, 16.0]])  # centres 128, 80; 16, 8
    np.testing.assert_array_equal(target_center_yx(box, 16, 4), [[5.0, 8.0], [0.5, 1.0]])
    np.testing.assert_array_equal(target_center_yx(box, 16, 3), [[4.5, 7.5], [0.0, 0.5]])
    np.testing.assert_array_equal(target_center_yx(box[0], 8, 2), [10.0, 16.0])


@pytest.mark.parametrize("k", [3, 4])
def test_center_is_where_a_filter_cut_at_the_target_peaks(k):
    """The box of the cells that make up the filter: its centre on the score grid is the peak."""
    feat = jax.random.normal(jax.random.key(0), (1, 12, 12, 32))
    scores = correlate(feat[0, 3 : 3 + k, 6 : 6 + k], feat)[0]
    # A feature cell covers 16 px from 16 times its index.
    box = jnp.asarray([6.0 * 16, 3.0 * 16, k * 16.0, k * 16.0])
    center = target_center_yx(box, 16, k)
    assert divmod(int(scores.argmax()), scores.shape[1]) == tuple(center.tolist())


def test_gaussian_label():
    box = jnp.asarray([[5.0 * 16 - 20, 7.0 * 16 - 12, 40.0, 24.0]])  # centre 80, 112
    label = gaussian_label(box, 1.5, (12, 13), 16, 4)
    assert label.shape == (1, 12, 13)
    rows, cols = np.mgrid[:12, :13]
    expected = np.exp(-((rows - 7) ** 2 + (cols - 5) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(label[0], expected, rtol=1e-5, atol=1e-7)
    assert label[0, 7, 5] == 1
    odd = gaussian_label(box, 1.5, (12, 13), 16, 3)[0]
    np.testing.assert_allclose(odd[7, 5], odd[6, 4], rtol=1e-6)  # the centre is between them


def test_initial_parameters():
    config = PredictorConfig()
    params = init_params(config)
    distance = np.arange(100) * 0.1
    gaussian = np.exp(-(distance**2) / (2 * 0.9**2))
    np.testing.assert_allclose(params["label"], gaussian - gaussian.min(), atol=1e-6)
    assert params["label"].min() == 0 and params["label"].argmax() == 0
    np.testing.assert_allclose(params["mask"], 3 * np.tanh(2 - distance), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(params["weight"], np.ones(100))
    np.testing.assert_allclose(jnp.exp(params["log_step_length"]), 0.9, rtol=1e-6)
    np.testing.assert_allclose(params["filter_reg"], 0.1)
    assert all(p.dtype == jnp.float32 for p in params.values())
    linear = init_params(PredictorConfig(mask_activation="linear"))
    np.testing.assert_allclose(linear["mask"] - params["mask"], 0.5, atol=1e-6)


def test_maps():
    rng = np.random.default_rng(0)
    basis = rng.uniform(size=(3, 4, 4, BINS)).astype(np.float32)
    params = {
        name: rng.standard_normal(BINS).astype(np.float32) for name in ("label", "mask", "weight")
    }
    weight = jnp.asarray([0.25, 0.0, 4.0])
    maps = target_maps(params, basis, weight)
    np.testing.assert_allclose(maps.label, basis @ params["label"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(maps.mask, jax.nn.sigmoid(basis @ params["mask"]), rtol=1e-6)
    root = np.asarray([0.5, 0.0, 2.0])[:, None, None]
    np.testing.assert_allclose(maps.weight, root * (basis @ params["weight"]), rtol=1e-6, atol=2e-6)
    linear = target_maps(params, basis, weight, mask_activation="linear")
    np.testing.assert_allclose(linear.mask, basis @ params["mask"], rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="mask_activation='tanh': expected 'sigmoid' or 'linear'"):
        target_maps(params, basis, weight, mask_activation="tanh")


def test_an_empty_slot_has_a_finite_derivative():
    params = dict.fromkeys(("label", "mask", "weight"), jnp.ones(BINS))
    total = lambda w: target_maps(params, jnp.ones((2, 3, 3, BINS)), w).weight.sum()
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray([0.0, 4.0])), [0.0, 9 * BINS / 4])


SCORES = jnp.asarray([-2.0, -0.5, 0.0, 0.5, 2.0])


def test_activation_at_the_ends_of_the_mask():
    zero, one = jnp.zeros(5), jnp.ones(5)
    np.testing.assert_array_equal(leaky_activation(SCORES, zero), jax.nn.relu(SCORES))
    np.testing.assert_array_equal(leaky_activation(SCORES, one), SCORES)
    half = leaky_activation(SCORES, jnp.full(5, 0.25))
    np.testing.assert_allclose(half, np.where(SCORES < 0, 0.25 * SCORES, SCORES))
    # |s| is sqrt(s^2 + 4 b^2) - 2 b, which tends to |s| as b falls to 0.
    np.testing.assert_array_equal(bentpar_activation(SCORES, one, 0.7), SCORES)
    np.testing.assert_allclose(
        bentpar_activation(SCORES, zero, 1e-4), jax.nn.relu(SCORES), atol=2e-4
    )
    np.testing.assert_allclose(
        bentpar_activation(SCORES, zero, 0.75)[-1], (np.sqrt(4 + 2.25) - 1.5 + 2) / 2
    )


@pytest.mark.parametrize("mask", [0.0, 0.25, 1.0])
def test_activation_derivative(mask):
    """`mask` on the left, 1 on the right, their mean at exactly 0."""
    slope = jax.vmap(jax.grad(leaky_activation), (0, None))(SCORES, mask)
    np.testing.assert_allclose(slope, [mask, mask, (1 + mask) / 2, 1, 1])


def small_residual_case():
    rng = np.random.default_rng(0)
    filt, feat = (rng.standard_normal(s).astype(np.float32) for s in ((2, 2, 3), (2, 4, 5, 3)))
    return filt, feat, TargetMaps(*rng.uniform(size=(3, 2, 5, 6)).astype(np.float32))


def test_dimp_residual():
    filt, feat, maps = small_residual_case()
    scores = np.asarray(correlate(filt, feat))
    data, reg = dimp_residual(filt, feat, maps, 0.04)
    expected = maps.weight * (np.where(scores < 0, maps.mask * scores, scores) - maps.label)
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(reg, 0.2 * filt, rtol=1e-6)
    bent, _ = dimp_residual(filt, feat, maps, 0.04, activation="bentpar", bentpar_b=0.5)
    expected = maps.weight * (bentpar_activation(scores, maps.mask, 0.5) - maps.label)
    np.testing.assert_allclose(bent, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="activation='elu': expected 'relu' or 'bentpar'"):
        dimp_residual(filt, feat, maps, 0.04, activation="elu")


def test_l2_residual():
    filt, feat, maps = small_residual_case()
    scores = np.asarray(correlate(filt, feat))
    weight = jnp.asarray([0.25, 1.0])
    data, reg = l2_residual(filt, feat, maps.label, weight, 0.09, hinge_threshold=0.5)
    inside = maps.label > 0.5
    expected = np.where(inside, scores - maps.label, np.maximum(scores, 0))
    expected = np.asarray([0.5, 1.0])[:, None, None] * expected
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(reg, 0.3 * filt, rtol=1e-6)
