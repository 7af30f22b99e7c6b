"""The rate of matrix products by type and precision: the yardstick of all else."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.accelerator.budget import Run
from benchmarks.cost_model import ACCELERATORS
from benchmarks.measure import figure, median_s

KINDS = {  # what of the data sheet it is measured against: bfloat16 0, float32 as jax does it 1
    "float32 highest": (jnp.float32, "highest", None),
    "float32 high": (jnp.float32, "high", None),
    "float32 default": (jnp.float32, "default", 1),
    "bfloat16": (jnp.bfloat16, "default", 0),
}


def figures(run: Run):
    for name, (dtype, precision, sheet) in KINDS.items():
        measure = functools.partial(_rate, run, name, dtype, precision, sheet)
        yield from run.attempt(f"matrix product, {name}", 3, measure)


def _rate(run, name, dtype, precision, sheet):
    size = run.sizes.matrix
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    product = jax.jit(functools.partial(jnp.matmul, precision=precision))
    rate = 2 * size**3 / median_s(product, a, a, repeats=min(run.sizes.rounds, 9))
    detail = {"size": size}
    if run.model is not None and sheet is not None:
        detail["of_data_sheet"] = rate / ACCELERATORS[run.model][sheet]
    yield figure(f"matrix product, {name}", rate / 1e12, "TFLOP/s", **detail)
