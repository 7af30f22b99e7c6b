"""Runs training steps of a tiny network and saves the states after them; started by the tests.

parallel_worker.py OUT.npz CASE [CASE ...]       CASE: NORM:BACKEND:DEVICES, or NORM:jit:1
parallel_worker.py ... --distributed HOST:PORT NUM ID
"""

import argparse

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # compiles in half the time

import numpy as np

from dimp_jax.config.training import OptimConfig, ParallelConfig
from dimp_jax.host import distributed
from dimp_jax.training import data_parallel, steps
from tests.support import small_training

STEPS, GLOBAL_BATCH = 2, 8


def case_config(norm):
    """The heads on a frozen backbone: the IoU network has batch norms, too, and compiles faster."""
    return small_training.settings(
        small_training.TINY,
        dtype="float64",
        optim=OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",)),
        parallel=ParallelConfig(batch_norm=norm),
    )


def as_float64(x):
    """In float32 an activation within rounding of 0 flips a ReLU now and then."""
    return x if x.dtype == np.uint8 else x.astype(np.float64)


def run(case, process, processes):
    """Numpy leaves of the state after the steps, by path; and the number of compiled steps."""
    norm, backend, count = case.split(":")
    config = case_config(norm)
    variables = jax.tree.map(as_float64, small_training.variables(small_training.TINY))
    state = steps.init_state(variables, config)
    compiled = []
    listener = lambda name, seconds, **_: compiled.append(name)
    if backend == "jit":
        place, step = (
            data_parallel.Placement(lambda b: b, lambda s: s),
            jax.jit(steps.make_train_step(config)),
        )
    else:
        devices = None if processes > 1 else jax.devices()[: int(count)]
        place = data_parallel.placement(backend, devices)
        step = data_parallel.data_parallel(
            steps.make_train_step(config, data_parallel.AXIS), backend, devices=devices
        )
    state = place.state(state)
    share = GLOBAL_BATCH // processes
    rows = slice(process * share, (process + 1) * share)
    for index in range(STEPS):
        batch = small_training.batch(GLOBAL_BATCH, index)
        batch = jax.tree.map(lambda x: as_float64(x[rows]), batch)
        batch = place.batch(batch)
        if index == 1:  # from here on nothing may compile
            jax.monitoring.register_event_duration_secs_listener(listener)
        state, metrics = step(state, batch)
        if index == 0:
            first_stats = data_parallel.to_host(state.batch_stats)
    host, metrics = data_parallel.to_host((state, metrics))
    jax.monitoring.unregister_event_duration_listener(listener)
    leaves = jax.tree_util.tree_leaves_with_path((host, metrics, first_stats))
    result = {f"{case}|{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
    result[f"{case}|late compilations"] = np.array(
        sum(name.endswith("backend_compile_duration") for name in compiled)
    )
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--distributed", nargs=3, metavar=("COORDINATOR", "NUM", "ID"))
    args = parser.parse_args()
    process, processes = 0, 1
    if args.distributed:
        coordinator, processes, process = args.distributed
        process, processes = int(process), int(processes)
        assert distributed.initialize_distributed(coordinator, processes, process)
        assert jax.process_count() == processes
    small_training.shrink_resnet()
    results = {}
    for case in args.cases:
        results |= run(case, process, processes)
        print(f"process {process}: {case} done", flush=True)
    np.savez(args.out, **results)


if __name__ == "__main__":
    main()
