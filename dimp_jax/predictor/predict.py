"""The DiMP model predictor: features and boxes in, target filter out."""

import functools
import math

import jax.numpy as jnp

from dimp_jax.predictor.correlation import score_size
from dimp_jax.predictor.residuals import dimp_residual
from dimp_jax.predictor.steepest_descent import steepest_descent
from dimp_jax.predictor.target_maps import distance_basis, target_center_yx, target_maps


def init_params(config):
    """Initial loss parameters: Gaussian label, tanh mask, uniform weight (paper, section 3.3).

    Args:
      config: `PredictorConfig`.

    Returns:
      dict: label, mask, weight [num_bins]; log_step_length, filter_reg [].
    """
    distance = jnp.arange(config.num_bins, dtype=jnp.float32) * config.bin_width_cells
    label = jnp.exp(-0.5 * (distance / config.init_label_sigma_cells) ** 2)
    offset = 0.5 if config.mask_activation == "linear" else 0.0
    return {
        "label": label - jnp.min(label),
        "mask": config.init_mask_factor * jnp.tanh(2.0 - distance) + offset,
        "weight": jnp.ones(config.num_bins, jnp.float32),
        "log_step_length": jnp.float32(math.log(config.init_step_length)),
        "filter_reg": jnp.float32(config.init_filter_reg),
    }


def optimize_filter(
    params,
    filt,
    feat,
    box_xywh,
    sample_weight,
    config,
    *,
    num_iter: int,
    stride_px: int = 16,
    remat: bool = False,
):
    """Fits one target filter to its samples by unrolled steepest descent (paper, algorithm 1).

    Args:
      params: the loss parameters, as from `init_params`; every leaf gets a gradient.
      filt: [K, K, C] initial filter.
      feat: [N, H, W, C] normalised classification features.
      box_xywh: [N, 4] target boxes in crop pixels.
      sample_weight: [N]; slots with weight 0 change nothing, so N can be a fixed memory size.
      config: `PredictorConfig` (static).
      num_iter: static.
      remat: static; see `steepest_descent`.

    Returns:
      `Descent`: iterates [I + 1, K, K, C] and losses [I + 1].
    """
    k = filt.shape[0]
    size_hw = tuple(score_size(cells, k) for cells in feat.shape[1:3])
    center = target_center_yx(box_xywh, stride_px, k)
    basis = distance_basis(center, size_hw, config.num_bins, config.bin_width_cells)
    maps = target_maps(params, basis, sample_weight, mask_activation=config.mask_activation)
    reg = jnp.maximum(params["filter_reg"] ** 2, config.min_filter_reg**2)
    residual_fn = functools.partial(
        dimp_residual,
        feat=feat,
        maps=maps,
        reg=reg,
        activation=config.score_activation,
        bentpar_b=config.bentpar_b,
    )
    return steepest_descent(
        residual_fn,
        filt,
        num_iter,
        step_length=jnp.exp(params["log_step_length"]),
        damping=config.alpha_eps,
        remat=remat,
    )
