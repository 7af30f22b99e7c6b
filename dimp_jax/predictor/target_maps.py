"""Label, mask and spatial weight of the discriminative loss as functions of distance.

All three are learned as coefficients of triangular basis functions of the distance to the target
centre, so they are rotation invariant (paper, eq. 6).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dimp_jax.predictor.precision import EXACT


class TargetMaps(NamedTuple):
    """The parts of the loss on the score grid, each [N, S, S]."""

    label: jax.Array  #: the score that is wanted
    mask: jax.Array  #: 1: a negative score is an error; 0: only positive ones are
    weight: jax.Array  #: spatial weight times the square root of the sample weight


def target_center_yx(box_xywh, stride_px: int, filter_cells: int):
    """Centre of boxes [..., 4] (x, y, w, h in crop pixels) on the score grid, in cells [..., 2].

    Odd filters have no half-cell offset between features and scores, hence the shift.
    """
    center_xy = (box_xywh[..., :2] + box_xywh[..., 2:] / 2) / stride_px
    return center_xy[..., ::-1] - (filter_cells % 2) / 2


def distance_basis(center_yx, size_hw, num_bins: int, bin_width_cells: float):
    """Triangular basis functions of the distance from each cell to the centre (eq. 6).

    Args:
      center_yx: [N, 2] cells.
      size_hw: static (S, S).

    Returns:
      [N, S, S, num_bins]; sums to 1 over the bins. The last one holds all larger distances.
    """
    dy, dx = _offsets(center_yx, size_hw)
    distance = jnp.sqrt(dy[:, :, None] ** 2 + dx[:, None, :] ** 2)[..., None]
    offset = (
        distance / bin_width_cells - jnp.arange(num_bins, dtype=center_yx.dtype)[None, None, None]
    )
    inner = jax.nn.relu(1.0 - jnp.abs(offset[..., :-1]))
    outer = jnp.clip(1.0 + offset[..., -1:], 0.0, 1.0)
    return jnp.concatenate([inner, outer], axis=-1)


def target_maps(params, basis, sample_weight, *, mask_activation: str = "sigmoid"):
    """Evaluates the learned functions.

    Args:
      params: dict with `label`, `mask`, `weight`, each [num_bins].
      basis: [N, S, S, num_bins] from `distance_basis`.
      sample_weight: [N] >= 0; an empty memory slot has 0.
      mask_activation: "sigmoid", or "linear" for none.

    Raises:
      ValueError: unknown `mask_activation`.
    """
    evaluate = lambda values: jnp.matmul(basis, values, precision=EXACT)
    label, mask, weight = (evaluate(params[name]) for name in ("label", "mask", "weight"))
    if mask_activation == "sigmoid":
        mask = jax.nn.sigmoid(mask)
    elif mask_activation != "linear":
        raise ValueError(f"mask_activation={mask_activation!r}: expected 'sigmoid' or 'linear'")
    return TargetMaps(label, mask, root(sample_weight)[:, None, None] * weight)


def root(sample_weight):
    """Square root whose derivative at exactly 0, an empty slot, is 0 instead of infinite."""
    positive = sample_weight > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, sample_weight, 1.0)), 0.0)


def gaussian_label(box_xywh, sigma_cells: float, size_hw, stride_px: int, filter_cells: int):
    """Gaussian of peak 1 at the target centre (the fixed label of the L2 variant and of training).

    Args:
      box_xywh: [N, 4] crop pixels.

    Returns:
      [N, S, S].
    """
    center = target_center_yx(box_xywh, stride_px, filter_cells)
    gain = -0.5 / sigma_cells**2
    along_y, along_x = (jnp.exp(gain * offset**2) for offset in _offsets(center, size_hw))
    return along_y[:, :, None] * along_x[:, None, :]


def label_density(
    box_xywh, sigma_cells: float, size_hw, stride_px: int, filter_cells: int, *, threshold=0.0
):
    """Density of the target centre over the cells, values up to `threshold` set to 0 (PrDiMP).

    Args:
      box_xywh: [N, 4] crop pixels.
      sigma_cells: 0 puts everything into the nearest cell.

    Returns:
      [N, S, S], not normalised to a sum of 1.
    """
    if sigma_cells == 0:
        center = target_center_yx(box_xywh, stride_px, filter_cells)
        nearest = lambda offset: jnp.argmin(abs(offset), axis=-1)
        one_hot = lambda offset: jax.nn.one_hot(
            nearest(offset), offset.shape[1], dtype=center.dtype
        )
        rows, cols = map(one_hot, _offsets(center, size_hw))
        return rows[:, :, None] * cols[:, None, :]
    label = gaussian_label(box_xywh, sigma_cells, size_hw, stride_px, filter_cells)
    density = label / (2 * jnp.pi * sigma_cells**2)
    return jnp.where(density > threshold, density, 0.0)


def _offsets(center_yx, size_hw):
    """How far each row [N, S] and each column [N, S] of cells is from the centres [N, 2]."""
    cells = [jnp.arange(size, dtype=center_yx.dtype)[None] for size in size_hw]
    return cells[0] - center_yx[:, :1], cells[1] - center_yx[:, 1:]
