"""What the model predictor minimises over the filter.

An objective of the config is a function ``(params, samples, config) -> objective``: the learned
parameters, the `Samples` that the filter is fitted to and the `PredictorConfig` in, a function
``(filter [K, K, C], iteration) -> Local`` out. With residuals, `least_squares` makes it of them.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dimp_jax.predictor.correlation import correlate, score_size
from dimp_jax.predictor.solve import Local, squared_norm, vdot
from dimp_jax.predictor.target_maps import (
    distance_basis,
    gaussian_label,
    label_density,
    root,
    target_center_yx,
    target_maps,
)


class Samples(NamedTuple):
    """What a filter is fitted to, and its geometry."""

    feat: jax.Array  #: [N, H, W, C] normalised classification features
    box_xywh: jax.Array  #: [N, 4] crop pixels
    weight: jax.Array  #: [N] >= 0; an empty slot has 0
    stride_px: int  #: crop pixels a cell
    filter_cells: int  #: K, side of the filter

    @property
    def score_hw(self) -> tuple[int, int]:
        """Sides of a score map, cells."""
        height, width = self.feat.shape[1:3]
        return score_size(height, self.filter_cells), score_size(width, self.filter_cells)


def learned_maps(params, samples: Samples, config):
    """Label, mask and weight on the score grid, and the basis [N, S, S, num_bins] of the distance
    to the target with which any other function of it that is learned can be evaluated."""
    center = target_center_yx(samples.box_xywh, samples.stride_px, samples.filter_cells)
    basis = distance_basis(center, samples.score_hw, config.num_bins, config.bin_width_cells)
    maps = target_maps(params, basis, samples.weight, mask_activation=config.mask_activation)
    return maps, basis


def least_squares(residual_fn):
    """The objective ``L(x) = |r(x)|^2``, with ``g = J^T r`` and ``B = J^T J``.

    g is half the gradient of L, as in the published code; step lengths do not depend on it.

    Args:
      residual_fn: maps a point to a pytree of residuals.
    """

    def objective(point, iteration=0):
        del iteration
        residual, jvp = jax.linearize(residual_fn, point)
        vjp = jax.linear_transpose(jvp, point)
        return Local(
            loss=squared_norm(residual),
            grad=vjp(residual)[0],
            product=lambda direction: vjp(jvp(direction))[0],
            curvature=lambda direction: squared_norm(jvp(direction)),
        )

    return objective


def regularization(params, config):
    """lambda: the square of the learned `filter_reg`, not below that of `min_filter_reg`."""
    return jnp.maximum(params["filter_reg"] ** 2, config.min_filter_reg**2)


# ----------------------------------------------------------------------------- DiMP's hinge


def hinge(params, samples: Samples, config):
    """DiMP's residual with learned label, mask and spatial weight (paper, eqs. 1-2)."""
    maps, _ = learned_maps(params, samples, config)
    return least_squares(
        functools.partial(
            dimp_residual,
            feat=samples.feat,
            maps=maps,
            reg=regularization(params, config),
            activation=config.score_activation,
            bentpar_b=config.bentpar_b,
        )
    )


def leaky_activation(scores, mask):
    """``m s + (1 - m) max(0, s)`` (eq. 2), written with ``|s|`` as in the published code.

    The derivative at 0 is the mean of both sides. `jnp.abs` would give the right-hand one, which
    matters: an initial filter of zeros has scores of exactly 0.
    """
    magnitude = scores * jnp.sign(scores)
    return (1 - mask) / 2 * magnitude + (1 + mask) / 2 * scores


def bentpar_activation(scores, mask, b):
    """A smooth leaky rectifier: ``|s|`` becomes ``sqrt(s^2 + 4 b^2) - 2 b``."""
    return (1 - mask) / 2 * (jnp.sqrt(scores**2 + 4 * b**2) - 2 * b) + (1 + mask) / 2 * scores


def dimp_residual(filt, feat, maps, reg, *, activation: str = "relu", bentpar_b: float = 1.0):
    """Hinge-like residual with learned label, mask and spatial weight, and the regulariser.

    Args:
      filt: [K, K, C].
      feat: [N, H, W, C].
      maps: `TargetMaps`, each [N, S, S].
      reg: scalar > 0, the regularisation weight: eq. 1's lambda, squared.
      activation: "relu" or "bentpar".

    Returns:
      Tuple of the data residual [N, S, S] and the regularisation residual [K, K, C].
    """
    scores = correlate(filt, feat)
    if activation == "relu":
        activated = leaky_activation(scores, maps.mask)
    elif activation == "bentpar":
        activated = bentpar_activation(scores, maps.mask, bentpar_b)
    else:
        raise ValueError(f"activation={activation!r}: expected 'relu' or 'bentpar'")
    return maps.weight * (activated - maps.label), jnp.sqrt(reg) * filt


# ------------------------------------------------------------------------------- L2 variant


def l2(params, samples: Samples, config):
    """Least squares on a fixed Gaussian label; below `l2_hinge_threshold` only positive scores."""
    label = gaussian_label(
        samples.box_xywh,
        config.init_label_sigma_cells,
        samples.score_hw,
        samples.stride_px,
        samples.filter_cells,
    )
    return least_squares(
        functools.partial(
            l2_residual,
            feat=samples.feat,
            label=label,
            sample_weight=samples.weight,
            reg=regularization(params, config),
            hinge_threshold=config.l2_hinge_threshold,
        )
    )


def l2_residual(filt, feat, label, sample_weight, reg, *, hinge_threshold: float):
    """The L2 variant: fixed Gaussian label, hinge outside ``label > hinge_threshold``.

    Args:
      filt: [K, K, C].
      feat: [N, H, W, C].
      label: [N, S, S].
      sample_weight: [N].
      reg: scalar > 0.
      hinge_threshold: label above which the score is to equal it.

    Returns:
      Tuple of the data residual [N, S, S] and the regularisation residual [K, K, C].
    """
    scores = correlate(filt, feat)
    inside = label > hinge_threshold
    activated = jnp.where(inside, scores, jax.nn.relu(scores))
    weight = root(sample_weight)[:, None, None]
    return weight * (activated - jnp.where(inside, label, 0.0)), jnp.sqrt(reg) * filt


# -------------------------------------------------------------------------- Kullback-Leibler


def kl(params, samples: Samples, config):
    """Cross-entropy of the softmax of the scores to a label density (PrDiMP, CVPR 2020, eq. 12).

    Sample weights enter as they are, without the root of the residuals above. The recorded loss has
    ``lambda |w|^2``, g that of half of it, as in the published code.
    """
    options = config.kl
    density = kl_label(samples, config)
    reg = regularization(params, config)
    weight = samples.weight[:, None, None]
    scores_of = functools.partial(correlate, feat=samples.feat)

    def objective(filt, iteration=0):
        del iteration
        scores, jvp = jax.linearize(scores_of, filt)
        vjp = jax.linear_transpose(jvp, filt)
        log_sum = log_sum_exp(scores, options.softmax_reg)
        predicted = jnp.exp(scores - log_sum[:, None, None])
        divergence = log_sum - jnp.sum(density * scores, axis=(1, 2))

        def bend(along):
            """The Hessian by the scores, times a change of them."""
            mean = jnp.sum(predicted * along, axis=(1, 2), keepdims=True)
            return predicted * (along - mean)

        def curvature(direction):
            along = jvp(direction)
            each = jnp.maximum(jnp.sum(along * bend(along), axis=(1, 2)), 0.0)
            return vdot(samples.weight, each) + reg * squared_norm(direction)

        return Local(
            loss=vdot(samples.weight, divergence) + reg * squared_norm(filt),
            grad=vjp(weight * (predicted - density))[0] + reg * filt,
            product=lambda v: vjp(weight * bend(jvp(v)))[0] + reg * v,
            curvature=curvature,
        )

    return objective


def kl_label(samples: Samples, config):
    """The label density [N, S, S] of `kl`: its options in their order."""
    options = config.kl
    height, width = samples.score_hw
    density = label_density(
        samples.box_xywh,
        config.init_label_sigma_cells,
        (height, width),
        samples.stride_px,
        samples.filter_cells,
        threshold=options.label_threshold,
    )
    if options.normalize_label:
        density = density / (jnp.sum(density, axis=(1, 2), keepdims=True) + 1e-8)
    uniform = options.label_uniform_share
    mixed = (1 - uniform) * density + uniform / (height * width)
    return (1 - options.label_shrink) * mixed


def log_sum_exp(scores, softmax_reg: float | None):
    """[N] over the cells of [N, S, S] and, unless None, one more logit `softmax_reg`."""
    flat = scores.reshape(scores.shape[0], -1)
    if softmax_reg is not None:
        extra = jnp.full((flat.shape[0], 1), softmax_reg, flat.dtype)
        flat = jnp.concatenate([flat, extra], axis=1)
    return jax.nn.logsumexp(flat, axis=1)
