"""A tracked frame against the sum of its networks timed alone; start-up; the filter update."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.backbones import backbone
from benchmarks.measure import figure, median_s
from dimp_jax import config as configs
from dimp_jax.models import dimp
from dimp_jax.predictor.correlation import correlate
from dimp_jax.tracking import online
from dimp_jax.tracking.refine import ascend
from dimp_jax.tracking.tracker import Tracker, make_network

AIM = 1.35
FRAMES = 41  # two filter updates
SIZE_HW = (360, 480)
BOX = (200.0, 150.0, 60.0, 50.0)


def tracker_of(name: str) -> Tracker:
    """A shipped tracker with random weights that is never lost, and so does all work."""
    config = configs.load(name)
    localize = dataclasses.replace(config.tracker.localize, not_found_threshold=-1e9)
    tracker = dataclasses.replace(config.tracker, localize=localize)
    config = dataclasses.replace(config, tracker=tracker)
    variables = dimp.init_variables(config.model, jax.random.key(0))
    return Tracker(config, make_network(config, variables))


def networks_s(tracker: Tracker) -> dict:
    """Seconds of each network of a frame, alone, on one crop."""
    config = tracker.config
    net = dimp.DiMP(config.model, folded=True)
    variables = {"params": tracker.network.params}
    crop_px = config.tracker.crop_size_px
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.standard_normal((1, crop_px, crop_px, 3)), jnp.float32)
    run = lambda method: jax.jit(lambda v, *args: net.apply(v, *args, method=method))
    features = jax.jit(backbone(net))
    layer2, layer3 = features(variables, inputs)
    clf = run("clf_features")(variables, layer3)
    iou_features = run("iou_features")(variables, layer2, layer3)
    box = jnp.asarray([[110.0, 120.0, 60.0, 50.0]])
    modulation = run("modulation")(variables, layer2, layer3, box)
    refine = config.tracker.refine
    boxes = jnp.tile(box, (1 + refine.num_random_boxes, 1))

    @jax.jit
    def refined(variables, modulation, features, boxes):
        predict = lambda b: net.apply(
            variables, modulation, features, b[None], method="predict_iou"
        )[0]
        return ascend(predict, boxes, refine)

    filt = jnp.zeros((config.model.filter_size_cells,) * 2 + (clf.shape[-1],))
    return {
        "backbone": median_s(features, variables, inputs),
        "clf_features": median_s(run("clf_features"), variables, layer3),
        "correlation": median_s(jax.jit(correlate), filt, clf),
        "iou_features": median_s(run("iou_features"), variables, layer2, layer3),
        "refinement": median_s(refined, variables, modulation, iou_features, boxes),
    }


def frame_s(tracker: Tracker):
    """(seconds of the first frame, median of the others) on moving noise."""
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)
    started = time.perf_counter()
    state = jax.block_until_ready(tracker.init(scene, BOX))
    first_s = time.perf_counter() - started
    seconds = []
    for index in range(FRAMES):
        image = np.roll(scene, index, axis=1)
        started = time.perf_counter()
        state = jax.block_until_ready(tracker.step(state, image)[0])
        seconds.append(time.perf_counter() - started)
    return first_s, float(np.median(seconds[2:]))


def update_s(tracker: Tracker) -> float:
    """Seconds of the regular filter update on a full memory."""
    network, memory = tracker.network, tracker.config.tracker.memory
    scene = np.zeros((*SIZE_HW, 3), np.uint8)
    state = tracker.init(scene, BOX)
    learn = lambda: network.programs.learn(
        network.params,
        state.filt,
        state.memory,
        state.memory.feat[0],
        state.memory.box_xywh[0],
        np.float32(memory.learning_rate),
        insert=True,
        num_iter=memory.update_iterations,
    )
    return median_s(learn)


def figures():
    for name in ("dimp18", "dimp50", "dimp_lite0"):
        tracker = tracker_of(name)
        started = time.perf_counter()
        tracker.warmup()
        compile_s = time.perf_counter() - started
        first_s, each_s = frame_s(tracker)
        parts = networks_s(tracker)
        pose = tracker.init(np.zeros((*SIZE_HW, 3), np.uint8), BOX).pose
        crop_s = median_s(
            lambda image, pose=pose, t=tracker: online.sample_crops(
                t.config.tracker, pose, image, t.network
            )[0],
            np.zeros((*SIZE_HW, 3), np.uint8),
        )
        ratio = each_s / sum(parts.values())
        yield figure(
            f"tracked frame of {name}, random weights",
            ratio,
            "x the sum of backbone and heads timed alone",
            aim=f"at most {AIM}",
            met=ratio <= AIM,
            frame_ms=each_s * 1e3,
            frames_per_s=1 / each_s,
            first_frame_ms=first_s * 1e3,
            compile_s=compile_s,
            crop_ms=crop_s * 1e3,
            filter_update_ms=update_s(tracker) * 1e3,
            **{f"{part}_ms": seconds * 1e3 for part, seconds in parts.items()},
        )
