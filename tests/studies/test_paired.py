"""Paired differences: known answers, the rate of false findings, the power that is promised."""

import numpy as np
import pytest

from dimp_jax.studies import paired

SEEDS, SEQUENCES = 3, 25
TRIALS = 250


def draw(rng, difference, *, of_seed, of_sequence, noise):
    """[seeds, sequences] of a mean difference and three sources of spread."""
    normal = rng.standard_normal
    return (
        difference
        + of_seed * normal((SEEDS, 1))
        + of_sequence * normal((1, SEQUENCES))
        + noise * normal((SEEDS, SEQUENCES))
    )


def share_found(difference, **spread):
    """How often the interval excludes 0."""
    rng = np.random.default_rng(1)
    found = [paired.compare(draw(rng, difference, **spread), draws=400).told for _ in range(TRIALS)]
    return np.mean(found)


# What tracking has: most of the spread is that of single runs, then of sequences.
LIKE_TRACKING = {"of_seed": 0.003, "of_sequence": 0.02, "noise": 0.04}


def test_pairs_are_of_the_same_seed_and_sequence():
    base = {0: {"a": 0.5, "b": 0.7}, 1: {"a": 0.1, "b": 0.2}, 2: {"a": 0.0, "b": 0.0}}
    arm = {0: {"b": 0.6, "a": 0.6}, 1: {"a": 0.3, "b": 0.2}}
    np.testing.assert_allclose(paired.differences(arm, base), [[0.1, -0.1], [0.2, 0.0]])
    assert paired.differences({}, base).shape == (0, 0)


def test_a_constant_difference_has_no_interval():
    found = paired.compare(np.full((3, 5), 0.02))
    np.testing.assert_allclose(found, (0.02, 0.02, 0.02, 0.0), atol=1e-12)
    assert found.told
    assert paired.compare([[0.1], [0.3]]) == (pytest.approx(0.2), None, None, None)


def test_the_interval_is_that_of_the_normal_distribution():
    """Sequences that differ, seeds that do not: the mean of 25 has the standard error sd / 5."""
    column = np.random.default_rng(0).standard_normal(SEQUENCES)
    values = np.tile(0.5 + (column - column.mean()) / column.std(ddof=1), (SEEDS, 1))
    found = paired.compare(values)
    assert found.mean == pytest.approx(0.5)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / 5, rel=0.04)
    assert found.detectable == pytest.approx(2.802 / 5, rel=0.02)


def test_three_seeds_widen_it_by_their_standard_error():
    values = np.repeat([[-1.0], [0.0], [1.0]], 4, axis=1)  # a standard deviation of 1
    means = paired.bootstrap_means(values, 20_000, np.random.default_rng(0))
    assert means.std() == pytest.approx(1 / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    "spread",
    [LIKE_TRACKING, {"of_seed": 0.0, "of_sequence": 0.05, "noise": 0.01}],
    ids=["tracking", "sequences"],
)
def test_a_planted_null_is_found_at_its_nominal_rate(spread):
    assert share_found(0.0, **spread) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / TRIALS)


def test_a_planted_difference_is_found_as_often_as_promised():
    rng = np.random.default_rng(2)
    promised = np.median(
        [paired.compare(draw(rng, 0.0, **LIKE_TRACKING), draws=400).detectable for _ in range(50)]
    )
    assert 0.72 <= share_found(promised, **LIKE_TRACKING) <= 0.92
    assert share_found(3 * promised, **LIKE_TRACKING) == 1.0
