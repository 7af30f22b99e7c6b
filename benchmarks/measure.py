"""The clock, and the yardstick (this process's own GEMM rate)."""

import functools
import json
import operator
import statistics
import sys
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.media.images import InputError
from dimp_jax.models.convolutions import winograd

GEMM_SIZE = 2048
AIMS = {"at most": operator.le, "at least": operator.ge, "under": operator.lt}


def median_s(fn, *args, repeats: int = 15) -> float:
    """Median seconds of a call whose result is waited for; two calls before are not counted."""
    for _ in range(2):
        jax.block_until_ready(fn(*args))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(fn(*args))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


@functools.cache
def _gemm():
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.standard_normal((GEMM_SIZE, GEMM_SIZE)), jnp.float32)
    product = jax.jit(jnp.matmul)
    return lambda: product(a, a)


def gemm_flops_per_s() -> float:
    """float32 rate of a 2048^3 matrix product in this process, now."""
    return 2 * GEMM_SIZE**3 / median_s(_gemm(), repeats=9)


def versus_gemm(fn, *args, flops: int, rounds: int = 11) -> tuple[float, float]:
    """(time of `fn` / time of its operations at the GEMM rate, median seconds of `fn`).

    Both are timed in turns, so that a clock or a neighbour that changes meets both alike; the ratio
    is the median over the rounds.
    """
    ratios, seconds = [], []
    for _ in range(rounds):
        rate = 2 * GEMM_SIZE**3 / median_s(_gemm(), repeats=2)
        seconds.append(median_s(fn, *args, repeats=4))
        ratios.append(seconds[-1] * rate / flops)
    return statistics.median(ratios), statistics.median(seconds)


def plain_convolutions():
    """Within it no convolution is traced in Winograd's form: what other devices compute."""
    return mock.patch.object(winograd, "pays", return_value=False)


def figure(name: str, value: float, unit: str, aim: tuple[str, float] | None = None, **detail):
    """One line of output, a dict. `aim` is one of `AIMS` and the number that `value` is to meet."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in detail.items()}
    line = {"name": name, "value": round(value, 4), "unit": unit}
    if aim is not None:
        word, limit = aim
        line |= {"aim": f"{word} {limit:g}", "met": AIMS[word](value, limit)}
    return line | rounded


def print_figures(lines, prog: str) -> int:
    """Prints each figure as a line of JSON; exit status 0, or 2 if input cannot be used."""
    try:
        for line in lines:
            print(json.dumps(line), flush=True)
    except InputError as error:
        print(f"{prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
