"""Training losses (behaviour: DiMP's hinge classification loss and the IoU regression)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class LossWeights(NamedTuple):
    """Weights of the DiMP loss; `iterates` is shared by the iterates between first and last."""

    iou: float = 1.0
    final: float = 100.0
    initial: float = 100.0
    iterates: float = 400.0


def hinge_loss(scores, label, threshold: float | None = 0.05):
    """Mean squared error where ``label >= threshold``; elsewhere only positive scores count.

    Args:
      scores, label: the same shape. threshold: None for a plain mean squared error.
    """
    if threshold is not None:
        negative = label < threshold
        scores = jnp.where(negative, jax.nn.relu(scores), scores)
        label = jnp.where(negative, 0.0, label)
    return jnp.mean((scores - label) ** 2)


def dimp_loss(scores, label, iou, iou_target, weights: LossWeights):
    """The total loss and its terms.

    Args:
      scores: [I + 1, ...] of every iterate of the filter on the test frames, the initial first.
      label: [...] Gaussian label.
      iou, iou_target: predicted and true 2 IoU - 1 of the proposals.

    Returns:
      (total, dict of the weighted terms `iou`, `final`, `initial`, `iterates`).

    Raises:
      ValueError: fewer than two iterates.
    """
    terms = {
        "iou": weights.iou * jnp.mean((iou - iou_target) ** 2),
        **classification_terms(scores, label, weights),
    }
    return sum(terms.values()), terms


def classification_terms(scores, label, weights, threshold: float | None = 0.05):
    """The weighted terms `final`, `initial`, `iterates` of the classification loss.

    Args:
      scores, label: as for `dimp_loss`.
      weights: has the fields `final`, `initial`, `iterates`: `LossWeights` or `LossConfig`.
      threshold: that of `hinge_loss`.

    Raises:
      ValueError: fewer than two iterates.
    """
    if scores.shape[0] < 2:
        raise ValueError(f"scores: expected the initial and the final iterate, got {scores.shape}")
    losses = [hinge_loss(s, label, threshold) for s in scores]
    between = losses[1:-1]
    return {
        "final": weights.final * losses[-1],
        "initial": weights.initial * losses[0],
        "iterates": weights.iterates / max(len(between), 1) * sum(between, jnp.float32(0.0)),
    }


def kl_regression(scores, log_proposal_density, target_density):
    """Kullback-Leibler divergence of the predicted box density, up to a constant.

    The integral over all boxes is estimated on N proposals by importance sampling: the mean over
    the test boxes of ``log(mean(exp(s) / q)) - mean(s p / q)`` (behaviour 5; PrDiMP, Danelljan et
    al., CVPR 2020). Finite where exp(s) overflows.

    Args:
      scores: [..., N] log densities ``s`` of the proposals, not normalised.
      log_proposal_density: [..., N] log of ``q``, from which the proposals were drawn.
      target_density: [..., N] ``p`` around the true box.
    """
    log_mean = jax.nn.logsumexp(scores - log_proposal_density, axis=-1) - jnp.log(scores.shape[-1])
    expected = jnp.mean(scores * target_density * jnp.exp(-log_proposal_density), axis=-1)
    return jnp.mean(log_mean - expected)
