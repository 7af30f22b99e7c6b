"""How a gradient passes back through a solve. The forward values are the same for all of them.

Each is a function ``(objective, iteration, carry, num_iter) -> (last point, records)`` that scans
``iteration(carry, index) -> (carry, record)``: a carry is (point, solver's state), and a record has
the point before the iteration (`solve.Record`).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg


def unrolled(objective, iteration, carry, num_iter):
    """Exact: through every iteration; memory grows with their number."""
    del objective
    (last, _), records = jax.lax.scan(iteration, carry, jnp.arange(num_iter, dtype=jnp.int32))
    return last, records


def checkpointed(objective, iteration, carry, num_iter):
    """Exact, in memory that grows with the root of the number of iterations.

    Iterations form about sqrt(I) segments; the backward pass keeps one carry a segment, and runs
    each segment and then each of its iterations again: three forward passes instead of one.
    """
    del objective
    # Inside a scan nothing can be merged with the forward pass: no barrier is needed.
    again = functools.partial(jax.checkpoint, prevent_cse=False)
    length = max(math.isqrt(num_iter), 1)
    count = num_iter // length
    segment = again(lambda carry, indices: jax.lax.scan(again(iteration), carry, indices))
    whole = jnp.arange(count * length, dtype=jnp.int32).reshape(count, length)
    carry, records = jax.lax.scan(segment, carry, whole)
    records = jax.tree.map(lambda r: r.reshape(count * length, *r.shape[2:]), records)
    rest = jnp.arange(count * length, num_iter, dtype=jnp.int32)
    (last, _), more = jax.lax.scan(again(iteration), carry, rest)
    return last, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), records, more)


def truncated(objective, iteration, carry, num_iter, *, every: int):
    """Cut before the iterations `every`, 2 `every`, ...: at most `every` of them are passed.

    The point is detached there, as by the option of the published code, and so is the solver's
    state. The iterate itself keeps its gradient, what is made of it (its loss, the steps from it)
    passes none back. Biased, unless `every` is `num_iter` or more.

    Raises:
      ValueError: every is below 1.
    """
    if every < 1:
        raise ValueError(f"truncate_every={every}: expected 1 or more")
    del objective
    return _cut(iteration, carry, num_iter, every, every)


def one_step(objective, iteration, carry, num_iter):
    """Through the iteration alone that made an iterate (Bolte, Pauwels, Vaiter, NeurIPS 2023).

    As good as the solver is fast: the bias is its contraction of one iteration.
    """
    del objective
    return _cut(iteration, carry, num_iter, 0, 1)


def implicit(objective, iteration, carry, num_iter, *, max_iterations: int, tolerance: float):
    """The derivative of a solution: ``dx / dtheta = -B^-1 dg / dtheta`` at the last iterate.

    B is the Gauss-Newton operator, inverted by conjugate gradients on the cotangent. All iterates
    but the initial one are taken for the solution; the initial point and the solver's parameters
    have no influence on a solution and get no gradient through it, nor do the losses and step
    lengths of iterations. True where the solve has converged, which `Solve.optimality` tells, and
    B is the Hessian: of a piecewise linear residual (DiMP's) and of the KL objective, not of
    others. Of a loss with parameters per iteration, the solution is that of the last ones.

    Args:
      max_iterations: of the conjugate gradients.
      tolerance: relative residual at which they stop.
    """
    if num_iter == 0:
        return unrolled(objective, iteration, carry, num_iter)
    init = carry[0]
    index = jnp.arange(num_iter, dtype=jnp.int32)
    iteration = _detached(iteration, carry, index[0])
    (last, _), records = jax.lax.scan(iteration, jax.lax.stop_gradient(carry), index)
    local = objective(last, num_iter)
    # Zero, with the derivative of the gradient by whatever the objective depends on.
    grad = jax.tree.map(lambda g: g - jax.lax.stop_gradient(g), local.grad)
    product = _detached(local.product, last)
    solved, _ = cg(product, grad, tol=tolerance, maxiter=max_iterations)
    minus = lambda x: jax.tree.map(lambda a, s: a - s, x, solved)
    iterates = jax.tree.map(
        lambda first, stack, s: jnp.concatenate([first[None], stack[1:] - s[None]]),
        init,
        records.iterate,
        solved,
    )
    return minus(last), records._replace(iterate=iterates)


def _cut(iteration, carry, num_iter, first, every):
    """Scans with the carry detached before the iterations first, first + every, ...

    What follows the last cut is a second scan, so that the gradient of the last point alone costs
    nothing for the iterations before it.
    """
    cuts = range(first, num_iter, every)
    last_cut = cuts[-1] if cuts else 0

    def gated(carry, index):
        at = (index >= first) & ((index - first) % every == 0)
        detach = lambda leaf: jnp.where(at, jax.lax.stop_gradient(leaf), leaf)
        following, record = iteration(jax.tree.map(detach, carry), index)
        return following, record._replace(iterate=carry[0])

    carry, records = jax.lax.scan(gated, carry, jnp.arange(last_cut, dtype=jnp.int32))
    start = jax.lax.stop_gradient(carry) if cuts else carry
    (last, _), more = jax.lax.scan(
        iteration, start, jnp.arange(last_cut, num_iter, dtype=jnp.int32)
    )
    records = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), records, more)
    if cuts:
        put = lambda stack, point: stack.at[last_cut].set(point)
        records = records._replace(iterate=jax.tree.map(put, records.iterate, carry[0]))
    return last, records


def _detached(function, *example):
    """`function` with no derivative by what it closes over."""
    converted, closed_over = jax.closure_convert(function, *example)
    closed_over = jax.lax.stop_gradient(closed_over)
    return lambda *args: converted(*args, *closed_over)
