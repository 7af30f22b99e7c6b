"""Training losses: of the scores DiMP's hinge or PrDiMP's divergence, of the boxes alike."""

import jax
import jax.numpy as jnp


def hinge_loss(scores, label, threshold: float | None = 0.05):
    """Mean squared error where ``label >= threshold``; elsewhere only positive scores count.

    Args:
      scores: [...].
      label: the same shape.
      threshold: None for a plain mean squared error.
    """
    if threshold is not None:
        negative = label < threshold
        scores = jnp.where(negative, jax.nn.relu(scores), scores)
        label = jnp.where(negative, 0.0, label)
    return jnp.mean((scores - label) ** 2)


def grid_divergence(scores, density):
    """Kullback-Leibler divergence of the softmax of each map, up to a constant (PrDiMP, eq. 12).

    Args:
      scores: [..., S, S].
      density: [..., S, S], of the target centre over the cells; sums to 1.

    Returns:
      scalar, the mean over the maps of ``log(sum(exp(s))) - sum(s p)``.
    """
    log_sum = jax.nn.logsumexp(scores, axis=(-2, -1))
    return jnp.mean(log_sum - jnp.sum(scores * density, axis=(-2, -1)))


def normalized_density(density):
    """Label densities [..., S, S] that sum to 1; uniform where the target is not on the map.

    That is where the sum is at most 0.01 (behaviour 4.2).
    """
    total = jnp.sum(density, axis=(-2, -1), keepdims=True)
    is_there = total > 0.01
    uniform = 1 / (density.shape[-2] * density.shape[-1])
    return jnp.where(is_there, density / jnp.where(is_there, total, 1.0), uniform)


def loss_terms(scores, label, box_loss, config) -> dict:
    """The weighted terms of the training loss, which is their sum.

    Args:
      scores: [I + 1, ...] of every iterate of the filter on the test frames, the initial first.
      label: [..., S, S] Gaussian label, or the label density with classification "kl".
      box_loss: scalar, `iou_regression` or `box_density.kl_regression`.
      config: `config.training.LossConfig`; the weight of the iterates between the first and the
        last is shared by them.

    Returns:
      dict of `iou`, `final`, `initial`, `iterates`.

    Raises:
      ValueError: fewer than two iterates.
    """
    if scores.shape[0] < 2:
        raise ValueError(f"scores: expected the initial and the final iterate, got {scores.shape}")
    if config.classification == "kl":
        losses = [grid_divergence(s, label) for s in scores]
    else:
        losses = [hinge_loss(s, label, config.hinge_threshold) for s in scores]
    between = losses[1:-1]
    return {
        "iou": config.iou * box_loss,
        "final": config.final * losses[-1],
        "initial": config.initial * losses[0],
        "iterates": config.iterates / max(len(between), 1) * sum(between, jnp.float32(0.0)),
    }


def iou_regression(iou, iou_target):
    """Mean squared error of predicted and true 2 IoU - 1 of the proposals."""
    return jnp.mean((iou - iou_target) ** 2)
