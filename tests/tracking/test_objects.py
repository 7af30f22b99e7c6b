"""Several objects in one video: the shared window, one backbone pass, tracking, refusals."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.backbones import backbone
from dimp_jax import config
from dimp_jax.evaluation.metrics import curves
from dimp_jax.evaluation.runners.objects import track_objects
from dimp_jax.media.images import InputError
from dimp_jax.models import dimp
from dimp_jax.tracking import tracker
from dimp_jax.tracking.many import programs as lane_programs
from dimp_jax.tracking.many.objects import Objects, shared_window
from dimp_jax.tracking.many.programs import View
from dimp_jax.tracking.state import Pose
from tests.support import small_tracker

COUNT, SIZE_HW = 10, (200, 260)
SAMPLES = 13  # of the first frame, without those of dropout
SIDES_HW = np.array([[40, 36], [32, 44]])


def small(method="scale_search", shared=False):
    return small_tracker.make(small_tracker.settings(method, shared_crop=shared))


@functools.cache
def trained():
    """The shipped network without its IoU network: one small window for all objects."""
    settings = small_tracker.settings(
        "scale_search", shared_crop=True, crop_size_px=192, search_area_scale=3.0
    )
    return tracker.build(dataclasses.replace(config.load("dimp_lite0"), tracker=settings))


def boxes_at(t):
    """Two objects that move towards one another; [2, 4]."""
    corners = np.array([[60.0 + 3 * t, 40.0 + t], [150.0 - 2 * t, 100.0]])
    return np.concatenate([corners, SIDES_HW[:, ::-1]], 1)


def frame(t):
    """uint8 RGB: two textured patches on noise."""
    image = np.random.default_rng(0).integers(90, 130, (*SIZE_HW, 3)).astype(np.uint8)
    for k, box in enumerate(boxes_at(t)):
        x, y, w, h = box.astype(int)
        rng = np.random.default_rng(k + 1)
        blocks = rng.integers(0, 255, (h // 4, w // 4, 3), dtype=np.uint8)
        image[y : y + h, x : x + w] = blocks.repeat(4, 0).repeat(4, 1)
    return image


class Clip:
    """What is asked of a sequence."""

    name = "clip"

    def __init__(self, frames):
        self.frames = frames

    def images(self):
        return ((str(t), image) for t, image in enumerate(self.frames))


CLIP = Clip([frame(t) for t in range(COUNT)])
TRUTH = np.stack([boxes_at(t) for t in range(COUNT)], 1)  # [2, N, 4]


def pose(center_yx, scale):
    return Pose(np.array(center_yx, np.float32), np.ones(2, np.float32), np.float32(scale))


def test_the_shared_window():
    """Windows of 100 px around (50, 60), and of 200 around (80, 300): 10 .. 400 along x."""
    one, two = pose((50, 60), 1.0), pose((80, 300), 2.0)
    window = shared_window([one, two], 100)
    np.testing.assert_array_equal(window.center_yx, [80, 205])
    np.testing.assert_array_equal(window.scale, np.float32(3.9))
    alone = shared_window([two], 100)
    np.testing.assert_array_equal(alone.center_yx, two.center_yx)
    np.testing.assert_array_equal(alone.scale, two.scale)
    assert alone.center_yx.dtype == alone.scale.dtype == np.float32


def test_two_objects_are_tracked_in_one_window_and_nothing_compiles():
    objects, calls = Objects(trained(), 2), []
    objects.warmup()
    count = lambda: [program._cache_size() for program in objects.lanes.programs]
    compiled = count()
    assert compiled[:4] == [1, 0, 1, 1]
    boxes, times_s = track_objects(
        trained(), CLIP, boxes_at(0), seed=3, observe=lambda *args: calls.append(args)
    )
    assert boxes.shape == (2, COUNT, 4) and times_s.shape == (COUNT,)
    np.testing.assert_array_equal(boxes[:, 0], boxes_at(0))
    for found, truth in zip(boxes, TRUTH, strict=True):
        assert curves.overlap(found, truth).min() > 0.5
    assert [index for index, *_ in calls] == list(range(COUNT))
    np.testing.assert_array_equal(calls[4][2], boxes[:, 4])
    assert calls[0][3] == [None, None] and len(calls[1][3]) == 2
    assert count() == compiled


@pytest.mark.usefixtures("small_backbone")
def test_own_windows_are_single_trackers_with_following_seeds():
    boxes, _ = track_objects(small(), Clip(CLIP.frames[:5]), boxes_at(0), seed=3)
    for k in range(2):
        state = small().init(CLIP.frames[0], boxes_at(0)[k], 3 + k)
        for t in range(1, 5):
            state, result = small().step(state, CLIP.frames[t])
            np.testing.assert_allclose(boxes[k, t], result.box_xywh, atol=0.05)
    seeded = dataclasses.replace(small(), config=dataclasses.replace(small().config, seed=3))
    keys = [
        jax.random.key_data(Objects(used, 2).init(CLIP.frames[0], boxes_at(0), seed).stack.key)
        for used, seed in ((small(), 3), (seeded, None))
    ]
    np.testing.assert_array_equal(*keys)


def flops(program, *args) -> int:
    """Operations of the program as traced; the body of a loop counts once."""
    return int(program.lower(*args).cost_analysis()["flops"])


def look_flops(form):
    """Operations of a frame of two lanes."""
    settings, network = trained().config.tracker, trained().network
    programs = lane_programs.build(trained().config.model, settings, form)
    stack = jax.eval_shape(lambda: Objects(trained(), 2).lanes.empty().stack)
    shape = lambda *dims: jax.ShapeDtypeStruct(dims, jnp.float32)
    side, each = settings.crop_size_px, () if form == "shared" else (2,)
    view = View(shape(*each, 3, side, side, 3), shape(*each, 3, 2), shape(*each, 3))
    frames, active = jax.ShapeDtypeStruct((2,), jnp.int32), jax.ShapeDtypeStruct((2,), bool)
    pose = (shape(2, 2), shape(2, 2), shape(2))
    lanes = (stack.filt, stack.modulation, stack.key, frames, pose, shape(2, 2), shape(2, 2))
    return flops(programs.look, network.params, active, lanes, view)


def start_flops():
    """Operations of the first frame of two objects in one window."""
    settings, network = trained().config.tracker, trained().network
    programs = lane_programs.build(trained().config.model, settings, "shared")
    shape = lambda *dims: jax.ShapeDtypeStruct(dims, jnp.float32)
    patches = shape(SAMPLES, settings.crop_size_px, settings.crop_size_px, 3)
    dropout = shape(2, 2, network.clf_channels)
    return flops(programs.start, network.params, patches, shape(2, SAMPLES + 2, 4), dropout)


def backbone_flops(count):
    net = dimp.DiMP(trained().config.model, folded=True)
    side = trained().config.tracker.crop_size_px
    crops = jax.ShapeDtypeStruct((count, side, side, 3), jnp.float32)
    return flops(jax.jit(backbone(net)), {"params": trained().network.params}, crops)


def test_two_objects_in_one_window_cost_one_backbone_pass():
    crops = 3  # of the scale search
    once = backbone_flops(crops)
    assert once < look_flops("shared") < 1.5 * once
    assert look_flops("vmap") > 2 * once  # windows of their own
    assert backbone_flops(SAMPLES) < start_flops() < 1.5 * backbone_flops(SAMPLES)


def test_refusals():
    clip = Clip(CLIP.frames[:2])
    for boxes, match in (
        ([], "expected one or more of x, y, w, h"),
        ([1, 2, 3, 4], r"boxes of shape \(4,\)"),
        ([boxes_at(0)[0], (900, 0, 5, 5)], "clip: object 2: box 900, 0, 5, 5: outside the image"),
    ):
        for used in (small(), trained()):
            with pytest.raises(InputError, match=match):
                track_objects(used, clip, boxes)
    with pytest.raises(ValueError, match="1 boxes for 2 objects"):
        Objects(trained(), 2).init(CLIP.frames[0], boxes_at(0)[:1])
    objects = Objects(trained(), 2)
    states = objects.init(CLIP.frames[0], boxes_at(0))
    with pytest.raises(ValueError, match="the first frame was"):
        objects.step(states, CLIP.frames[1][:-1])
