"""Several sequences at once against one after the other, and what an accelerator would do with it.

python -m benchmarks lanes
python -m benchmarks.lanes DIR    # on sequences with ground truth instead of the demo clip

Both ways are timed in turns in one process, on decoded frames: decoding is the same for both.
"""

import functools
import itertools
import math
import statistics
import sys
import time

import jax
import jax.numpy as jnp

from benchmarks.cost_model import ACCELERATORS, least_s
from benchmarks.frame_parts import play
from benchmarks.measure import figure, print_figures
from dimp_jax import config as configs
from dimp_jax.evaluation import demo
from dimp_jax.host.operations import count_bytes, count_flops
from dimp_jax.media import sequences
from dimp_jax.models import dimp
from dimp_jax.tracking import online, programs, tracker
from dimp_jax.tracking.many import programs as lane_programs
from dimp_jax.tracking.many.lanes import Lanes
from dimp_jax.tracking.many.programs import View

NAME = "dimp_lite0"
BATCHES = (1, 2, 4, 8)
ROUNDS = 5
FRAMES = 42  # of a clip; its filter is updated twice
COMPUTED = ("NVIDIA H100 SXM", "TPU v5e")
COMPUTED_LANES = (1, 8, 32)


def clips_of(found) -> list:
    """(decoded frames, first box) of each sequence, as many as the largest batch: some repeat."""
    made = []
    for sequence in itertools.islice(itertools.cycle(found), max(BATCHES)):
        images = [image for _, image in itertools.islice(sequence.images(), FRAMES)]
        made.append((images, sequence.init_box))
    return made


def at_once_s(lanes, clips) -> float:
    """Seconds of all frames but the first ones, with a lane for each clip."""
    states, total = lanes.empty(), 0.0
    for lane, (images, box) in enumerate(clips):
        states = lanes.init(states, lane, images[0], box)
    jax.block_until_ready(states.stack)
    for images in itertools.islice(itertools.zip_longest(*(c[0] for c in clips)), 1, None):
        began = time.perf_counter()
        states = jax.block_until_ready(lanes.step(states, list(images))[0])
        total += time.perf_counter() - began
    return total


def measured(found):
    single, clips = tracker.build(configs.load(NAME)), clips_of(found)
    single.warmup()
    for batch in BATCHES:
        chosen, ratios, seconds = clips[:batch], {"loop": [], "vmap": []}, []
        frames = sum(len(images) - 1 for images, _ in chosen)
        forms = {form: Lanes(single, batch, form) for form in ratios}
        for lanes in forms.values():
            lanes.warmup()
        for _ in range(ROUNDS):
            alone = sum(sum(play(single, *clip)[0][1:]) for clip in chosen)
            seconds.append(alone / frames)
            for form, lanes in forms.items():
                ratios[form].append(alone / at_once_s(lanes, chosen))
        ratio = statistics.median(ratios[lane_programs.default_form()])
        yield figure(
            f"{NAME}, {batch} lanes",
            ratio,
            "x the frames/s of one sequence after the other",
            aim=("at least", 1),
            one_by_one_ms=1e3 * statistics.median(seconds),
            **{f"{form}_ratio": statistics.median(values) for form, values in ratios.items()},
        )


def look_cost(config: configs.Config, size: int) -> dict:
    """Operations and bytes of one vmapped frame of `size` lanes, from its trace; nothing is run."""
    model, settings = config.model, config.tracker
    box = jnp.asarray([[16.0, 16.0, 32.0, 32.0]])
    init = functools.partial(dimp.DiMP(model, folded=True).init, jax.random.key(0))
    params = jax.eval_shape(lambda: init(jnp.zeros((1, 64, 64, 3)), box))["params"]
    network = online.Network(
        params, programs.build(model, settings), model.clf_channels, model.filter_size_cells
    )
    lanes = Lanes(tracker.Tracker(config, network), size, "vmap")
    stack = jax.eval_shape(lambda: lanes.empty().stack)
    shape = lambda *dims: jax.ShapeDtypeStruct((size, *dims), jnp.float32)
    side = settings.crop_size_px
    view = View(shape(1, side, side, 3), shape(1, 2), shape(1))
    frames, active = (jax.ShapeDtypeStruct((size,), kind) for kind in (jnp.int32, bool))
    pose = (shape(2), shape(2), shape())
    of_lanes = (stack.filt, stack.modulation, stack.key, frames, pose, shape(2), shape(2))
    args = (params, active, of_lanes, view)
    return {
        "flops": count_flops(lanes.programs.look, *args),
        "bytes": count_bytes(lanes.programs.look, *args, itemsize=4),
        "memory_bytes": sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(stack.memory)),
        "crops_bytes": 4 * math.prod(view.crops.shape),
    }


def computed(name: str):
    """Frames/s that accelerators could give: arithmetic and data sheets, not a measurement."""
    config = configs.load(name)
    for size in COMPUTED_LANES:
        cost = look_cost(config, size)
        for accelerator in COMPUTED:
            _, in_float32, memory, _ = ACCELERATORS[accelerator]  # in operations and bytes a second
            compute_s, memory_s = least_s(cost["flops"], cost["bytes"], in_float32, memory)
            yield figure(
                f"{name}, {size} lanes on one {accelerator}",
                size / max(compute_s, memory_s),
                "frames/s at most, computed, without host and launches",
                bound="compute" if compute_s > memory_s else "memory",
                step_ms=1e3 * max(compute_s, memory_s),
                gflop_a_frame=cost["flops"] / size / 1e9,
                megabytes_a_frame=cost["bytes"] / size / 1e6,
                memory_gigabytes=cost["memory_bytes"] / 1e9,
                crops_megabytes=cost["crops_bytes"] / 1e6,
            )


def figures(folder=None):
    yield from measured([demo.load()] if folder is None else sequences.load_folder(folder))
    for name in ("dimp_lite0", "dimp50"):
        yield from computed(name)


def main(arguments) -> int:
    return print_figures(figures(*arguments), "lanes")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
