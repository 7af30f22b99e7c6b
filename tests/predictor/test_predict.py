"""The whole filter optimiser: exact line search, derivatives in float64, memory invariants."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dimp_jax.config import PredictorConfig
from dimp_jax.predictor.correlation import correlate
from dimp_jax.predictor.predict import init_params, optimize_filter

solve = jax.jit(optimize_filter, static_argnames=("config", "num_iter", "stride_px"))

K, C, CELLS = 2, 3, 5
CONFIG = PredictorConfig(num_bins=10, bin_width_cells=0.5)
QUADRATIC = PredictorConfig(num_bins=10, bin_width_cells=0.5, mask_activation="linear")


def problem(seed=0, samples=3, cells=CELLS):
    """filt, feat, box_xywh and sample_weight of a small random case, stride 16 px."""
    rng = np.random.default_rng(seed)
    filt = 0.2 * rng.standard_normal((K, K, C))
    feat = rng.standard_normal((samples, cells, cells, C))
    box = np.concatenate([rng.uniform(20, 40, (samples, 2)), np.full((samples, 2), 17.0)], -1)
    arrays = (filt, feat, box, np.arange(1, samples + 1) / samples)
    return tuple(jnp.asarray(a, jnp.float32) for a in arrays)


def rough_params(config, seed=1):
    """Initial parameters, each moved a little: no symmetry is left to hide behind."""
    params = init_params(config)
    rng = np.random.default_rng(seed)
    rough = lambda value: np.asarray(value) + 0.05 * rng.standard_normal(value.shape)
    return {name: jnp.asarray(rough(value), jnp.float32) for name, value in params.items()}


def final_energy(params, config, num_iter=3):
    """Squared norm of the last filter."""
    return jnp.sum(optimize_filter(params, *problem(), config, num_iter=num_iter).last ** 2)


def quadratic_params(step_length=1.0):
    """mask = 1: the residual is linear in the filter."""
    params = rough_params(QUADRATIC)
    return params | {
        "mask": jnp.ones(QUADRATIC.num_bins),
        "log_step_length": jnp.log(jnp.float32(step_length)),
    }


def test_quadratic_loss_has_an_exact_line_search():
    after = lambda step: solve(quadratic_params(step), *problem(), QUADRATIC, num_iter=1).losses[-1]
    assert after(1.0) < after(0.95) and after(1.0) < after(1.05)


@pytest.mark.parametrize("step_length", [1.0, 0.5])
def test_quadratic_loss_falls_at_every_iteration(step_length):
    descent = solve(quadratic_params(step_length), *problem(), QUADRATIC, num_iter=4)
    assert (np.diff(descent.losses) < 0).all()


def test_losses_are_those_of_the_formula():
    """Sum over samples of q (v (a(s) - y))^2 plus lambda |w|^2, by its own words."""
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem()
    descent = solve(params, filt, feat, box, weight, CONFIG, num_iter=2)
    rows, cols = np.mgrid[: CELLS + 1, : CELLS + 1]
    for step, loss in enumerate(descent.losses):
        scores = np.asarray(correlate(descent.iterates[step], feat))
        total = float(params["filter_reg"]) ** 2 * float((descent.iterates[step] ** 2).sum())
        for n in range(len(box)):
            x, y, w, h = (float(v) for v in box[n])
            far = np.hypot(rows - (y + h / 2) / 16, cols - (x + w / 2) / 16) / 0.5
            label, mask, spatial = (
                np.interp(far, np.arange(10), np.asarray(params[name]))
                for name in ("label", "mask", "weight")
            )
            mask = 1 / (1 + np.exp(-mask))
            activated = np.where(scores[n] < 0, mask * scores[n], scores[n])
            total += float(weight[n]) * ((spatial * (activated - label)) ** 2).sum()
        np.testing.assert_allclose(loss, total, rtol=1e-4)


def test_regularisation_has_a_floor():
    params, args = quadratic_params(), problem()
    run = lambda reg: solve(params | {"filter_reg": reg}, *args, QUADRATIC, num_iter=2)
    floor = run(jnp.float32(1e-3))
    np.testing.assert_array_equal(run(jnp.float32(0.0)).iterates, floor.iterates)
    np.testing.assert_array_equal(run(jnp.float32(-1e-3)).iterates, floor.iterates)
    assert abs(run(jnp.float32(1.0)).last - floor.last).max() > 1e-3


DERIVATIVE_CASES = {
    "relu": PredictorConfig(num_bins=6, bin_width_cells=0.7, alpha_eps=0.05),
    "bentpar": PredictorConfig(
        num_bins=6,
        bin_width_cells=0.7,
        score_activation="bentpar",
        bentpar_b=0.3,
        mask_activation="linear",
    ),
}


@pytest.mark.parametrize("kind", DERIVATIVE_CASES)
def test_derivatives(kind):
    """Of every iterate and loss, with respect to all that the optimiser is given but the boxes."""
    config = DERIVATIVE_CASES[kind]
    with jax.enable_x64():
        as_double = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
        params = as_double(rough_params(config))
        filt, feat, box, weight = as_double(problem(samples=2, cells=3))

        def run(params, filt, feat, weight):
            descent = solve(params, filt, feat, box, weight, config, num_iter=2)
            return descent.iterates, descent.losses

        iterates, _ = run(params, filt, feat, weight)
        scores = jax.vmap(correlate, (0, None))(iterates, feat)
        nearest = abs(scores).min()
        # The optimiser's derivative is that of a fixed set of signs: no score may change its own.
        assert nearest > 1e-3, "choose another seed: a score is too near the kink"
        args = (params, filt, feat, weight)
        check_grads(run, args, 1, modes=("rev",), eps=1e-5, rtol=1e-6, atol=1e-6)


def test_every_loss_parameter_gets_a_gradient():
    params, args = rough_params(CONFIG), problem()
    last = lambda p: jnp.sum(solve(p, *args, CONFIG, num_iter=2).last ** 2)
    grads = jax.jit(jax.grad(last))(params)
    assert set(grads) == {"label", "mask", "weight", "log_step_length", "filter_reg"}
    for name, grad in grads.items():
        assert np.isfinite(grad).all() and abs(grad).max() > 1e-6, name


# ------------------------------------------------------------------------------ memory slots


def test_empty_slots_change_nothing():
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem()
    run = lambda *a: solve(params, *a, CONFIG, num_iter=4)
    alone = run(filt, feat, box, weight)
    pad = lambda x, v: jnp.concatenate([x, jnp.full((2, *x.shape[1:]), v, x.dtype)])
    for junk in (0.0, 100.0):
        padded = run(filt, pad(feat, junk), pad(box, junk), pad(weight, 0.0))
        np.testing.assert_allclose(padded.iterates, alone.iterates, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(padded.losses, alone.losses, rtol=1e-5)


def test_features_of_empty_slots_do_not_matter():
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem()
    weight = weight.at[1].set(0.0)
    run = lambda f: solve(params, filt, f, box, weight, CONFIG, num_iter=4).iterates
    np.testing.assert_array_equal(run(feat.at[1].set(7.0)), run(feat))
    assert abs(run(feat.at[0].set(7.0)) - run(feat)).max() > 1e-3


def test_slot_order_does_not_matter():
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem()
    order = jnp.asarray([2, 0, 1])
    run = lambda *a: solve(params, filt, *a, CONFIG, num_iter=4).iterates
    shuffled = run(feat[order], box[order], weight[order])
    np.testing.assert_allclose(shuffled, run(feat, box, weight), rtol=1e-5, atol=1e-6)


def test_gradient_of_zero_sample_weights_is_finite():
    params, (filt, feat, box, _) = rough_params(CONFIG), problem()
    total = lambda w: solve(params, filt, feat, box, w, CONFIG, num_iter=3).last.sum()
    grad = jax.jit(jax.grad(total))
    for weight in ([0.5, 0.0, 0.5], [0.0, 0.0, 0.0]):
        assert np.isfinite(grad(jnp.asarray(weight))).all()


def test_zero_features_stay_finite():
    params, (filt, feat, box, weight) = rough_params(CONFIG), problem()
    for start in (filt, jnp.zeros_like(filt)):
        args = (params, start, 0 * feat, box, weight)
        total = lambda *a: solve(*a, CONFIG, num_iter=3).iterates.sum()
        value, grads = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2, 3, 4)))(*args)
        assert np.isfinite(value)
        for grad in jax.tree.leaves(grads):
            assert np.isfinite(grad).all()


def test_learns_from_a_filter_of_zeros():
    """All scores are exactly 0: the mean slope of the activation keeps the gradient alive."""
    params, (filt, feat, box, weight) = init_params(CONFIG), problem()
    descent = solve(params, 0 * filt, feat, box, weight, CONFIG, num_iter=3)
    assert descent.losses[-1] < 0.95 * descent.losses[0]


def test_vmap_over_sequences_equals_a_loop_and_jit():
    params = rough_params(CONFIG)
    run = lambda *a: solve(params, *a, CONFIG, num_iter=3)
    sequences = [problem(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *sequences)
    together = jax.vmap(run)(*stacked)
    jitted = jax.jit(jax.vmap(run))(*stacked)
    for index, sequence in enumerate(sequences):
        alone = run(*sequence)
        for batched in (together, jitted):
            assert batched.iterates.shape == (3, 4, K, K, C)
            np.testing.assert_allclose(batched.iterates[index], alone.iterates, atol=1e-6)
            np.testing.assert_allclose(batched.losses[index], alone.losses, rtol=1e-5)


def test_fitted_filter_finds_its_target():
    """End to end: features with one distinct cell, whose filter peaks there in a new image."""
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal(16)

    def image(row, col):
        feat = 0.2 * rng.standard_normal((9, 9, 16))
        feat[row, col] += pattern
        feat[row - 1, col - 1] -= pattern
        return feat

    feat = jnp.asarray(np.stack([image(3, 4), image(5, 2)]), jnp.float32)
    corner = lambda row, col: [col * 16.0 - 8, row * 16.0 - 8, 16.0, 16.0]
    box = jnp.asarray([corner(3, 4), corner(5, 2)])
    filt = jnp.zeros((K, K, 16))
    params = init_params(CONFIG)
    descent = solve(params, filt, feat, box, jnp.full(2, 0.5), CONFIG, num_iter=10)
    scores = correlate(descent.last, jnp.asarray(image(6, 7), jnp.float32)[None])[0]
    assert divmod(int(scores.argmax()), 10) == (6, 7)
