"""Several sequences at once, and how many filters are to be updated by one call."""

import functools
import time

import jax
import numpy as np

from benchmarks.accelerator import networks
from benchmarks.accelerator.budget import Run, peak_mib
from benchmarks.cost_model import ACCELERATORS, least_s
from benchmarks.frame_parts import NOISE_BOX, noise
from benchmarks.lanes import look_cost
from benchmarks.measure import figure, median_s
from dimp_jax.tracking import online
from dimp_jax.tracking.many.lanes import Lanes
from dimp_jax.tracking.many.programs import UPDATED_TOGETHER, View

NETWORK = "dimp_lite0"
UNCOUNTED_FRAMES = 2


def figures(run: Run):
    tracker = networks.tracker(NETWORK)
    rates = {}
    for width in run.sizes.lanes:
        name = f"{width} lanes of {NETWORK}"
        measure = functools.partial(_lanes, run, name, tracker, width)
        yield from run.attempt(name, run.sizes.lanes_s, measure)
        if name in run.values:
            rates[width] = run.values[name]
    if rates:
        best = max(rates, key=rates.get)
        tried = ", ".join(map(str, sorted(rates)))
        yield figure("best number of lanes", best, f"of {tried}", frames_per_s=rates[best])
        yield from _updates(run, tracker, best)


def _started(lanes, image):
    """States of lanes which all follow the same target."""
    states, one = lanes.empty(), lanes.tracker.init(image, NOISE_BOX)
    for lane in range(lanes.size):
        states = lanes.put(states, lane, one)
    return states


def _lanes(run, name, tracker, width):
    lanes = Lanes(tracker, width, "vmap")
    started = time.perf_counter()
    lanes.warmup()
    compile_s = time.perf_counter() - started
    images = noise()[: run.sizes.frames]
    whole = lambda states, image: lanes.step(states, [image] * width)[0]
    settings, network = tracker.config.tracker, tracker.network
    pose = tracker.init(images[0], NOISE_BOX).pose
    crops, _, *place = online.sample_crops(settings, pose, images[0], network)
    view = View(*(np.stack([part] * width) for part in (crops, *place)))
    cut = lambda states, _: lanes.advance(states, range(width), view)[0]
    frame_s, cut_s = (_frame_s(lanes, images, step) for step in (whole, cut))
    detail = {}
    if run.model is not None:
        _, in_float32, memory, _ = ACCELERATORS[run.model]
        cost = look_cost(tracker.config, width)
        detail["model_ms"] = 1e3 * max(least_s(cost["flops"], cost["bytes"], in_float32, memory))
        detail["of_model"] = detail["model_ms"] / (1e3 * frame_s)
    yield figure(
        name,
        width / frame_s,
        "frames/s",
        step_ms=1e3 * frame_s,
        without_crops_ms=1e3 * cut_s,
        updated_together=UPDATED_TOGETHER["vmap"],
        compile_s=compile_s,
        device_peak_mib=peak_mib(),
        **detail,
    )


def _frame_s(lanes, images, step) -> float:
    """Seconds of a mean step of all lanes, with the filters' updates that are due in them."""
    states = _started(lanes, images[0])
    for image in images[1 : 1 + UNCOUNTED_FRAMES]:
        states = step(states, image)
    jax.block_until_ready(states.stack)
    counted = images[1 + UNCOUNTED_FRAMES :]
    started = time.perf_counter()
    for image in counted:
        states = step(states, image)
    jax.block_until_ready(states.stack)
    return (time.perf_counter() - started) / len(counted)


def _updates(run, tracker, width):
    """The sweep of `UPDATED_TOGETHER`."""
    lanes = Lanes(tracker, width, "vmap")
    stack = _started(lanes, noise()[0]).stack
    num_iter = tracker.config.tracker.memory.update_iterations
    filt = stack.filt

    def update(chosen):
        nonlocal filt  # its buffer is given away
        arguments = tracker.network.params, filt, stack.memory, None, chosen
        filt = lanes.programs.update(*arguments, num_iter=num_iter)
        return filt

    def measure(together):
        chosen = np.arange(together, dtype=np.int32)
        started = time.perf_counter()
        jax.block_until_ready(update(chosen))
        compile_s = time.perf_counter() - started
        seconds = median_s(update, chosen, repeats=run.sizes.rounds)
        name = f"filter updates, {together} by a call"
        detail = {"call_ms": 1e3 * seconds, "compile_s": compile_s, "iterations": num_iter}
        yield figure(name, together / seconds, "updates/s", **detail)

    for together in (n for n in run.sizes.updated_together if n <= width):
        name = f"filter updates, {together} by a call"
        yield from run.attempt(name, run.sizes.update_s, functools.partial(measure, together))
