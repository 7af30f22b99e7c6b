"""The training step against its operations, and the memory of the unrolled solve."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import count_flops, figure, median_s, versus_gemm
from benchmarks.predictor import problem
from dimp_jax import config as configs
from dimp_jax.config import Config, PredictorConfig
from dimp_jax.config.training import OptimConfig
from dimp_jax.data.source import Sample
from dimp_jax.models import dimp, efficientnet
from dimp_jax.predictor import predict
from dimp_jax.training import steps

CROP_PX, FRAMES, PROPOSALS = 288, 3, 8
MIB = 2**20


def samples(count: int) -> Sample:
    """`count` sequences of 3 + 3 crops of noise."""
    rng = np.random.default_rng(0)
    frames = (count, FRAMES)
    crops = lambda: jnp.asarray(rng.integers(0, 255, (*frames, CROP_PX, CROP_PX, 3), np.uint8))
    box = np.broadcast_to(np.float32([110, 120, 60, 50]), (*frames, 4))
    proposals = np.broadcast_to(box[:, :, None], (*frames, PROPOSALS, 4))
    ones = np.ones(frames, np.float32)
    value = np.full((*frames, PROPOSALS), 0.6, np.float32)
    return Sample(crops(), box, ones, crops(), box, ones, proposals, value, 0 * value)


def training(name: str, **optim) -> Config:
    """A shipped network with one learning rate."""
    config = configs.load(name)
    optim = OptimConfig(learning_rates=(("default", 1e-5),), **optim)
    return configs.changed(config, {"training.optim": optim})


def stepper(config: Config, batch: Sample):
    """(function of nothing that does the next step, operations of a step)."""
    state = steps.init_state(dimp.init_variables(config.model, jax.random.key(0)), config)
    step = steps.make_train_step(config)
    flops = count_flops(step, state, batch)
    jitted = jax.jit(step, donate_argnums=0)
    box = [state]

    def run():
        box[0], metrics = jitted(box[0], batch)
        return metrics

    return run, flops


def solve_temp_bytes(num_iter: int, remat: bool) -> int:
    """Scratch memory of the compiled gradient of a solve: 2 sequences of 3 crops, 256 channels."""
    config = PredictorConfig(adjoint="checkpointed" if remat else "unrolled")
    filt, feat, box, weight = problem(FRAMES, 256)
    pair = lambda x: jnp.stack([x, x])

    def energy(params, filt, feat):
        solve = lambda f, x: (
            predict.optimize_filter(params, f, x, box, weight, config, num_iter=num_iter).iterates
        )
        return jnp.sum(jax.vmap(solve)(filt, feat) ** 2)

    gradient = jax.jit(jax.grad(energy, argnums=(0, 1, 2)))
    args = (predict.init_params(config), pair(filt), pair(feat))
    return gradient.lower(*args).compile().memory_analysis().temp_size_in_bytes


def figures():
    run, flops = stepper(training("dimp18"), samples(2))
    ratio, measured_s = versus_gemm(run, flops=flops, rounds=5)
    yield figure(
        "training step of dimp18, 2 sequences of 3 + 3 crops",
        ratio,
        "x the time of its operations at the GEMM rate",
        measured_ms=measured_s * 1e3,
        gflop=flops / 1e9,
    )
    up_to_stride_8 = tuple(f"backbone/{part}" for part in efficientnet.PARTS[:6])
    for what, frozen in (("heads", ("backbone",)), ("heads and stride 16", up_to_stride_8)):
        run, flops = stepper(training("dimp_lite0", frozen=frozen), samples(8))
        yield figure(
            f"training step of the {what} of dimp_lite0, 8 sequences of 3 + 3 crops",
            median_s(run, repeats=5),
            "s",
            gflop=flops / 1e9,
        )
    for num_iter in (5, 10, 20, 40):
        plain, remat = (solve_temp_bytes(num_iter, flag) for flag in (False, True))
        yield figure(
            f"memory of the gradient of a solve, {num_iter} iterations",
            plain / MIB,
            "MiB",
            rematerialised_mib=remat / MIB,
        )
