"""Where the time of a tracked frame goes: its parts timed alone, the loop around them, real input.

All is timed in turns within one process: `ROUNDS` times the whole clip, then every part.
"""

import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.backbones import backbone
from benchmarks.measure import figure, median_s
from dimp_jax import config as configs
from dimp_jax.evaluation import demo, results
from dimp_jax.models import dimp
from dimp_jax.predictor.correlation import correlate
from dimp_jax.tracking import online
from dimp_jax.tracking.localize import localize
from dimp_jax.tracking.refine import refine_pose
from dimp_jax.tracking.tracker import Tracker, build, make_network

ROUNDS = 3
FRAMES_PER_S_AIM = 40
RATIO_AIM = 1.35
NOISE_HW = (360, 480)
NOISE_BOX = (200.0, 150.0, 60.0, 50.0)
NOISE_FRAMES = 41  # two regular filter updates
NETWORKS = {  # of a frame: their names among the figures, and among `parts`
    "backbone": "backbone",
    "clf_features": ".classifier",
    "correlation": ".correlation",
    "iou_features": ".IoU features",
    "refinement": ".ascent",
}


def never_lost(config: configs.Config) -> configs.Config:
    """The same tracker doing all the work in every frame, whatever it sees."""
    return configs.changed(config, {"tracker.localize.not_found_threshold": -1e9})


def parts(tracker: Tracker, state, image) -> dict:
    """The parts of a frame as calls without arguments, on the crop of `state` in `image`.

    "learn <insert> <iterations>" are the filter updates that `plan_learning` can ask for. Names
    that begin with a dot are pieces of "heads" and "refinement".
    """
    config, network = tracker.config, tracker.network
    settings, refine = config.tracker, config.tracker.refine
    net, variables = dimp.DiMP(config.model, folded=True), {"params": network.params}
    run = lambda method: jax.jit(lambda v, *args: net.apply(v, *args, method=method))
    take = lambda: online.sample_crops(settings, state.pose, image, network)
    patches, _, *places = take()
    positions, scales = map(jnp.asarray, places)  # indexed by a traced number below
    see = jax.jit(lambda v, p: backbone(net)(v, net.apply(v, p, method="normalize")))
    layer2, layer3 = see(variables, patches)
    clf, filt = run("clf_features"), state.filt
    feat = clf(variables, layer3)
    grid = correlate(filt, feat).shape[-1] - (filt.shape[0] + 1) % 2

    place = state.pose.center_yx, state.pose.size_hw, positions, scales
    options = settings.localize, settings.crop_size_px, grid
    find = jax.jit(lambda scores: localize(scores, *place, *options))

    @jax.jit
    def heads(variables, layer3, filt):
        feat = net.apply(variables, layer3, method="clf_features")
        return feat, find(correlate(filt, feat))

    correlation = jax.jit(correlate)
    scores = correlation(filt, feat)
    calls = {
        "crop": take,
        "backbone": lambda: see(variables, patches),
        "heads": lambda: heads(variables, layer3, filt),
        ".classifier": lambda: clf(variables, layer3),
        ".correlation": lambda: correlation(filt, feat),
        ".localisation": lambda: find(scores),
    }
    if refine.method != "scale_search":
        calls |= _refinement(net, variables, refine, layer2, layer3, settings.crop_size_px)
    memory = state.memory
    for insert, num_iter in online.learning_variants(settings.memory):
        calls[f"learn {insert} {num_iter}"] = functools.partial(
            network.programs.learn,
            *(network.params, filt, memory, memory.feat[0], memory.box_xywh[0]),
            np.float32(settings.memory.learning_rate),
            insert=insert,
            num_iter=num_iter,
        )
    return calls


def _refinement(net, variables, refine, layer2, layer3, crop_px) -> dict:
    """The calls of the IoU network on one crop, for a box in its middle."""
    box = jnp.asarray([0.4, 0.4, 0.2, 0.2]) * crop_px
    center, size_hw, scale = jnp.full(2, 0.5 * crop_px), box[2:], jnp.float32(1.0)
    maps = layer2[:1], layer3[:1]
    apply = lambda method, v, *args: net.apply(v, *args, method=method)
    modulation = jax.jit(functools.partial(apply, "modulation"))(variables, *maps, box[None])
    uniforms = jax.random.uniform(jax.random.key(0), (refine.num_random_boxes, 4))

    def climb(v, features):
        predict = lambda b: apply("predict_iou", v, modulation, features, b[None])[0]
        pose = center, size_hw, scale
        return refine_pose(predict, pose, size_hw, center, scale, uniforms, refine, crop_px)

    features = jax.jit(functools.partial(apply, "iou_features"))
    ascent = jax.jit(climb)
    whole = jax.jit(lambda v, *maps: climb(v, apply("iou_features", v, *maps)))
    seen = features(variables, *maps)
    return {
        "refinement": lambda: whole(variables, *maps),
        ".IoU features": lambda: features(variables, *maps),
        ".ascent": lambda: ascent(variables, seen),
    }


def play(tracker: Tracker, images, box):
    """Seconds [N] of the frames, the updates [N - 1] that they asked for, and the last state."""
    started = time.perf_counter()
    state = jax.block_until_ready(tracker.init(images[0], box))
    seconds, plans = [time.perf_counter() - started], []
    for image in images[1:]:
        started = time.perf_counter()
        state, result = jax.block_until_ready(tracker.step(state, image))
        seconds.append(time.perf_counter() - started)
        memory = tracker.config.tracker.memory
        plans.append(online.plan_learning(memory, state.frame, result.verdict, result.score)[:2])
    return seconds, plans, state


def split(frame_s: float, parts_s: dict, plans) -> dict:
    """Seconds of a mean frame by what they are spent on; they add up to `frame_s`.

    Args:
      frame_s: of the whole frame.
      parts_s: seconds of the calls of `parts`.
      plans: (insert, iterations) of every frame.

    Returns:
      "crop", "backbone", "heads", "refinement", "filter update" (mean over the frames) and "Python"
      (the rest: it can be negative, as one program is faster than its parts alone).
    """
    learned = [parts_s[f"learn {i} {n}"] if i or n else 0.0 for i, n in plans]
    shares = {name: parts_s.get(name, 0.0) for name in ("crop", "backbone", "heads", "refinement")}
    shares["filter update"] = statistics.fmean(learned)
    shares["Python"] = frame_s - sum(shares.values())
    return shares


def measured(tracker: Tracker, images, box):
    """(seconds of a mean frame, `split`, all parts, seconds of the first frame) on decoded images.

    A frame's time is its median over the rounds, so that a neighbour's moment does not count.
    """
    tracker.warmup()
    whole, alone, calls = [], [], None
    for _ in range(ROUNDS):
        seconds, plans, state = play(tracker, images, box)
        whole.append(seconds)
        calls = calls or parts(tracker, state, images[-1])
        alone.append({name: median_s(call, repeats=9) for name, call in calls.items()})
    first_s, *frames_s = np.median(whole, axis=0)
    frame_s = float(np.mean(frames_s[results.WARM_UP_FRAMES :]))
    parts_s = {name: statistics.median(turn[name] for turn in alone) for name in calls}
    plans = plans[results.WARM_UP_FRAMES :]
    return frame_s, split(frame_s, parts_s, plans), parts_s, float(first_s)


def noise():
    """Frames of moving noise."""
    scene = np.random.default_rng(0).integers(0, 255, (*NOISE_HW, 3), dtype=np.uint8)
    return [np.roll(scene, index, axis=1) for index in range(NOISE_FRAMES)]


def figures(name: str = "dimp_lite0"):
    """Frames a second on the demo clip and on noise, with milliseconds and shares of the parts.

    Raises:
      InputError: the demo extra is not installed.
    """
    config, sequence = configs.load(name), demo.load()
    for clip, images, box in (
        ("demo clip", [image for _, image in sequence.images()], sequence.init_box),
        ("noise", noise(), NOISE_BOX),
    ):
        # Noise has no target: the tracker would give up, and nothing would be timed.
        tracker = build(never_lost(config) if clip == "noise" else config)
        frame_s, shares, parts_s, first_s = measured(tracker, images, box)
        yield figure(
            f"frames/s of {name}, trained weights, {clip}",
            1 / frame_s,
            "frames/s, decoding apart",
            aim=("at least", FRAMES_PER_S_AIM),
            frame_ms=frame_s * 1e3,
            split_ms={part: round(s * 1e3, 2) for part, s in shares.items()},
            split_share={part: round(s / frame_s, 3) for part, s in shares.items()},
            alone_ms={part.lstrip("."): round(s * 1e3, 3) for part, s in parts_s.items()},
            first_frame_ms=first_s * 1e3,
        )


def ratios():
    """A frame of each network, with random weights on noise, by the sum of its networks alone."""
    for name in ("dimp18", "dimp50", "dimp_lite0"):
        config = never_lost(configs.load(name))
        variables = dimp.init_variables(config.model, jax.random.key(0))
        tracker = Tracker(config, make_network(config, variables))
        started = time.perf_counter()
        tracker.warmup()
        compile_s = time.perf_counter() - started
        frame_s, shares, parts_s, first_s = measured(tracker, noise(), NOISE_BOX)
        networks = {shown: parts_s[part] for shown, part in NETWORKS.items()}
        iterations = config.tracker.memory.update_iterations
        yield figure(
            f"tracked frame of {name}, random weights",
            frame_s / sum(networks.values()),
            "x the sum of backbone and heads timed alone",
            aim=("at most", RATIO_AIM),
            frame_ms=frame_s * 1e3,
            frames_per_s=1 / frame_s,
            first_frame_ms=first_s * 1e3,
            compile_s=compile_s,
            crop_ms=shares["crop"] * 1e3,
            filter_update_ms=parts_s[f"learn True {iterations}"] * 1e3,
            **{f"{shown}_ms": seconds * 1e3 for shown, seconds in networks.items()},
        )
