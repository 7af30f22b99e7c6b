"""Training samples that worker processes make, against what the steps would use."""

import dataclasses
import functools
import time
from pathlib import Path

from benchmarks import loader
from benchmarks.accelerator import networks
from benchmarks.accelerator.budget import Run
from benchmarks.accelerator.steps import TRAINING
from benchmarks.measure import figure
from dimp_jax.data.loader import batches, open_sampler
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.sources import data_dir
from dimp_jax.host.machine import machine

BATCH = 4  # small: every worker delivers several while the clock runs
RESERVED_CORES = 2  # for the process that trains
START_S = 15  # of the workers, about


def figures(run: Run):
    workers = max(machine()["cores"] - RESERVED_CORES, 1)
    name = f"loader, {workers} workers"
    need_s = START_S + run.sizes.loader_s
    yield from run.attempt(name, need_s, functools.partial(_rate, run, name, workers))
    if name in run.values:
        yield from _waiting(run, name)


def _rate(run, name, workers):
    data = networks.training_config("dimp_lite0", "float32").training.data
    data = dataclasses.replace(data, num_workers=workers)
    sampler, source = _sampler(data)
    options = {"seed": 0, "global_batch": BATCH, "start_step": 0, "training": True}
    began = time.perf_counter()
    with batches(sampler, data, process_index=0, process_count=1, **options) as read:
        for _ in range(2 * workers):  # all have started, and what they made meanwhile is used up
            next(read)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < run.sizes.loader_s:
            next(read)
            count += BATCH
        seconds = time.perf_counter() - started
    detail = {"source": source, "start_s": started - began, "crop_px": data.crop.size_px}
    yield figure(name, count / seconds, "samples/s", **detail)


def _sampler(data):
    """(sampler, what it reads): the data sets of dimp_lite0's training that are there, or noise."""
    folder, names = data_dir(data), [name for name, _ in data.sources]
    absent = [name for name in names if folder is None or not (Path(folder) / name).is_dir()]
    if absent:
        source = loader.noise_source()
        why = f"no {', '.join(absent)} in {folder}" if folder else "TFDS_DATA_DIR is not set"
        return Sampler((source,), (1.0,), data.sampler), f"{source.name} ({why})"
    return open_sampler(data, seed=0, training=True), " ".join(names)


def _waiting(run, name):
    trained = {key: rate for key, rate in run.values.items() if key.startswith(TRAINING)}
    for key, rate in trained.items():
        yield figure(f"waiting in {key}", max(0.0, 1 - run.values[name] / rate), f"of time, {name}")
