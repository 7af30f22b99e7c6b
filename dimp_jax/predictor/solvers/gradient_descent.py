"""Gradient descent with given step lengths: the arm that the paper compares with (table 1)."""

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, at_iteration, iterate, moved


def gradient_descent(
    objective, init, num_iter: int, *, step_length=1.0, damping=0.0, adjoint=adjoints.unrolled
) -> Solve:
    """``x <- x - step_length * g``; arguments as `steepest_descent`, `damping` has no part in it.

    The lengths are learned with the loss, one for all iterations ([]) or one each ([I]).
    """
    del damping

    def update(local, point, state, iteration):
        length = at_iteration(step_length, iteration)
        return moved(point, -length, local.grad), state, length

    return iterate(objective, update, init, (), num_iter, adjoint)
