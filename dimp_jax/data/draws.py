"""The random numbers of one training sample: two generators, read in a fixed order.

Uniform and normal numbers come from streams of their own, so that recorded draws can be repeated
(tests) and a sample is a function of (seed, index) alone (training).
"""

import numpy as np


class Draws:
    """Random choices from a uniform stream U and a normal stream Z.

    A generator has `uniform(size=)` / `standard_normal(size=)`, as numpy's `Generator` and
    `RandomState` do. Every method states which stream it reads, and how often.
    """

    def __init__(self, uniform, normal):
        self._uniform = uniform
        self._normal = normal

    def random(self) -> float:
        """In [0, 1); one of U."""
        return float(self._uniform.uniform())

    def integer(self, low: int, high: int) -> int:
        """In low..high, both included; one of U."""
        return low + int(self.random() * (high - low + 1))

    def choice(self, items):
        """One of a sequence; one of U."""
        return items[int(self.random() * len(items))]

    def choices(self, items, count: int) -> list:
        """`count` of a sequence, with replacement; `count` of U."""
        return [self.choice(items) for _ in range(count)]

    def weighted_index(self, weights) -> int:
        """An index, in proportion to the weights; one of U."""
        cumulated = np.cumsum(weights)
        return int(np.searchsorted(cumulated, self.random() * cumulated[-1], "right"))

    def gausses(self, count: int) -> list[float]:
        """`count` of Z."""
        return self._normal.standard_normal(size=count).tolist()

    def uniforms(self, *shape: int) -> np.ndarray:
        """[*shape] float32 in [0, 1); their number of U."""
        return self._uniform.uniform(size=shape).astype(np.float32)

    def normals(self, *shape: int) -> np.ndarray:
        """[*shape] float32; their number of Z."""
        return self._normal.standard_normal(size=shape).astype(np.float32)

    def integers(self, bound: int, *shape: int) -> np.ndarray:
        """[*shape] int64 in 0..bound - 1; their number of U."""
        return (self._uniform.uniform(size=shape) * bound).astype(np.int64)


def sample_draws(seed: int, index: int, *purpose: int) -> Draws:
    """The draws of sample `index` of a run: equal on every host and in every process.

    Args:
      purpose: numbers that tell independent uses of the same sample apart.
    """
    streams = np.random.SeedSequence([seed, index, *purpose]).spawn(2)
    return Draws(*(np.random.Generator(np.random.PCG64(stream)) for stream in streams))
