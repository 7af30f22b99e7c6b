"""Lanczos' iteration against the eigenvalues of matrices that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.studies.convergence.lanczos import Ritz, density, lanczos, ritz

EIGENVALUES = np.concatenate([np.geomspace(1e-3, 1.0, 20), [2.0, 3.0, 5.0, 8.0]])


@pytest.fixture(scope="module")
def matrix():
    """Symmetric [24, 24] with `EIGENVALUES`."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((24, 24)))
    return (basis * EIGENVALUES) @ basis.T


def run(matrix, start, num_steps):
    product = lambda v: jnp.asarray(matrix, jnp.float32) @ v
    return ritz(*jax.jit(lambda v: lanczos(product, v, num_steps))(jnp.asarray(start, jnp.float32)))


def test_as_many_steps_as_unknowns_give_every_eigenvalue_and_its_share(matrix):
    start = np.random.default_rng(1).standard_normal(24)
    found = run(matrix, start, 24)
    values, vectors = np.linalg.eigh(matrix)
    np.testing.assert_allclose(found.values, values, atol=3e-6)
    shares = (vectors.T @ start) ** 2 / (start @ start)
    np.testing.assert_allclose(found.weights[-4:], shares[-4:], rtol=1e-3)
    assert found.weights.sum() == pytest.approx(1)


def test_the_largest_come_first_and_every_value_is_as_near_as_its_bound(matrix):
    found = run(matrix, np.random.default_rng(2).standard_normal(24), 10)
    np.testing.assert_allclose(found.values[-2:], [5.0, 8.0], rtol=1e-3)
    nearest = np.abs(found.values[:, None] - EIGENVALUES).min(1)
    assert (nearest <= found.bounds + 1e-5).all()
    assert found.bounds[0] > 1e-4  # the small ones are not known yet, and that is told


def test_a_start_that_spans_few_eigenvectors_ends_there(matrix):
    _, vectors = np.linalg.eigh(matrix)
    found = run(matrix, vectors[:, [23, 21, 10]] @ [1.0, 2.0, 2.0], 12)
    np.testing.assert_allclose(found.values, EIGENVALUES[[10, 21, 23]], rtol=1e-4)
    np.testing.assert_allclose(found.weights, [4 / 9, 4 / 9, 1 / 9], rtol=1e-3)


def test_operators_on_pytrees():
    scale = {"a": jnp.full((2, 2), 3.0), "b": jnp.float32(7.0)}
    start = {"a": jnp.ones((2, 2)), "b": jnp.float32(1.0)}
    product = lambda v: jax.tree.map(jnp.multiply, scale, v)
    found = ritz(*lanczos(product, start, 4))
    np.testing.assert_allclose(found.values, [3, 7], rtol=1e-6)
    np.testing.assert_allclose(found.weights, [0.8, 0.2], rtol=1e-5)


@pytest.mark.parametrize("num_steps", [0, 6])
def test_a_number_of_steps_that_cannot_be_is_refused(num_steps):
    with pytest.raises(ValueError, match=f"num_steps={num_steps}: expected 1 to 5"):
        lanczos(lambda v: v, jnp.ones(5), num_steps)


def test_density_integrates_to_the_share_of_positive_eigenvalues():
    spectra = [
        Ritz(np.array([-1e-9, 0.1, 10.0]), np.array([0.25, 0.5, 0.25]), np.zeros(3)),
        Ritz(np.array([0.1]), np.array([1.0]), np.zeros(1)),
    ]
    grid = np.linspace(-3, 3, 601)
    found = density(spectra, grid, 0.1)
    assert found.sum() * 0.01 == pytest.approx((0.75 + 1.0) / 2, rel=1e-6)
    assert grid[found.argmax()] == pytest.approx(-1)
