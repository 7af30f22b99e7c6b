"""The training step against its operations, and the memory of the unrolled solve."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cost_model import sample_shapes
from benchmarks.measure import figure, median_s, plain_convolutions, versus_gemm
from benchmarks.predictor import problem
from dimp_jax import config as configs
from dimp_jax.config import Config, PredictorConfig
from dimp_jax.config.training import OptimConfig
from dimp_jax.data.source import Sample
from dimp_jax.host.operations import count_flops
from dimp_jax.models import dimp, efficientnet
from dimp_jax.predictor import predict
from dimp_jax.training import steps

FRAMES, PROPOSALS = 3, 8
MIB = 2**20


def noise_samples(config: Config, batch: int) -> Sample:
    """A batch for the training of `config`: crops of noise, the same boxes in all of them."""
    rng = np.random.default_rng(0)
    samples = sample_shapes(config, batch)
    box = np.float32([100, 110, 60, 50])

    def fill(name, leaf):
        if name.endswith("crops"):
            return rng.integers(0, 255, leaf.shape, np.uint8)
        if name.endswith("box") or name == "proposals":
            return np.broadcast_to(box, leaf.shape)
        return np.full(leaf.shape, 1.0 if name.endswith("brightness") else 0.5, np.float32)

    filled = {name: fill(name, leaf) for name, leaf in samples._asdict().items()}
    return samples._replace(**filled)


def training(name: str, **optim) -> Config:
    """A shipped network with one learning rate."""
    config = configs.load(name)
    optim = OptimConfig(learning_rates=(("default", 1e-5),), **optim)
    return configs.changed(config, {"training.optim": optim})


def stepper(config: Config, batch_size: int):
    """(function of nothing that does the next step, operations of a step)."""
    batch = jax.tree.map(jnp.asarray, noise_samples(config, batch_size))
    state = steps.init_state(dimp.init_variables(config.model, jax.random.key(0)), config)
    with plain_convolutions():  # a step of its own: jax keeps what it has traced
        flops = count_flops(steps.make_train_step(config), state, batch)
    jitted = jax.jit(steps.make_train_step(config), donate_argnums=0)
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
    run, flops = stepper(training("dimp18"), 2)
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
        config = configs.changed(
            training("dimp_lite0", frozen=frozen), {"training.data.proposals.count": PROPOSALS}
        )
        run, flops = stepper(config, 8)
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
