"""Differences between two arms that were tried with the same seeds on the same sequences.

Seeds and sequences are both drawn at random: another lab would have others. A plain standard error
over all values forgets that those of one sequence, or of one seed, move together.
"""

import math
from typing import NamedTuple

import numpy as np

DRAWS = 10_000
LEVEL = 0.95
# Normal quantiles: an interval of 95 % excludes 0 with probability 0.8 if the mean is their sum
# times its standard deviation.
_TWO_SIDED_95, _POWER_80 = 1.960, 0.842


class Difference(NamedTuple):
    """A mean difference and what is known of it; None: one seed or sequence does not say."""

    mean: float
    low: float | None  # of the 95 % interval
    high: float | None
    detectable: float | None  # the smallest difference that is told from 0 with probability 0.8

    @property
    def told(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and (self.low > 0 or self.high < 0)


class Measured(NamedTuple):
    """What was tried with several seeds on several sequences, beside a base."""

    mean: float  # over seeds and sequences
    of_seeds: tuple[float, ...]  # difference to the base with the same seed
    difference: Difference | None  # None: the base itself
    step: int | None = None  # of the training that it was measured after


def compared(measured: dict, base: str, *, step: int | None = None, **options) -> dict:
    """{name: `Measured`} of {name: {seed: {sequence: value}}}; nothing without the base.

    Args:
      options: of `compare`.
    """
    of_base, found = measured.get(base, {}), {}
    for name, of in measured.items():
        own = {seed: values for seed, values in of.items() if seed in of_base}
        if own:
            values = differences(own, of_base)
            mean = float(np.mean([value for of in own.values() for value in of.values()]))
            apart = None if name == base else compare(values, **options)
            found[name] = Measured(mean, tuple(values.mean(1).tolist()), apart, step)
    return found


def differences(arm, base):
    """[seeds, sequences] of arm less base, of the seeds and sequences that both have.

    Args:
      arm, base: {seed: {sequence: value}}.
    """
    seeds = [seed for seed in base if seed in arm]
    if not seeds:
        return np.zeros((0, 0))
    names = [name for name in base[seeds[0]] if name in arm[seeds[0]]]
    return np.array([[arm[seed][name] - base[seed][name] for name in names] for seed in seeds])


def compare(
    values, *, over_sequences: bool = False, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """The mean of `differences`, its interval and the power of the comparison.

    Args:
      values: [seeds, sequences].
      over_sequences: one seed is enough; the interval does not say how much seeds would differ.
      draws: of the bootstrap. seed: of it.
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if values.shape[1] < 2 or (len(values) < 2 and not over_sequences):
        return Difference(mean, None, None, None)
    means = bootstrap_means(values, draws, np.random.default_rng(seed))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    detectable = (_TWO_SIDED_95 + _POWER_80) * means.std()
    return Difference(mean, float(low), float(high), float(detectable))


def bootstrap_means(values, draws: int, rng):
    """[draws] means of seeds and of sequences drawn with replacement, independently.

    The mean over the drawn ones of x[s, q] is the grand mean, the drawn seeds' and the drawn
    sequences' deviations, and an interaction, which either set of deviations holds already. Of n
    things drawn from themselves the variance is (n - 1) / n of what it should be, a third too
    little for three seeds: the deviations are scaled up by the root of that. It holds its level as
    long as few seeds do not disagree by more than the mean over sequences is uncertain; three that
    do give 85 % in place of 95 %.

    Args:
      values: [seeds, sequences].
    """
    mean = values.mean()
    total = np.full(draws, mean)
    for axis in (0, 1):
        count = values.shape[axis]
        if count == 1:
            continue
        deviations = (values.mean(1 - axis) - mean) * math.sqrt(count / (count - 1))
        shares = rng.multinomial(count, np.full(count, 1 / count), draws) / count
        total += shares @ deviations
    return total
