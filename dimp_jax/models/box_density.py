"""How far is a density over boxes from the right one? For training, and for the first frame."""

import jax
import jax.numpy as jnp


def kl_regression(scores, log_proposal_density, target_density):
    """Kullback-Leibler divergence of the predicted box density, up to a constant.

    The integral over all boxes is estimated on N proposals by importance sampling: the mean over
    the test boxes of ``log(mean(exp(s) / q)) - mean(s p / q)`` (PrDiMP, Danelljan et al.,
    CVPR 2020). Finite where exp(s) overflows.

    Args:
      scores: [..., N] log densities ``s`` of the proposals, not normalised.
      log_proposal_density: [..., N] log of ``q``, from which the proposals were drawn.
      target_density: [..., N] ``p`` around the true box.
    """
    log_mean = jax.nn.logsumexp(scores - log_proposal_density, axis=-1) - jnp.log(
        jnp.float32(scores.shape[-1])
    )
    expected = jnp.mean(scores * target_density * jnp.exp(-log_proposal_density), axis=-1)
    return jnp.mean(log_mean - expected)
