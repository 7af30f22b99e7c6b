"""The residuals that the model predictor minimises (paper, eqs. 1-2)."""

import jax
import jax.numpy as jnp

from dimp_jax.predictor.correlation import correlate


def leaky_activation(scores, mask):
    """``m s + (1 - m) max(0, s)`` (eq. 2), written with |s| as in the published code.

    The derivative at 0 is the mean of both sides. `jnp.abs` would give the right-hand one, which
    matters: an initial filter of zeros has scores of exactly 0.
    """
    magnitude = scores * jnp.sign(scores)
    return (1 - mask) / 2 * magnitude + (1 + mask) / 2 * scores


def bentpar_activation(scores, mask, b):
    """A smooth leaky rectifier: |s| becomes ``sqrt(s^2 + 4 b^2) - 2 b``."""
    return (1 - mask) / 2 * (jnp.sqrt(scores**2 + 4 * b**2) - 2 * b) + (1 + mask) / 2 * scores


def dimp_residual(filt, feat, maps, reg, *, activation: str = "relu", bentpar_b: float = 1.0):
    """Hinge-like residual with learned label, mask and spatial weight, and the regulariser.

    Args:
      filt: [K, K, C].
      feat: [N, H, W, C].
      maps: `TargetMaps`, each [N, S, S].
      reg: scalar > 0, the regularisation weight (already squared, behaviour of eq. 1's lambda^2).
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


def l2_residual(filt, feat, label, sample_weight, reg, *, hinge_threshold: float):
    """The L2 variant: fixed Gaussian label, hinge outside ``label > hinge_threshold``.

    Args:
      label: [N, S, S]. sample_weight: [N]. reg: scalar > 0.

    Returns:
      Tuple of the data residual [N, S, S] and the regularisation residual [K, K, C].
    """
    scores = correlate(filt, feat)
    inside = label > hinge_threshold
    activated = jnp.where(inside, scores, jax.nn.relu(scores))
    weight = jnp.sqrt(sample_weight)[:, None, None]
    return weight * (activated - jnp.where(inside, label, 0.0)), jnp.sqrt(reg) * filt
