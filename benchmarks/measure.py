"""The clock, the yardstick (this process's own GEMM rate) and the count of operations."""

import functools
import json
import math
import operator
import statistics
import sys
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

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


def count_flops(fn, *args, counts=lambda eqn: True) -> int:
    """Operations of `fn`: matmuls and convolutions as 2 a multiply-add, multiplies and adds as 1.

    Counted in the traced program, before XLA removes what no result needs: give functions that
    return all that they compute. Equations for which `counts` is false are left out.
    """
    return program_flops(jax.make_jaxpr(fn)(*args).jaxpr, counts)


def plain_convolutions():
    """Within it no convolution is traced in Winograd's form: what other devices compute."""
    return mock.patch.object(winograd, "pays", return_value=False)


def program_flops(jaxpr, counts=lambda eqn: True) -> int:
    """`count_flops` of a program that is traced already."""
    total = 0
    for eqn, times in equations(jaxpr):
        name, params = eqn.primitive.name, eqn.params
        if not counts(eqn):
            continue
        size = times * sum(math.prod(v.aval.shape) for v in eqn.outvars[:1])  # a check has none
        if name == "dot_general":
            contracted = params["dimension_numbers"][0][0]
            shape = eqn.invars[0].aval.shape
            total += 2 * size * math.prod(shape[i] for i in contracted)
        elif name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
            total += 2 * size * math.prod(kernel) // outputs
        elif name in ("mul", "add", "sub"):
            total += size
    return total


def count_bytes(fn, *args, itemsize: int) -> int:
    """Bytes of operands and results of all matrix products and convolutions, moved once each.

    Those of depthwise convolutions, which are multiply-adds here, are not among them.
    """
    return program_bytes(jax.make_jaxpr(fn)(*args).jaxpr, itemsize=itemsize)


def program_bytes(jaxpr, *, itemsize: int) -> int:
    """`count_bytes` of a program that is traced already."""
    return sum(
        times * itemsize * math.prod(v.aval.shape)
        for eqn, times in equations(jaxpr)
        if eqn.primitive.name in ("dot_general", "conv_general_dilated")
        for v in (*eqn.invars, *eqn.outvars)
    )


def equations(jaxpr, times: int = 1):
    """Yields (equation, how often it runs) of a traced program and of all programs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn, times
        again = times * (eqn.params["length"] if eqn.primitive.name == "scan" else 1)
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner, again)


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
