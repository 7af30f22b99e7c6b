"""Several lanes against the single tracker: boxes, compilations, what is left alone, refusals."""

import functools

import jax
import numpy as np
import pytest

from dimp_jax.evaluation.runners.lanes import track_many
from dimp_jax.media import sequences
from dimp_jax.tracking import memory, online
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.many.lanes import Lanes
from dimp_jax.tracking.state import TrackerState, box_of
from tests.media.test_sequences import make_sequence
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = pytest.mark.usefixtures("small_backbone")
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
FRAMES = [inputs.clip_frame(t) for t in range(22)]
# Another picture of another size: the same target, seen in a mirror.
MIRRORED = [np.ascontiguousarray(frame[:200, ::-1]) for frame in FRAMES]
MIRRORED_BOX = (320 - BOX[0] - BOX[2], *BOX[1:])
CLIPS = [(FRAMES, BOX), (MIRRORED, MIRRORED_BOX)]
# Not every pair: each takes some ten seconds to compile.
FORMS_AND_METHODS = [
    pytest.param("loop", "scale_search", marks=pytest.mark.long),
    ("vmap", "iou"),
]


def tracker(method):
    return small_tracker.make(small_tracker.settings(method))


def looping() -> Lanes:
    return Lanes(tracker("scale_search"), 2, "loop")


@functools.cache
def alone(method, clip, seed, first=0):
    """Results and last state of the single tracker."""
    frames, box = CLIPS[clip]
    state, results = tracker(method).init(frames[first], box, seed), []
    for frame in frames[first + 1 :]:
        state, result = tracker(method).step(state, frame)
        results.append(result)
    return results, state


def assert_like_alone(results, method, clip, seed, first=0):
    expected = alone(method, clip, seed, first)[0][: len(results)]
    assert [r.verdict for r in results] == [r.verdict for r in expected]
    boxes, expected_boxes = (np.stack([r.box_xywh for r in rs]) for rs in (results, expected))
    np.testing.assert_allclose(boxes, expected_boxes, atol=0.05)


def counts(lanes):
    return [program._cache_size() for program in lanes.programs]


@pytest.mark.parametrize(("form", "method"), FORMS_AND_METHODS)
def test_boxes_are_those_of_one_by_one_and_nothing_compiles(form, method):
    """Two clips of two sizes; one ends early, its lane pauses, and is then used for another."""
    lanes = Lanes(tracker(method), 2, form)
    lanes.warmup()
    variants = online.learning_variants(lanes.tracker.config.tracker.memory)
    updates = {num_iter for _, num_iter in variants if num_iter}
    compiled = counts(lanes)
    assert compiled == [0, 1, 1, 1, len(updates)]

    states, results = lanes.empty(), {"first": [], "second": [], "third": []}
    states = lanes.init(states, 0, FRAMES[0], BOX, seed=3)
    states = lanes.init(states, 1, MIRRORED[0], MIRRORED_BOX, seed=4)
    for t in range(1, len(FRAMES)):
        second = None
        if t < 9:
            second = MIRRORED[t]
        elif t == 11:  # two frames after it became idle
            states = lanes.init(states, 1, FRAMES[10], BOX, seed=5)
        if t >= 11:
            second = FRAMES[t]
        states, (one, two) = lanes.step(states, [FRAMES[t], second])
        results["first"].append(one)
        if second is not None:
            results["second" if t < 9 else "third"].append(two)
        else:
            assert two is None
    assert_like_alone(results["first"], method, clip=0, seed=3)
    assert_like_alone(results["second"], method, clip=1, seed=4)
    assert_like_alone(results["third"], method, clip=0, seed=5, first=10)
    assert counts(lanes) == compiled
    verdicts = {result.verdict for result in results["first"] + results["second"]}
    if method == "iou":
        assert {Verdict.NORMAL, Verdict.HARD_NEGATIVE} <= verdicts, "the case shows too little"

    # What the lanes have learned is what the single tracker has.
    state, expected = take(states, 0), alone(method, 0, 3)[1]
    assert state.frame == expected.frame
    np.testing.assert_allclose(state.filt, expected.filt, atol=1e-4)
    np.testing.assert_array_equal(state.memory.num_stored, expected.memory.num_stored)
    np.testing.assert_allclose(state.memory.weight, expected.memory.weight, atol=1e-6)
    assert (jax.random.key_data(state.key) == jax.random.key_data(expected.key)).all()


def take(states, lane):
    """A lane's state: what the single tracker would have."""
    one, target = jax.tree.map(lambda leaf: leaf[lane], states.stack), states.targets[lane]
    learned = {"filt": one.filt, "memory": one.memory, "modulation": one.modulation}
    return TrackerState(**target._asdict(), **learned, key=one.key)


def started():
    lanes = looping()
    states = lanes.init(lanes.empty(), 0, FRAMES[0], BOX)
    return lanes, lanes.init(states, 1, MIRRORED[0], MIRRORED_BOX)


def test_a_lane_without_an_image_stays_as_it_is():
    lanes, states = started()
    before = take(states, 1)
    states, (_, none) = lanes.step(states, [FRAMES[1], None])
    after = take(states, 1)
    assert none is None and before.frame == after.frame == 1
    for name in ("pose", "filt", "memory", "modulation"):
        one, other = (jax.tree.leaves(getattr(state, name)) for state in (before, after))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_samples_are_stored_in_place():
    """The features of all lanes are donated, not copied."""
    lanes, states = started()
    address = states.stack.memory.feat.unsafe_buffer_pointer()
    after, results = lanes.step(states, [FRAMES[1], MIRRORED[1]])
    assert results[0].verdict == Verdict.NORMAL
    assert after.stack.memory.feat.unsafe_buffer_pointer() == address
    assert int(after.stack.memory.num_stored[0]) == int(after.stack.memory.num_init + 1)
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        lanes.step(states, [FRAMES[1], MIRRORED[1]])


def test_an_insertion_that_is_masked_changes_nothing():
    rng = np.random.default_rng(0)
    feat = rng.standard_normal((3, 2, 2, 4)).astype(np.float32)
    made = memory.create(feat, np.ones((3, 4), np.float32), 5)
    new = (feat[0] + 1, np.zeros(4, np.float32), 0.1, 0.25)
    stored, expected = memory.insert(made, *new, stored=np.True_), memory.insert(made, *new)
    masked = memory.insert(made, *new, stored=np.False_)
    for one, other in ((stored, expected), (masked, made)):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    assert int(stored.num_stored) == 4


def test_a_pose_that_cannot_be_followed_ends_its_lane_alone():
    lanes, states = started()
    pose = states.targets[0].pose.replace(center_yx=np.full(2, np.nan, np.float32))
    broken = states.targets[0]._replace(pose=pose)
    states = states._replace(targets=(broken, states.targets[1]))
    states, results = lanes.step(states, [FRAMES[1], MIRRORED[1]])
    assert isinstance(results[0], ValueError) and "NaN" in str(results[0])
    assert_like_alone([results[1]], "scale_search", clip=1, seed=0)
    states = lanes.init(states, 0, FRAMES[0], BOX)
    states, results = lanes.step(states, [FRAMES[1], None])
    assert_like_alone([results[0]], "scale_search", clip=0, seed=0)


def test_a_filter_that_is_no_longer_finite_finds_nothing_in_its_lane_alone():
    lanes, states = started()
    last = box_of(states.targets[0].pose)
    stack = states.stack.replace(filt=states.stack.filt.at[0].set(np.nan))
    states, results = lanes.step(states._replace(stack=stack), [FRAMES[1], MIRRORED[1]])
    assert results[0].verdict == Verdict.NOT_FOUND and not np.isfinite(results[0].score)
    np.testing.assert_array_equal(results[0].box_xywh, last)
    assert_like_alone([results[1]], "scale_search", clip=1, seed=0)
    for target, result in zip(states.targets, results, strict=True):
        result.box_xywh[2:] += result.box_xywh[:2]  # its user wants corners
        assert (box_of(target.pose)[2:] < result.box_xywh[2:]).all()


def test_refusals_leave_the_states_usable():
    lanes = looping()
    states = lanes.init(lanes.empty(), 1, FRAMES[0], BOX)
    refused = [
        (lambda: lanes.step(states, [None]), "1 images for 2 lanes"),
        (lambda: lanes.step(states, [FRAMES[1], None]), "lane 0 has an image, but was not started"),
        (lambda: lanes.step(states, [None, MIRRORED[1]]), "the first frame was"),
        (lambda: lanes.init(states, 2, FRAMES[0], BOX), "lane 2: expected 0 .. 1"),
        (lambda: lanes.init(states, 0, FRAMES[0], (900, 0, 9, 9)), "outside the image"),
        (lambda: Lanes(tracker("scale_search"), 0), "size=0: expected at least one lane"),
    ]
    for call, match in refused:
        with pytest.raises(ValueError, match=match):
            call()
    states, results = lanes.step(states, [None, FRAMES[1]])
    assert_like_alone([results[1]], "scale_search", clip=0, seed=0)


def test_real_lanes_track_real_files(tmp_path):
    """The same boxes as the runner's loop gives, from files, with one lane more than sequences."""
    lanes = looping()
    sequence = sequences.load_sequence(make_sequence(tmp_path / "s", count=4))
    ((_, outcome),) = track_many(lanes, [("s", sequence, 10)])
    single = lanes.tracker
    images = [image for _, image in sequence.images()]
    state, boxes = single.init(images[0], sequence.init_box, 10), [sequence.init_box]
    for image in images[1:]:
        state, result = single.step(state, image)
        boxes.append(result.box_xywh)
    np.testing.assert_allclose(outcome.boxes, boxes, atol=0.05)
