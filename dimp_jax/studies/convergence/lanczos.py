"""Eigenvalues and spectral density of a symmetric operator that is known by its products only."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from dimp_jax.predictor.precision import EXACT

REORTHOGONALISATIONS = 2  # "twice is enough" (Parlett, The Symmetric Eigenvalue Problem, 6.9)


class Ritz(NamedTuple):
    """What Lanczos knows of the eigenvalues after m steps, ascending, float64."""

    values: np.ndarray  # [m]
    weights: np.ndarray  # [m] squared share of the start along each Ritz vector; they sum to 1
    bounds: np.ndarray  # [m] an eigenvalue is this close to each value


def lanczos(product, start, num_steps: int):
    """The tridiagonal matrix of Lanczos' iteration, with full reorthogonalisation.

    Args:
      product: v -> B v, linear and symmetric, on pytrees like `start`.
      start: pytree, not 0; its scale does not matter.
      num_steps: static, 1 or more; not more than there are unknowns.

    Returns:
      (diagonal [m], off-diagonal [m]): entry m - 1 of the latter leads out of the matrix, for
      `Ritz.bounds`. 0 where the space that `start` generates is exhausted; what follows is 0, too.

    Raises:
      ValueError: at trace time, `num_steps` out of range.
    """
    flat, unravel = ravel_pytree(start)
    if not 1 <= num_steps <= flat.size:
        raise ValueError(f"num_steps={num_steps}: expected 1 to {flat.size}, the unknowns")
    # What rounding leaves of a vector that lies in the space already.
    exhausted = 10 * jnp.finfo(flat.dtype).eps * jnp.sqrt(float(flat.size))

    exact = functools.partial(jnp.matmul, precision=EXACT)

    def step(carry, index):
        basis, vector = carry
        basis = basis.at[index].set(vector)
        image, _ = ravel_pytree(product(unravel(vector)))
        rest = image
        for _ in range(REORTHOGONALISATIONS):
            rest = rest - exact(exact(basis, rest), basis)
        length = jnp.linalg.norm(rest)
        goes_on = length > exhausted * jnp.linalg.norm(image)
        length = jnp.where(goes_on, length, 0.0)
        vector = jnp.where(goes_on, rest / jnp.where(goes_on, length, 1.0), 0.0)
        return (basis, vector), (exact(basis[index], image), length)

    basis = jnp.zeros((num_steps, flat.size), flat.dtype)
    first = (basis, flat / jnp.linalg.norm(flat))
    return jax.lax.scan(step, first, jnp.arange(num_steps))[1]


def ritz(diagonal, off_diagonal) -> Ritz:
    """Ritz values of what `lanczos` returned: the Gauss quadrature of the spectrum."""
    diagonal, off = (np.asarray(x, np.float64) for x in (diagonal, off_diagonal))
    ends = np.flatnonzero(off == 0)
    count = ends[0] + 1 if len(ends) else len(diagonal)
    between = off[: count - 1]
    matrix = np.diag(diagonal[:count]) + np.diag(between, 1) + np.diag(between, -1)
    values, vectors = np.linalg.eigh(matrix)
    return Ritz(values, vectors[0] ** 2, off[count - 1] * np.abs(vectors[-1]))


def density(spectra: list[Ritz], log10_grid, width: float):
    """Share of the eigenvalues a decade, smoothed: stochastic Lanczos quadrature.

    Args:
      spectra: of several random starts with independent normal entries; their mean is taken.
      log10_grid: [G] where to evaluate. width: standard deviation of the smoothing, in decades.

    Returns:
      [G]; integrates to the share of positive eigenvalues, as far as the grid reaches.
    """
    total = np.zeros(len(log10_grid))
    for spectrum in spectra:
        positive = spectrum.values > 0
        at = np.log10(spectrum.values[positive])
        bumps = np.exp(-0.5 * ((np.asarray(log10_grid)[:, None] - at) / width) ** 2)
        total += bumps @ spectrum.weights[positive] / (width * np.sqrt(2 * np.pi))
    return total / len(spectra)
