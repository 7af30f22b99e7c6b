"""Trains all groups together, with checkpoints from which a stopped training goes on."""

import collections
import os
import time
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from dimp_jax.media.images import InputError
from dimp_jax.studies.trainings import data, train
from dimp_jax.training.log import counted

CHECKPOINT = "checkpoint.safetensors"
LOG_EVERY = 10  # steps whose mean is one point of a curve
MAX_IN_FLIGHT = 2


def fit(states, groups, pool, config, out, *, steps: int, save_every: int, keep, console):
    """Trains `states` to `steps`, from the checkpoint in `out` if there is one.

    Args:
      states: from `train.init_states`. pool: a `FeaturePool`.
      save_every: a multiple of `LOG_EVERY`, so that no window of a curve is cut in two.
      keep: steps whose checkpoint stays, see `kept`.

    Returns:
      (states, curves): curves is {metric: [points, members]}, members in the order of the groups.

    Raises:
      InputError: the training has gone on beyond `steps`, which it was not to keep.
    """
    states, curves, first = restored(out / CHECKPOINT, states)
    if first == steps:
        return states, curves
    if first > steps:
        path = kept(out, steps)
        if not path.is_file():
            raise InputError(
                f"{out} is at step {first} and did not keep step {steps}: leave it out of "
                "--score-at, or choose another --out"
            )
        states, curves, _ = restored(path, states)
        return states, curves
    # Not one program of all: XLA's CPU backend runs that of eight groups on a single core.
    each = [jax.jit(train.make_step((group,)), donate_argnums=0) for group in groups]
    members = sum(len(group.members) for group in groups)
    window, in_flight = [], collections.deque()
    with (
        counted(console, f"training {members} arms") as progress,
        futures.ThreadPoolExecutor(1) as reader,
    ):
        progress(first, steps)
        source = data.batches(pool, config, train.seeds_of(groups), first)
        ahead = reader.submit(next, source)
        for number in range(first + 1, steps + 1):
            batch, ahead = ahead.result(), reader.submit(next, source)
            batch = jax.device_put(batch)
            done = [of((state,), batch) for of, state in zip(each, states, strict=True)]
            states, metrics = (tuple(part for (part,) in of) for of in zip(*done, strict=True))
            window.append(metrics)
            in_flight.append(metrics)
            if len(in_flight) > MAX_IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())
            last = number == steps
            if number % LOG_EVERY == 0 or last:
                curves = _appended(curves, window)
                window = []
            if number in keep:
                save(kept(out, number), states, curves, number)
            if number % save_every == 0 or last:
                save(out / CHECKPOINT, states, curves, number)
            progress(number, steps)
    return states, curves


def measured_seconds(step, states, batch, repeats: int) -> dict:
    """Of a jitted step: seconds of one call, wall and processor, and of compiling it, and what it
    allocates beside arguments and results (None where XLA does not say)."""
    started = time.perf_counter()
    step = step.lower(states, batch).compile()
    compile_s = time.perf_counter() - started
    jax.block_until_ready(step(states, batch))
    wall, processor = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        jax.block_until_ready(step(states, batch))
        wall.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {
        "wall_s": float(np.median(wall)),
        "processor_s": float(np.median(processor)),
        "compile_s": compile_s,
        "temporary_bytes": temporary_bytes(step),
    }


def temporary_bytes(compiled) -> int | None:
    """What a program allocates beside its arguments and results; None where XLA does not say."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def _appended(curves, window):
    """The curves with one more point, the mean over the steps of `window`."""
    for name in train.METRICS:
        rows = [np.concatenate([np.asarray(g[name]) for g in metrics]) for metrics in window]
        point = np.mean(rows, axis=0, dtype=np.float32)[None]
        curves[name] = np.concatenate([curves[name], point]) if name in curves else point
    return curves


# ------------------------------------------------------------------------------ checkpoints


def kept(out, step: int):
    """The checkpoint of a step that was to be kept."""
    return out / f"step-{step}.safetensors"


def save(path, states, curves, step: int) -> None:
    """Writes a checkpoint, complete or not at all."""
    tensors = {f"curves/{name}": values for name, values in curves.items()}
    tensors |= {f"states/{name}": np.asarray(leaf) for name, leaf in _named(states)}
    tensors["step"] = np.asarray(step)
    partial = path.with_name(f"{path.name}.partial")
    safetensors.numpy.save_file(tensors, partial)
    os.replace(partial, path)


def restored(path, states):
    """(states, curves, step) of the checkpoint, or the given states, {} and 0."""
    # Copies of their own: the step may take over their memory.
    own = jax.tree.map(jnp.array, states)
    if not path.is_file():
        return own, {}, 0
    tensors = safetensors.numpy.load_file(path)
    step = int(tensors["step"])
    names = iter([name for name, _ in _named(own)])
    put = lambda _: jnp.asarray(tensors[f"states/{next(names)}"])
    parts = jax.tree.map(put, [train.own_part(state) for state in own])
    states = tuple(
        train.with_own(state, part).replace(step=jnp.int32(step))
        for state, part in zip(own, parts, strict=True)
    )
    prefix = "curves/"
    curves = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    return states, curves, step


def _named(states):
    """(name, leaf) of all that changes, in the order of `jax.tree.leaves`."""
    parts = [train.own_part(state) for state in states]
    return [(jax.tree_util.keystr(at), leaf) for at, leaf in jax.tree.leaves_with_path(parts)]
