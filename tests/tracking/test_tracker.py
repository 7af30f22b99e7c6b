"""The online tracker on a small random network: replay, seeds, compilations, refusals, extremes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import Config, ModelConfig
from dimp_jax.tracking import online
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.online import Network
from dimp_jax.tracking.state import TrackerState, box_of, initial_pose
from dimp_jax.tracking.tracker import Tracker
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = [pytest.mark.usefixtures("small_backbone"), pytest.mark.optimised]
METHODS = ("iou", "iou_relative", "scale_search")
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
FRAMES = [inputs.clip_frame(t) for t in range(30)]


def make(method="iou"):
    return small_tracker.make(small_tracker.settings(method))


def track(tracker, frames, box=BOX, seed=0):
    """[T, 4] boxes and [T] scores of the frames after the first."""
    state = tracker.init(frames[0], box, seed)
    results = []
    for frame in frames[1:]:
        state, result = tracker.step(state, frame)
        results.append(result)
    return np.stack([r.box_xywh for r in results]), np.array([r.score for r in results]), state


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_representations_are_short():
    pose, base = initial_pose(BOX, 288, 5.0)
    state = TrackerState(pose, base, np.array([4, 5]), FRAMES[0], FRAMES[0], None, FRAMES[0], 3)
    shown = ", ".join(f"{v:.2f}" for v in BOX)
    assert repr(state) == f"TrackerState(frame=3, box_xywh=[{shown}])"
    assert repr(jax.tree.map(lambda leaf: 0, state)) == "TrackerState(frame=3, box_xywh=[...])"
    config = Config(model=ModelConfig(backbone="resnet18"))
    tracker = Tracker(config, Network({"a": np.zeros(1_500_000)}, *[None] * 3))
    assert repr(tracker) == "Tracker(resnet18, checkpoint=None, notice=None)"
    found = Verdict.HARD_NEGATIVE
    assert f"{found}" == str(found) == found.name == "HARD_NEGATIVE"
    assert found == 1 and Verdict.NORMAL < found and json.dumps(found) == "1"


def test_nothing_compiles_after_warmup():
    """30 frames, hard negatives and updates among them, of images of two sizes."""
    # First in this file: later tests share the programs, and would have compiled what is missing.
    tracker = make("iou")
    settings, programs = tracker.config.tracker, tracker.network.programs
    tracker.warmup()
    compiled = [p._cache_size() for p in programs]
    assert compiled == [1, 1, len(online.learning_variants(settings.memory))]

    verdicts = []
    for frames in (FRAMES, [f[:200, 20:] for f in FRAMES]):
        state = tracker.init(frames[0], BOX)
        for frame in frames[1:]:
            before = state
            state, result = tracker.step(state, frame)
            verdicts.append(result.verdict)
            learned = (np.asarray(before.filt) != np.asarray(state.filt)).any()
            update = (state.frame - 1) % settings.memory.train_interval == 0
            found = result.verdict in (Verdict.NORMAL, Verdict.HARD_NEGATIVE)
            assert learned == (result.verdict == Verdict.HARD_NEGATIVE or (update and found))
            stored = int(state.memory.num_stored) - int(before.memory.num_stored)
            assert stored == int(found)
    assert {Verdict.NORMAL, Verdict.HARD_NEGATIVE} <= set(verdicts), "the case shows too little"
    assert [p._cache_size() for p in programs] == compiled


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_everything(method):
    boxes, scores, state = track(make(method), FRAMES[:9], seed=5)
    again_boxes, again_scores, again = track(make(method), FRAMES[:9], seed=5)
    np.testing.assert_array_equal(boxes, again_boxes)
    np.testing.assert_array_equal(scores, again_scores)
    assert_same_bits(
        dataclasses.replace(state, key=jax.random.key_data(state.key)),
        dataclasses.replace(again, key=jax.random.key_data(again.key)),
    )
    other, other_scores, _ = track(make(method), FRAMES[:9], seed=6)
    assert (scores != other_scores).any()  # other shifts and dropouts: another filter
    if method != "scale_search":
        assert (boxes != other).any()


def test_the_seed_of_the_config_is_the_default():
    whole = dataclasses.replace(make().config, seed=5)
    states = (
        dataclasses.replace(make(), config=whole).init(FRAMES[0], BOX),
        make().init(FRAMES[0], BOX, 5),
    )
    assert_same_bits(*(jax.random.key_data(state.key) for state in states))


def test_draws_differ_between_frames_and_seeds():
    """Two frames of equal content: the boxes that are tried are others."""
    tracker = make("iou")
    state = tracker.init(FRAMES[0], BOX)
    later = dataclasses.replace(state, frame=state.frame + 1)
    first, second = (tracker.step(s, FRAMES[1])[1].box_xywh for s in (state, later))
    assert (first != second).any()


@pytest.mark.parametrize("method", METHODS)
def test_a_state_can_be_replayed(method):
    tracker = make(method)
    state = tracker.init(FRAMES[0], BOX)
    before = jax.tree.map(np.array, dataclasses.replace(state, key=jax.random.key_data(state.key)))
    one, result = tracker.step(state, FRAMES[1])
    two, _ = tracker.step(one, FRAMES[2])
    again, again_result = tracker.step(state, FRAMES[1])
    np.testing.assert_array_equal(result.box_xywh, again_result.box_xywh)
    result.box_xywh[:] = 0
    np.testing.assert_array_equal(box_of(one.pose), box_of(again.pose))
    assert result.score == again_result.score and result.verdict == again_result.verdict
    assert (state.frame, one.frame, two.frame) == (1, 2, 3)
    np.testing.assert_array_equal(one.filt, again.filt)
    np.testing.assert_array_equal(one.memory.feat, again.memory.feat)
    after = dataclasses.replace(state, key=jax.random.key_data(state.key))
    assert_same_bits(before, after)


def test_images_and_boxes_are_only_read():
    tracker, image, box = make(), FRAMES[0].copy(), np.array(BOX)
    image.setflags(write=False)
    box.setflags(write=False)
    state = tracker.init(image, box)
    later = FRAMES[1].copy()
    later.setflags(write=False)
    tracker.step(state, later)
    boxes = [tracker.step(tracker.init(image, b), later)[1].box_xywh for b in (BOX, list(BOX))]
    np.testing.assert_array_equal(*boxes)


def test_a_lost_target_changes_nothing():
    """With a filter of zeros all scores are 0: below the threshold of 0.01."""
    tracker = make()
    state = tracker.init(FRAMES[0], BOX)
    state = dataclasses.replace(state, filt=0 * state.filt)
    after, result = tracker.step(state, FRAMES[1])
    assert result.verdict == Verdict.NOT_FOUND and result.score == 0
    np.testing.assert_allclose(result.box_xywh, BOX, atol=1e-4)
    result.box_xywh[2:] += result.box_xywh[:2]  # its user wants corners
    for saved in (state, after):
        np.testing.assert_allclose(tracker.step(saved, FRAMES[1])[1].box_xywh, BOX, atol=1e-4)
    np.testing.assert_array_equal(after.filt, state.filt)
    assert_same_bits(after.memory, state.memory)


# ------------------------------------------------------------------------------------- refusals

GOOD = FRAMES[0]
BAD_IMAGES = [
    (GOOD.astype(np.float32), r"expected uint8 RGB \[H, W, 3\], got float32 \(240, 320, 3\)"),
    (GOOD[..., 0], r"expected uint8 RGB \[H, W, 3\], got uint8 \(240, 320\)"),
    (np.dstack([GOOD, GOOD[..., :1]]), r"got uint8 \(240, 320, 4\)"),
    (GOOD[None], r"got uint8 \(1, 240, 320, 3\)"),
    (GOOD.tolist(), "got list, which is no numpy array"),
    (jnp.asarray(GOOD), "got ArrayImpl, which is no numpy array"),
    (None, "got NoneType"),
]


@pytest.mark.parametrize(("image", "match"), BAD_IMAGES)
def test_bad_images(image, match):
    tracker = make()
    with pytest.raises(ValueError, match=match):
        tracker.init(image, BOX)
    with pytest.raises(ValueError, match=match):
        tracker.step(tracker.init(GOOD, BOX), image)


def test_a_change_of_size_is_refused():
    tracker = make()
    state = tracker.init(GOOD, BOX)
    match = r"the first frame was \(240, 320\) .*this one is \(240, 319\); start again with init"
    with pytest.raises(ValueError, match=match):
        tracker.step(state, GOOD[:, :-1])


BAD_BOXES = [
    ((np.nan, 10, 20, 20), "box nan, 10, 20, 20: not finite"),
    ((10, 10, np.inf, 20), "not finite"),
    ((10, 10, 0, 20), "width and height must be positive"),
    ((10, 10, 20, -1), "width and height must be positive"),
    ((320, 10, 20, 20), "outside the image of 320 x 240 pixels"),
    ((10, 240, 20, 20), "outside the image"),
    ((-20, 10, 20, 20), "outside the image"),
    ((10, -30, 20, 20), "outside the image"),
    ((0, 0, 1, 1), "all values are within 0..1: expected pixels"),
    ([[10, 10], [30, 40]], "corner pairs: expected x, y, w, h, that is x1, y1, x2 - x1, y2 - y1"),
    (None, "not finite|expected four numbers"),
    ({"x": 1}, "expected four numbers"),
    ((10, 10, 20), "expected four numbers x, y, w, h, got 10, 10, 20"),
    ((1, 2, 3, 4, 5), "expected four numbers"),
    ((0, 0, 1e20, 1e20), "expected sides of 0.001 to 1,000,000 pixels"),
    ((40, 30, 1e-30, 20), "expected sides of 0.001 to 1,000,000 pixels"),
    ((10**400, 1, 2, 3), "expected four numbers"),
    ((), "expected four numbers x, y, w, h, got none"),
]


@pytest.mark.parametrize(("box", "match"), BAD_BOXES)
def test_bad_boxes(box, match):
    with pytest.raises(ValueError, match=match):
        make().init(GOOD, box)


# ------------------------------------------------------------------------------------- extremes

BLACK = np.zeros((240, 320, 3), np.uint8)


def moved_out(t):
    """The whole picture slides out to the left, then nothing but grey is left."""
    shift = min(60 * t, 320)
    return np.concatenate([FRAMES[t][:, shift:], np.full((240, shift, 3), 128, np.uint8)], 1)


EXTREMES = {
    "moves out of the image": ([moved_out(t) for t in range(9)], BOX),
    "mostly outside from the start": (FRAMES[:4], (-45.0, 230.0, 48.0, 40.0)),
    "one pixel": (FRAMES[:5], (100.0, 90.0, 1.0, 1.0)),
    "less than a pixel": (FRAMES[:3], (100.2, 90.3, 0.2, 0.1)),
    "one pixel wide": (FRAMES[:3], (100.0, 20.0, 1.0, 200.0)),
    "the whole image": (FRAMES[:3], (0.0, 0.0, 320.0, 240.0)),
    "larger than the image": (FRAMES[:3], (-500.0, -500.0, 2000.0, 2000.0)),
    "black": ([BLACK] * 6, BOX),
    "turns black": ([FRAMES[0], FRAMES[1], BLACK, BLACK, FRAMES[4], FRAMES[5]], BOX),
    "8 x 8 image": ([f[:8, :8] for f in FRAMES[:5]], (2.0, 2.0, 4.0, 4.0)),
    "1 x 1 image": ([f[:1, :1] for f in FRAMES[:3]], (0.0, 0.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_stay_finite(case, method):
    frames, box = EXTREMES[case]
    boxes, scores, state = track(make(method), frames, box)
    assert np.isfinite(boxes).all() and np.isfinite(scores).all()
    assert (boxes[:, 2:] > 0).all()
    for name in ("filt", "memory", "pose"):
        for leaf in jax.tree.leaves(getattr(state, name)):
            assert np.isfinite(np.asarray(leaf)).all(), name
    # The centre leaves the image by 0.3 target sizes at most, of the size before the scale search;
    # the IoU network may go further.
    if method == "scale_search":
        centers = boxes[:, :2] + (boxes[:, 2:] - 1) / 2
        reach = 0.3 * np.maximum(boxes[:, 2:].max(0), box[2:]) + 1
        size_wh = np.array(frames[0].shape[1::-1])
        assert (centers >= -reach).all() and (centers <= size_wh + reach).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_filter_that_is_no_longer_finite_finds_nothing(method):
    """The last box stays, nothing is learned; a good filter would go on from there."""
    tracker = make(method)
    state = tracker.init(FRAMES[0], BOX)
    broken = state.replace(filt=state.filt * np.float32(np.nan))
    after, result = tracker.step(broken, FRAMES[1])
    assert result.verdict == Verdict.NOT_FOUND and not np.isfinite(result.score)
    np.testing.assert_array_equal(result.box_xywh, box_of(state.pose))
    assert_same_bits(after.memory, state.memory)
    good, result = tracker.step(after.replace(filt=state.filt), FRAMES[1])
    assert result.verdict != Verdict.NOT_FOUND and np.isfinite(result.box_xywh).all()


def test_first_pose():
    """h 40 and w 90 with a search area 5 times as large in either direction."""
    pose, base = initial_pose((10, 20, 90, 40), 288, 5.0)
    np.testing.assert_allclose(pose.center_yx, [39.5, 54.5])
    np.testing.assert_allclose(pose.scale, 5 * 60 / 288, rtol=1e-6)
    np.testing.assert_allclose(base * pose.scale, [40, 90], rtol=1e-6)
    np.testing.assert_allclose(box_of(pose), [10, 20, 90, 40], rtol=1e-6)
