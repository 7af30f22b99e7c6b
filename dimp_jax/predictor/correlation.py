"""Correlation of features with a target filter, as one matmul and shifted sums.

XLA's CPU backend runs a convolution to one channel some 40 times slower than this form
(docs/guides/performance.md); a TPU's matrix unit likes it too. `correlate_conv` is the plain
convolution: the oracle of the tests.
"""

import jax
import jax.numpy as jnp

from dimp_jax.predictor.precision import EXACT
from dimp_jax.predictor.shapes import check_shape


def score_size(feature_cells: int, filter_cells: int) -> int:
    """Side of the score map: one cell larger than the features for even filters."""
    return feature_cells + (filter_cells + 1) % 2


def correlate(filt, feat):
    """Zero-padded cross-correlation, padding K // 2 on every side (paper, equation 1).

    Args:
      filt: [K, K, C] target filter.
      feat: [N, H, W, C] features.

    Returns:
      [N, H + (K + 1) % 2, W + (K + 1) % 2] scores. For even K, cell u is the filter's centre at
      feature coordinate u - 1/2, that is image coordinate 16 u.

    Raises:
      ValueError: the shapes disagree.
    """
    dims = {}
    check_shape("filt", filt, "K K C", dims)
    check_shape("feat", feat, "N H W C", dims)
    n, h, w, c = feat.shape
    k, pad = filt.shape[0], filt.shape[0] // 2
    # Every tap of the filter times every cell.
    contract_channels = (((1,), (1,)), ((), ()))
    taps = jax.lax.dot_general(
        filt.reshape(k * k, c),
        feat.reshape(n * h * w, c),
        contract_channels,
        precision=EXACT,
    ).reshape(k, k, n, h, w)
    # Shifted sums, along one axis after the other: 2 k of them instead of k k.
    rows, cols = score_size(h, k), score_size(w, k)
    taps = jnp.pad(taps, ((0, 0), (0, 0), (0, 0), (pad, pad), (0, 0)))
    lines = sum(taps[a, :, :, a : a + rows] for a in range(k))  # [K, N, S, W]
    lines = jnp.pad(lines, ((0, 0), (0, 0), (0, 0), (pad, pad)))
    return sum(lines[b, :, :, b : b + cols] for b in range(k))  # [N, S, S]


def correlate_conv(filt, feat):
    """The same scores by XLA's convolution."""
    pad = filt.shape[0] // 2
    scores = jax.lax.conv_general_dilated(
        feat,
        filt[..., None],
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=EXACT,
    )
    return scores[..., 0]
