"""What is minimised: formulas in words, their derivatives and operators, and empty slots."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config.predictor import KLConfig, PredictorConfig
from dimp_jax.predictor import objectives
from dimp_jax.predictor.correlation import correlate
from tests.predictor.test_predict import problem, rough_params

KL = PredictorConfig(objective="kl", init_filter_reg=0.3)
CASES = {
    "kl": KL,
    "kl, all options": dataclasses.replace(
        KL,
        kl=KLConfig(
            label_threshold=0.02, label_uniform_share=0.1, label_shrink=0.05, softmax_reg=0.7
        ),
    ),
    "kl, one cell": dataclasses.replace(
        KL, init_label_sigma_cells=0.0, kl=KLConfig(normalize_label=False)
    ),
    "l2": PredictorConfig(objective="l2", init_filter_reg=0.3),
    "hinge": PredictorConfig(num_bins=6, bin_width_cells=0.7, init_filter_reg=0.3),
}
MAKE = {"kl": objectives.kl, "l2": objectives.l2, "hinge": objectives.hinge}


def double(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def samples_of(feat, box, weight):
    return objectives.Samples(feat, box, weight, stride_px=16, filter_cells=2)


def label_in_words(box_xywh, side, config):
    """[S, S] of one box, cell by cell."""
    x, y, w, h = (float(v) for v in box_xywh)
    row, col = (y + h / 2) / 16, (x + w / 2) / 16
    sigma = config.init_label_sigma_cells
    label = np.zeros((side, side))
    for r in range(side):
        for c in range(side):
            far = (r - row) ** 2 + (c - col) ** 2
            if sigma == 0:
                label[r, c] = round(row) == r and round(col) == c
            elif config.objective == "l2":
                label[r, c] = np.exp(-far / 2 / sigma**2)
            else:
                density = np.exp(-far / 2 / sigma**2) / (2 * np.pi * sigma**2)
                label[r, c] = density if density > config.kl.label_threshold else 0.0
    return label


def kl_label_in_words(box_xywh, side, config):
    options = config.kl
    label = label_in_words(box_xywh, side, config)
    if options.normalize_label:
        label = label / (label.sum() + 1e-8)
    label = (1 - options.label_uniform_share) * label
    return (1 - options.label_shrink) * (label + options.label_uniform_share / side**2)


def written_loss(filt, params, feat, box, weight, config):
    """(loss as recorded, what the solvers' gradient is of), by their own words."""
    reg = params["filter_reg"] ** 2
    square = jnp.sum(filt**2)
    scores = correlate(filt, feat)
    side = scores.shape[1]
    data = 0.0
    for n in range(len(feat)):
        if config.objective == "kl":
            total = jnp.sum(jnp.exp(scores[n]))
            if config.kl.softmax_reg is not None:
                total += np.exp(config.kl.softmax_reg)
            label = kl_label_in_words(box[n], side, config)
            data += weight[n] * (jnp.log(total) - jnp.sum(label * scores[n]))
        else:  # l2
            label = label_in_words(box[n], side, config)
            inside = label > config.l2_hinge_threshold
            wrong = jnp.where(inside, scores[n] - label, jnp.maximum(scores[n], 0))
            data += weight[n] * jnp.sum(wrong**2)
    if config.objective == "kl":
        return data + reg * square, data + reg * square / 2
    return data + reg * square, (data + reg * square) / 2


@pytest.mark.parametrize("case", [c for c in CASES if c != "hinge"])
def test_loss_gradient_and_operators(case):
    config = CASES[case]
    with jax.enable_x64():
        filt, feat, box, weight = double(problem(samples=2, cells=3))
        box_by_number = np.asarray(box)
        params = double(rough_params(config))
        directions = jnp.asarray(np.random.default_rng(3).standard_normal((2, *filt.shape)))

        @jax.jit
        def run(filt):
            local = MAKE[config.objective](params, samples_of(feat, box, weight), config)(filt)
            apart = functools.partial(
                written_loss,
                params=params,
                feat=feat,
                box=box_by_number,
                weight=weight,
                config=config,
            )
            minimised = lambda flat: apart(flat.reshape(filt.shape))[1]
            return (
                (local.loss, local.grad, [local.product(d) for d in directions]),
                [local.curvature(d) for d in directions],
                (apart(filt)[0], jax.grad(minimised)(filt.ravel())),
                jax.hessian(minimised)(filt.ravel()),
            )

        (loss, grad, products), curvatures, (expected, gradient), hessian = run(filt)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
        close(loss, expected)
        close(grad.ravel(), gradient)
        # No second derivative but those of piecewise linear residuals and of the softmax.
        for direction, product, curvature in zip(directions, products, curvatures, strict=True):
            close(product.ravel(), hessian @ direction.ravel())
            close(curvature, direction.ravel() @ hessian @ direction.ravel())


def test_least_squares_has_the_gauss_newton_operator():
    """J^T J, on a point and a residual of several leaves; not the Hessian, which has more."""

    def residual(x):
        return {"a": jnp.sin(x["u"]) * x["v"], "b": (x["u"] ** 2 - 1.0,)}

    point = {"u": jnp.asarray([0.3, -0.8]), "v": jnp.asarray([1.5, 0.2])}
    direction = {"u": jnp.asarray([1.0, 0.5]), "v": jnp.asarray([-0.3, 2.0])}

    @jax.jit
    def run(point, direction):
        local = objectives.least_squares(residual)(point)
        rows = jax.jacobian(residual)(point)
        return local.product(direction), local.curvature(direction), local.grad, rows

    product, curvature, grad, rows = run(point, direction)
    matrix = np.concatenate(
        [np.concatenate([leaf["u"], leaf["v"]], 1) for leaf in (rows["a"], rows["b"][0])]
    )
    flat = lambda tree: np.concatenate([tree["u"], tree["v"]])
    value = residual(point)
    values = np.concatenate([value["a"], value["b"][0]])
    along = matrix @ flat(direction)
    np.testing.assert_allclose(flat(product), matrix.T @ along, rtol=1e-5)
    np.testing.assert_allclose(curvature, along @ along, rtol=1e-5)
    np.testing.assert_allclose(flat(grad), matrix.T @ values, rtol=1e-5)


def test_labels():
    """Options of the label density one by one, on its own scale."""
    _, feat, box, weight = problem(samples=2, cells=3)
    box = box.at[0].set(jnp.asarray([24.0, 8.0, 16.0, 16.0]))  # centre at row 1, column 2
    samples = samples_of(feat, box, weight)

    def label(sigma=0.9, **options):
        options = KLConfig(**options)
        return objectives.kl_label(
            samples, dataclasses.replace(KL, init_label_sigma_cells=sigma, kl=options)
        )

    one_cell = label(0.0)
    assert (np.sort(one_cell.reshape(2, -1)) == [0.0] * 15 + [1.0]).all()
    assert one_cell[0, 1, 2] == 1
    np.testing.assert_allclose(label().sum((1, 2)), 1.0, rtol=1e-6)
    plain = label(normalize_label=False)
    np.testing.assert_allclose(plain[0, 1, 2], 1 / (2 * np.pi * 0.81), rtol=1e-6)
    cut = label(normalize_label=False, label_threshold=0.05)
    np.testing.assert_array_equal(cut, np.where(plain > 0.05, plain, 0))
    assert 0 < (cut == 0).sum() < cut.size
    np.testing.assert_allclose(label(label_shrink=0.25), 0.75 * label(), rtol=1e-6)
    np.testing.assert_allclose(label(label_uniform_share=1.0), np.full((2, 4, 4), 1 / 16))
    # Nothing above the threshold: no label, and no division by nothing.
    np.testing.assert_array_equal(label(label_threshold=1.0), np.zeros((2, 4, 4)))


@functools.cache
def loss_and_gradients(name):
    """Jitted: derivatives of the loss after a step by filter, features and weights; and itself."""
    config = CASES[name]
    params = rough_params(config)

    def total(filt, feat, box, weight):
        objective = MAKE[config.objective](params, samples_of(feat, box, weight), config)
        # One step: the derivative goes through the gradient, too.
        local = objective(filt - 0.1 * objective(filt).grad)
        return local.loss, (local.loss, local.grad)

    return jax.jit(jax.grad(total, (0, 1, 3), has_aux=True))


@pytest.mark.parametrize("name", ["kl, all options", "l2", "hinge"])
def test_empty_slots_change_nothing(name):
    """Whatever their features and boxes are; and all derivatives are finite."""
    filt, feat, box, weight = problem(samples=3, cells=3)
    weight = weight.at[1].set(0.0)
    run = loss_and_gradients(name)
    (by_filt, by_feat, by_weight), (loss, grad) = run(filt, feat, box, weight)
    for junk in (0.0, 300.0):
        other = run(filt, feat.at[1].set(junk), box.at[1].set(junk), weight)
        (by_filt_too, by_junk, _), (loss_too, grad_too) = other
        np.testing.assert_allclose(loss_too, loss, rtol=1e-6)
        np.testing.assert_allclose(grad_too, grad, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_filt_too, by_filt, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(by_junk[1], 0 * feat[1])
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(other))
    assert np.isfinite(by_weight).all() and abs(by_feat[0]).max() > 0


@pytest.mark.parametrize("softmax_reg", [None, 0.7])
def test_large_scores_do_not_overflow(softmax_reg):
    """exp(1000) is no number of float32; the loss is then the distance to the highest score."""
    scores = jnp.asarray([[[1000.0, 0.0], [-1000.0, 999.0]], [[-1000.0] * 2] * 2])
    total, slope = jax.jvp(
        lambda s: objectives.log_sum_exp(s, softmax_reg), (scores,), (jnp.ones_like(scores),)
    )
    low = -1000 + np.log(4) if softmax_reg is None else softmax_reg
    np.testing.assert_allclose(total, [1000 + np.log1p(np.exp(-1)), low], rtol=1e-6)
    np.testing.assert_allclose(slope, [1.0, 1.0 if softmax_reg is None else 0.0], rtol=1e-5)
    filt, feat, box, weight = problem(samples=3, cells=3)
    assert abs(correlate(3000 * filt, feat)).max() > 1000
    case = "kl" if softmax_reg is None else "kl, all options"
    for leaf in jax.tree.leaves(loss_and_gradients(case)(3000 * filt, feat, box, weight)):
        assert np.isfinite(leaf).all()
