"""The loop that all solvers share: one `lax.scan` over iterations on any objective.

A solver is an update rule (solvers/), what is minimised an objective (objectives.py), and how a
gradient passes back through the iterations an adjoint (adjoints.py); none knows the others.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dimp_jax.predictor.precision import EXACT


class Local(NamedTuple):
    """An objective and its (generalised) Gauss-Newton model around one point."""

    loss: jax.Array  #: [] as it is recorded
    grad: object  #: pytree like the point: what the solvers call the gradient (see the objective)
    product: Callable  #: direction -> B direction, with B positive semidefinite
    curvature: Callable  #: direction -> <direction, B direction> []


# An objective is a function (point, iteration) -> `Local`; `iteration` counts from 0 and matters
# only where parameters of the loss differ between iterations.


class Record(NamedTuple):
    """What is kept of one iteration, taken before its step."""

    iterate: object  #: the point
    loss: jax.Array  #: [] of the point
    step_length: jax.Array  #: [] of the step from it
    grad_norm: jax.Array  #: [] at the point


class Solve(NamedTuple):
    """What a solver returns; the leading axis counts iterates, the initial one first."""

    iterates: object  #: pytree, leaves [I + 1, ...]
    losses: jax.Array  #: [I + 1]
    step_lengths: jax.Array  #: [I] factor on the step's direction
    grad_norms: jax.Array  #: [I + 1]; never differentiated
    last: object  #: the final iterate; costs no gradient of the others where only it is used

    @property
    def optimality(self):
        """Norm of the gradient at the last iterate by that at the first one: 0 is a solution.

        []; of a `Solve` that was made under `vmap`, one each.

        The implicit gradient is that of a solution, and so as good as this is small.
        """
        first, last = self.grad_norms[..., 0], self.grad_norms[..., -1]
        return last / jnp.maximum(first, jnp.finfo(jnp.float32).tiny)


def iterate(objective, update, init, state, num_iter: int, adjoint) -> Solve:
    """Runs `update` `num_iter` times.

    Args:
      objective: (point, iteration) -> `Local`.
      update: (local, point, state, iteration) -> (next point, next state, step length []).
      init: pytree, the first point.
      state: pytree, what the solver remembers between iterations.
      num_iter: static; each new value compiles once.
      adjoint: one of adjoints.py.

    Raises:
      ValueError: num_iter is negative.
    """
    if num_iter < 0:
        raise ValueError(f"num_iter={num_iter}: expected 0 or more")

    def iteration(carry, index):
        point, state = carry
        local = objective(point, index)
        following, state, step_length = update(local, point, state, index)
        record = Record(
            point, local.loss, jnp.asarray(step_length, local.loss.dtype), norm(local.grad)
        )
        return (following, state), record

    last, records = adjoint(objective, iteration, (init, state), num_iter)
    local = objective(last, num_iter)
    append = lambda stacked, one: jnp.concatenate([stacked, one[None]])
    return Solve(
        iterates=jax.tree.map(append, records.iterate, last),
        losses=append(records.loss, local.loss),
        step_lengths=records.step_length,
        grad_norms=append(records.grad_norm, norm(local.grad)),
        last=last,
    )


def squared_norm(tree):
    """Sum of the squares of all leaves."""
    return vdot(tree, tree)


def vdot(a, b):
    """Inner product of two pytrees."""
    exact = functools.partial(jnp.vdot, precision=EXACT)
    return sum(jax.tree.leaves(jax.tree.map(exact, a, b)))


def norm(tree):
    """Euclidean norm, without a derivative (that of 0 would be infinite)."""
    return jnp.sqrt(jax.lax.stop_gradient(squared_norm(tree)))


def at_iteration(value, iteration):
    """Entry `iteration` of [I] values, the last one beyond them; a scalar stays what it is."""
    if jnp.ndim(value) == 0:
        return value
    return value[jnp.minimum(iteration, value.shape[0] - 1)]


def moved(point, length, direction):
    """``point + length * direction``, leaf by leaf."""
    return jax.tree.map(lambda p, d: p + length * d, point, direction)
