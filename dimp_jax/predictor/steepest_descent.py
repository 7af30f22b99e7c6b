"""Steepest descent with Gauss-Newton step lengths, for any residual on any pytree."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MIN_CURVATURE = 1e-8


class Descent(NamedTuple):
    """What `steepest_descent` returns; the leading axis counts iterates, the initial one first."""

    iterates: object  # pytree, leaves [I + 1, ...]
    losses: jax.Array  # [I + 1] sum of squared residuals at each iterate

    @property
    def last(self):
        """The final iterate."""
        return jax.tree.map(lambda x: x[-1], self.iterates)


def squared_norm(tree):
    """Sum of the squares of all leaves."""
    return sum(jnp.vdot(x, x) for x in jax.tree.leaves(tree))


def steepest_descent(
    residual_fn, init, num_iter: int, *, step_length=1.0, damping=0.0, remat=False
):
    """Minimises ``L(x) = |r(x)|^2`` by ``x <- x - step_length * alpha * g``.

    Each iteration linearises `residual_fn` once, at the present iterate, and uses the linear map
    for both products: ``g = J^T r`` and ``J g``. The step length is the exact minimiser of the
    Gauss-Newton model along ``g``, ``alpha = |g|^2 / |J g|^2`` (Bhat et al., ICCV 2019, eqs. 4-5).
    Differentiable in reverse mode through every iteration, with respect to `init`, to
    `step_length`, and to everything that `residual_fn` closes over.

    Args:
      residual_fn: maps the parameters to a pytree of residuals.
      init: pytree of parameters.
      num_iter: static; each new value compiles once.
      step_length: scalar factor on alpha, meta-learned in DiMP (``exp(log_step_length)``).
      damping: scalar, adds ``damping * |g|^2`` to the curvature ``|J g|^2``.
      remat: static; keep the iterates alone for the backward pass, and compute every iteration
        again there: its memory hardly grows with `num_iter`, for about a third more arithmetic.

    Returns:
      A `Descent`: all I + 1 iterates and the loss at each of them.

    Raises:
      ValueError: num_iter is negative.
    """
    if num_iter < 0:
        raise ValueError(f"num_iter={num_iter}: expected 0 or more")

    def body(x, _):
        residual, jvp = jax.linearize(residual_fn, x)
        (grad,) = jax.linear_transpose(jvp, x)(residual)
        grad_norm = squared_norm(grad)
        curvature = squared_norm(jvp(grad)) + damping * grad_norm
        alpha = grad_norm / jnp.maximum(curvature, MIN_CURVATURE)
        x_next = jax.tree.map(lambda p, g: p - step_length * alpha * g, x, grad)
        return x_next, (x, squared_norm(residual))

    if remat:
        # Inside a scan nothing can be merged with the forward pass: no barrier is needed.
        body = jax.checkpoint(body, prevent_cse=False)
    last, (iterates, losses) = jax.lax.scan(body, init, length=num_iter)
    iterates = jax.tree.map(lambda xs, x: jnp.concatenate([xs, x[None]]), iterates, last)
    return Descent(iterates, jnp.append(losses, squared_norm(residual_fn(last))))
