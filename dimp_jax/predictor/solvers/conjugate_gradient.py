"""Gauss-Newton conjugate gradients."""

import jax
import jax.numpy as jnp

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, at_iteration, iterate, moved, squared_norm, vdot


def conjugate_gradient(
    objective, init, num_iter: int, *, step_length=1.0, damping=0.0, adjoint=adjoints.unrolled
) -> Solve:
    """``d <- -g + beta d``, ``x <- x + step_length * alpha d`` with the Gauss-Newton alpha along d.

    Linearised anew at every iterate, so an iteration costs what one of `steepest_descent` does.
    ``beta = max(<g, g - g_last> / |g_last|^2, 0)`` (Polak and Ribiere). On a quadratic objective
    with a step length of 1 these are the conjugate gradients of Hestenes and Stiefel: the solution
    of n unknowns after n iterations. Arguments as `steepest_descent`.
    """

    def update(local, point, state, iteration):
        direction, grad_last, square_last = state
        square = squared_norm(local.grad)
        change = square - vdot(local.grad, grad_last)
        started = square_last > 0
        beta = jnp.maximum(change / jnp.where(started, square_last, 1.0), 0.0)
        beta = jnp.where(started, beta, 0.0)
        direction = jax.tree.map(lambda d, g: beta * d - g, direction, local.grad)
        curvature = local.curvature(direction) + damping * squared_norm(direction)
        slope = -vdot(local.grad, direction)
        # No floor as in `steepest_descent`: it would stop far from a solution in float64.
        curved = curvature > 0
        length = jnp.where(curved, slope / jnp.where(curved, curvature, 1.0), 0.0)
        length = at_iteration(step_length, iteration) * length
        return moved(point, length, direction), (direction, local.grad, square), length

    zeros = jax.tree.map(jnp.zeros_like, init)
    dtype = jnp.result_type(*jax.tree.leaves(init))
    return iterate(objective, update, init, (zeros, zeros, jnp.zeros((), dtype)), num_iter, adjoint)
