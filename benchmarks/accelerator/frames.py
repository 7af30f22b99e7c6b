"""A frame of one sequence: what it waits for on the host, on the way and on the device."""

import functools
import statistics
import time

import jax
import numpy as np

from benchmarks.accelerator import networks
from benchmarks.accelerator.budget import Run, compiled
from benchmarks.cost_model import ACCELERATORS, least_s
from benchmarks.frame_parts import NOISE_BOX, noise, play
from benchmarks.measure import figure, median_s
from dimp_jax.evaluation import results
from dimp_jax.host.operations import program_bytes, program_flops
from dimp_jax.tracking import draws, online

UNCOUNTED_ROUNDS = 2


def figures(run: Run):
    sizes = run.sizes
    jobs = {name: functools.partial(_ready, name) for name in sizes.networks}
    ready = functools.cache(lambda: compiled(jobs, sizes.compiled_at_once))
    for name in sizes.networks:
        measure = functools.partial(_frame, run, name, ready)
        compile_s = 0.0 if ready.cache_info().currsize else sizes.frames_compile_s
        yield from run.attempt(f"frame of {name}", sizes.frame_s[name] + compile_s, measure)


def _ready(name):
    """(tracker, seconds of compilation)."""
    tracker = networks.tracker(name)
    started = time.perf_counter()
    tracker.warmup()
    return tracker, time.perf_counter() - started


def _frame(run, name, ready):
    tracker, compile_s = ready()[name]()
    images = noise()[: run.sizes.frames]
    play(tracker, images[:4], NOISE_BOX)
    (first_s, *frames_s), plans, state = play(tracker, images, NOISE_BOX)
    counted = results.WARM_UP_FRAMES
    frame_s = statistics.fmean(frames_s[counted:])
    parts = stages(tracker, state, images[-1], run.sizes.rounds)
    parts["filter update"] = update_s(tracker, state, plans[counted:])
    parts["rest"] = frame_s - sum(parts.values())
    look = tracker.network.programs.look.trace(*look_arguments(tracker, state, images[-1])).jaxpr
    flops, moved = program_flops(look.jaxpr), program_bytes(look.jaxpr, itemsize=4)
    detail = {"program_gflop": flops / 1e9, "program_mb": moved / 1e6}
    if run.model is not None:
        _, in_float32, memory, _ = ACCELERATORS[run.model]
        detail["model_ms"] = 1e3 * max(least_s(flops, moved, in_float32, memory))
        detail["of_model"] = detail["model_ms"] / (1e3 * frame_s)
    yield figure(
        f"frame of {name}",
        1 / frame_s,
        "frames/s",
        frame_ms=frame_s * 1e3,
        split_ms={part: round(1e3 * seconds, 3) for part, seconds in parts.items()},
        first_frame_ms=first_s * 1e3,
        compile_s=compile_s,
        compiled_at_once=run.sizes.compiled_at_once,
        **detail,
    )


def look_arguments(tracker, state, image):
    """What `online.step` hands to the program `look`."""
    settings, network = tracker.config.tracker, tracker.network
    crops, _, positions, scales = online.sample_crops(settings, state.pose, image, network)
    uniforms = None
    if settings.refine.method != "scale_search":
        uniforms = draws.for_frame(state.key, state.frame, settings.refine.num_random_boxes)
    pose = (state.pose.center_yx, state.pose.size_hw, state.pose.scale)
    size, image_hw = state.base_size_hw, state.image_hw.astype(np.float32)
    learned = network.params, state.filt, state.modulation
    return (*learned, crops, pose, size, image_hw, positions, scales, uniforms)


def stages(tracker, state, image, rounds: int) -> dict[str, float]:
    """Median seconds of the stages of a frame, each waited for, without the filter's update.

    "host crop" has the drawing of the boxes to try with it. "report" is the way back: seven numbers
    that are fetched and read.
    """
    spent = {stage: [] for stage in ("host crop", "transfer", "program", "report")}
    for _ in range(UNCOUNTED_ROUNDS + rounds):
        times = [time.perf_counter()]
        arguments = list(look_arguments(tracker, state, image))
        times.append(time.perf_counter())
        arguments[3] = jax.block_until_ready(jax.device_put(arguments[3]))
        times.append(time.perf_counter())
        seen = jax.block_until_ready(tracker.network.programs.look(*arguments))
        times.append(time.perf_counter())
        online.read_report(np.asarray(seen.report), tracker.config.tracker.localize, 0)
        times.append(time.perf_counter())
        for stage, seconds in zip(spent, np.diff(times), strict=True):
            spent[stage].append(float(seconds))
    return {stage: statistics.median(all_s[UNCOUNTED_ROUNDS:]) for stage, all_s in spent.items()}


def update_s(tracker, state, plans) -> float:
    """Seconds of the filter's updates in a mean frame, of those that `plans` ask for."""
    network, memory = tracker.network, state.memory
    rate = np.float32(tracker.config.tracker.memory.learning_rate)
    sample = memory.feat[0], memory.box_xywh[0], rate
    seconds = {(False, 0): 0.0}
    for insert, num_iter in set(plans) - set(seconds):
        learn = functools.partial(network.programs.learn, insert=insert, num_iter=num_iter)
        arguments = network.params, state.filt, memory, *sample
        seconds[insert, num_iter] = median_s(learn, *arguments, repeats=5)
    return statistics.fmean(seconds[plan] for plan in plans)
