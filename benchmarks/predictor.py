"""Filter prediction against its operations, against plain convolution, and how its cost grows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import figure, median_s, versus_gemm
from dimp_jax.config import PredictorConfig
from dimp_jax.predictor import correlation, objectives, predict
from dimp_jax.predictor.objectives import least_squares
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent
from dimp_jax.predictor.target_maps import TargetMaps

CELLS, FILTER = 18, 4
AIM = 3.0
LINEAR = 1.3  # twice the work may take 2 x this; timer noise of small programs included


def problem(samples: int, channels: int):
    """Filter, features, boxes and weights of one sequence."""
    rng = np.random.default_rng(0)
    feat = rng.standard_normal((samples, CELLS, CELLS, channels)) / np.sqrt(16 * channels)
    filt = rng.standard_normal((FILTER, FILTER, channels)) * 0.01
    box = np.tile([[110.0, 120.0, 60.0, 50.0]], (samples, 1))
    weight = np.full(samples, 1 / samples)
    return tuple(jnp.asarray(x, jnp.float32) for x in (filt, feat, box, weight))


def solver(samples: int, channels: int, num_iter: int):
    """A solve as the tracker runs it: the jitted function and its arguments."""
    config = PredictorConfig()
    run = lambda params, *args: (
        predict.optimize_filter(params, *args, config, num_iter=num_iter).last
    )
    return jax.jit(run), (predict.init_params(config), *problem(samples, channels))


def solve_s(samples: int, channels: int, num_iter: int) -> float:
    """Median seconds of a solve."""
    run, args = solver(samples, channels, num_iter)
    return median_s(run, *args, repeats=25)


def ideal_flops(samples: int, channels: int, num_iter: int) -> int:
    """Products of all cells with the filter's taps: three an iteration, one for the last loss."""
    product = 2 * samples * CELLS**2 * channels * FILTER**2
    return (3 * num_iter + 1) * product


def plain_convolution_s(samples: int, channels: int, num_iter: int) -> float:
    """Seconds of the same descent with XLA's convolution in place of the matmul form."""
    filt, feat, *_ = problem(samples, channels)
    score = (samples, CELLS + 1, CELLS + 1)
    maps = TargetMaps(jnp.zeros(score), jnp.full(score, 0.5), jnp.ones(score))

    def residual(filt, feat):
        scores = correlation.correlate_conv(filt, feat)
        activated = objectives.leaky_activation(scores, maps.mask)
        return maps.weight * (activated - maps.label), 0.1 * filt

    run = lambda filt, feat: (
        steepest_descent(least_squares(functools.partial(residual, feat=feat)), filt, num_iter).last
    )
    return median_s(jax.jit(run), filt, feat, repeats=3)


def figures():
    for samples, channels, num_iter in ((15, 256, 10), (15, 512, 10), (50, 256, 2), (50, 512, 2)):
        run, args = solver(samples, channels, num_iter)
        flops = ideal_flops(samples, channels, num_iter)
        ratio, measured_s = versus_gemm(run, *args, flops=flops)
        yield figure(
            f"filter prediction, {samples} samples x {channels} channels, {num_iter} iterations",
            ratio,
            "x the time of its operations at the GEMM rate",
            aim=("at most", AIM),
            measured_ms=measured_s * 1e3,
        )
    fast_s = solve_s(15, 512, 10)
    plain_s = plain_convolution_s(15, 512, 10)
    yield figure(
        "filter prediction, plain convolution / matmul form (15 x 512, 10 iterations)",
        plain_s / fast_s,
        "x",
        plain_ms=plain_s * 1e3,
        matmul_ms=fast_s * 1e3,
    )
    for what, base, double in (
        ("iterations, 10 / 5", (15, 512, 5), (15, 512, 10)),
        ("samples, 50 / 25", (25, 512, 2), (50, 512, 2)),
    ):
        growth = solve_s(*double) / solve_s(*base)
        yield figure(
            f"filter prediction, growth with {what}",
            growth,
            "x for twice the work, linear",
            aim=("at most", 2 * LINEAR),
        )
