"""Steepest descent with momentum (the heavy ball)."""

import jax
import jax.numpy as jnp

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, at_iteration, iterate, moved
from dimp_jax.predictor.solvers.steepest_descent import exact_length


def momentum(
    objective,
    init,
    num_iter: int,
    *,
    step_length=1.0,
    damping=0.0,
    momentum=0.3,
    adjoint=adjoints.unrolled,
) -> Solve:
    """``d <- momentum * d - step_length * alpha * g``, ``x <- x + d`` (Polyak, 1964).

    Args:
      momentum: share of the last move that is kept; learned where the config names it among
        `solver_parameters`. The others as `steepest_descent`.
    """

    def update(local, point, last_move, iteration):
        length = at_iteration(step_length, iteration) * exact_length(local, damping)
        keep = at_iteration(momentum, iteration)
        move = jax.tree.map(lambda m, g: keep * m - length * g, last_move, local.grad)
        return moved(point, 1.0, move), move, length

    start = jax.tree.map(jnp.zeros_like, init)
    return iterate(objective, update, init, start, num_iter, adjoint)
