"""Steepest descent with Newton step lengths: PrDiMP's solver."""

import jax
import jax.numpy as jnp

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, at_iteration, iterate, moved, squared_norm, vdot
from dimp_jax.predictor.solvers.steepest_descent import MIN_CURVATURE


def newton(
    objective, init, num_iter: int, *, step_length=1.0, damping=0.0, adjoint=adjoints.unrolled
) -> Solve:
    """``x <- x - step_length * |g|^2 / <g, H g> * g`` with the Hessian H of the objective itself
    (Danelljan, Van Gool, Timofte, CVPR 2020, section 4).

    For the convex Kullback-Leibler objective. Where H is indefinite the step means nothing; where
    the residual is piecewise linear, as DiMP's, H is the Gauss-Newton operator and this is
    `steepest_descent`. Arguments as there.
    """

    def update(local, point, state, iteration):
        gradient = lambda at: objective(at, iteration).grad
        _, bent = jax.jvp(gradient, (point,), (local.grad,))
        square = squared_norm(local.grad)
        curvature = vdot(local.grad, bent) + damping * square
        length = at_iteration(step_length, iteration) * square
        length = length / jnp.maximum(curvature, MIN_CURVATURE)
        return moved(point, -length, local.grad), state, length

    return iterate(objective, update, init, (), num_iter, adjoint)
