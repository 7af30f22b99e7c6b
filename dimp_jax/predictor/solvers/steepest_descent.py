"""Steepest descent with Gauss-Newton step lengths: DiMP's solver."""

import jax.numpy as jnp

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, at_iteration, iterate, moved, squared_norm

MIN_CURVATURE = 1e-8


def steepest_descent(
    objective, init, num_iter: int, *, step_length=1.0, damping=0.0, adjoint=adjoints.unrolled
) -> Solve:
    """Minimises by ``x <- x - step_length * alpha * g`` (Bhat et al., ICCV 2019, algorithm 1).

    The objective is linearised once an iteration, at the present iterate. alpha is the exact
    minimiser of its Gauss-Newton model along the gradient, ``|g|^2 / <g, B g>`` (eqs. 4-5).

    Args:
      objective: (point, iteration) -> `solve.Local`.
      init: pytree.
      num_iter: static.
      step_length: factor on alpha, meta-learned in DiMP; [] or [I], see `solve.at_iteration`.
      damping: scalar, adds ``damping * |g|^2`` to the curvature.
      adjoint: how a gradient passes back (adjoints.py).
    """

    def update(local, point, state, iteration):
        length = at_iteration(step_length, iteration) * exact_length(local, damping)
        return moved(point, -length, local.grad), state, length

    return iterate(objective, update, init, (), num_iter, adjoint)


def exact_length(local, damping):
    """alpha: where the Gauss-Newton model is least along the negative gradient."""
    square = squared_norm(local.grad)
    curvature = local.curvature(local.grad) + damping * square
    return square / jnp.maximum(curvature, MIN_CURVATURE)
