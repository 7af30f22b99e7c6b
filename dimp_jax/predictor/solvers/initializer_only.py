"""No solver: the filter stays what the initialiser predicts (paper, table 1)."""

import jax.numpy as jnp

from dimp_jax.predictor import adjoints
from dimp_jax.predictor.solve import Solve, iterate


def initializer_only(
    objective, init, num_iter: int, *, step_length=1.0, damping=0.0, adjoint=adjoints.unrolled
) -> Solve:
    """All iterates are `init`; arguments as `steepest_descent`, none has a part in it."""
    del step_length, damping
    update = lambda local, point, state, iteration: (point, state, jnp.zeros_like(local.loss))
    return iterate(objective, update, init, (), num_iter, adjoint)
