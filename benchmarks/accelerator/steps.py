"""Training steps on data in memory, and what real data would let them do."""

import functools
import statistics
import time

import jax
import numpy as np

from benchmarks.accelerator import networks
from benchmarks.accelerator.budget import Run, compiled, peak_mib
from benchmarks.cost_model import ACCELERATORS, least_s, sample_shapes
from benchmarks.measure import figure
from benchmarks.training import noise_samples
from dimp_jax.host.operations import program_bytes, program_flops
from dimp_jax.training import steps

TRAINING = "training of"  # the first words of these figures' names


def figures(run: Run, dtype: str):
    """Steps of all networks, computed in `dtype`."""
    sizes = run.sizes
    jobs = {
        name: functools.partial(_compile, networks.training_config(name, dtype), batch)
        for name, batch in sizes.batches
    }
    ready = functools.cache(lambda: compiled(jobs, sizes.compiled_at_once))
    for name, batch in sizes.batches:
        step = lambda name=name: ready()[name]()
        fits = False
        while batch and not fits:
            measure = functools.partial(_training, run, name, dtype, batch, step)
            need_s = sizes.step_s[name]
            need_s += 0.0 if ready.cache_info().currsize else sizes.steps_compile_s
            fits = yield from run.attempt(title(name, dtype), need_s, measure)
            batch //= 2
            step = functools.partial(_compile, networks.training_config(name, dtype), batch)


def title(name: str, dtype: str) -> str:
    return f"{TRAINING} {name}, {dtype}"


def _compile(config, batch):
    """(compiled step, operations, bytes moved, seconds that it took)."""
    started = time.perf_counter()
    variables = networks.variables(config)
    state = jax.eval_shape(lambda v: steps.init_state(v, config), variables)
    step = jax.jit(steps.make_train_step(config), donate_argnums=0)
    traced = step.trace(state, sample_shapes(config, batch))
    itemsize = np.dtype(config.model.compute_dtype).itemsize
    program = traced.jaxpr.jaxpr
    flops, moved = program_flops(program), program_bytes(program, itemsize=itemsize)
    step = traced.lower().compile()
    return step, flops, moved, time.perf_counter() - started


def _training(run, name, dtype, batch, step):
    config = networks.training_config(name, dtype)
    step, flops, moved, compile_s = step()
    state = jax.device_put(steps.init_state(networks.variables(config), config))
    samples = jax.device_put(noise_samples(config, batch))
    seconds = []
    for _ in range(1 + run.sizes.rounds):
        started = time.perf_counter()
        state, metrics = step(state, samples)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - started)
    step_s = statistics.median(seconds[1:])
    loss = float(metrics["loss"])
    detail = {"loss": loss if np.isfinite(loss) else str(loss)}  # JSON has no NaN
    if run.model is not None:
        in_bfloat16, in_float32, memory, _ = ACCELERATORS[run.model]
        peak = in_bfloat16 if dtype == "bfloat16" else in_float32
        detail["model_ms"] = 1e3 * max(least_s(flops, moved, peak, memory))
        detail["of_model"] = detail["model_ms"] / (1e3 * step_s)
    memory = step.memory_analysis()
    yield figure(
        title(name, dtype),
        batch / step_s,
        "samples/s",
        batch=batch,
        step_ms=1e3 * step_s,
        gflop_a_sample=flops / batch / 1e9,
        mb_a_sample=moved / batch / 1e6,
        scratch_mib=memory and memory.temp_size_in_bytes / 2**20,
        device_peak_mib=peak_mib(),
        compile_s=compile_s,
        compiled_at_once=run.sizes.compiled_at_once,
        **detail,
    )
