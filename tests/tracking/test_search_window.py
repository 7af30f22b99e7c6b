"""The search window grows while the target is lost: one tracker, lanes, a shared window."""

import dataclasses

import numpy as np
import pytest

from dimp_jax.config import LocalizeConfig
from dimp_jax.tracking import online
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.many.lanes import Lanes, LaneStates, Target
from dimp_jax.tracking.many.objects import Objects
from dimp_jax.tracking.search_window import check_growth, growth, judged
from dimp_jax.tracking.state import Pose, box_of
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = pytest.mark.usefixtures("small_backbone")
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
FRAMES = [inputs.clip_frame(t) for t in range(6)]
GROWING = LocalizeConfig(search_growth=(1.0, 1.5, 2.0))


def tracker():
    """One whose window grows to 1.5 and 2 sides."""
    return small_tracker.make(small_tracker.settings("iou"))


def window_side_px(details):
    start, stop = details.coord_yxyx[0, :2], details.coord_yxyx[0, 2:]
    return (stop - start)[0]


def lost_state(frames_lost):
    """A state after the second frame, as if the target had not been found for so long."""
    state, result = tracker().step(tracker().init(FRAMES[0], BOX, 3), FRAMES[1])
    assert result.verdict != Verdict.NOT_FOUND
    return dataclasses.replace(state, frames_lost=frames_lost)


def test_growth_by_the_frames_lost():
    assert [growth(GROWING, lost) for lost in range(6)] == [1, 1, 1.5, 2, 2, 2]
    assert [growth(LocalizeConfig(), lost) for lost in (0, 1, 99)] == [1, 1, 1]


@pytest.mark.parametrize("verdict", Verdict)
def test_a_find_in_a_grown_window_is_uncertain(verdict):
    assert judged(GROWING, 1, verdict) == verdict
    found = verdict != Verdict.NOT_FOUND
    assert judged(GROWING, 2, verdict) == (Verdict.UNCERTAIN if found else verdict)


@pytest.mark.parametrize("factors", [(0.5,), (1.0, 0.0), (np.inf,), (np.nan,)])
def test_a_window_that_shrinks_or_never_ends_is_refused(factors):
    with pytest.raises(ValueError, match=r"localize.search_growth=\(.*expected finite and 1 or"):
        check_growth(LocalizeConfig(search_growth=factors))


def test_the_window_grows_until_the_target_is_found():
    """With a filter of zeros all scores are 0: below the threshold of 0.01."""
    state = lost_state(0)
    blind, sides = dataclasses.replace(state, filt=0 * state.filt), []
    for image in FRAMES[2:]:
        blind, result, details = tracker().detailed_step(blind, image)
        assert result.verdict == Verdict.NOT_FOUND
        np.testing.assert_array_equal(box_of(blind.pose), box_of(state.pose))
        sides.append(window_side_px(details))
    np.testing.assert_allclose(np.array(sides) / sides[0], [1, 1.5, 2, 2], atol=0.01)
    assert blind.frames_lost == 4

    seeing = dataclasses.replace(blind, filt=state.filt)
    found, result, details = tracker().detailed_step(seeing, FRAMES[1])
    assert result.verdict == Verdict.UNCERTAIN and found.frames_lost == 0
    assert details.losses is None, "learned from a coarser crop"
    assert found.memory is seeing.memory
    _, _, details = tracker().detailed_step(found, FRAMES[1])
    usual = found.pose.scale * tracker().config.tracker.crop_size_px
    assert window_side_px(details) == pytest.approx(usual, rel=0.02)


def test_a_lane_looks_as_far():
    lanes, state = Lanes(tracker(), 2, "vmap"), lost_state(2)
    expected_state, expected, details = tracker().detailed_step(state, FRAMES[2])
    usual = state.pose.scale * tracker().config.tracker.crop_size_px
    assert window_side_px(details) == pytest.approx(2 * usual, rel=0.02)
    states, results = lanes.step(lanes.put(lanes.empty(), 1, state), [None, FRAMES[2]])
    assert results[1].verdict == expected.verdict == Verdict.UNCERTAIN
    np.testing.assert_allclose(results[1].box_xywh, expected.box_xywh, atol=0.05)
    assert states.targets[1].frames_lost == expected_state.frames_lost == 0


def test_the_window_of_all_objects_holds_that_of_a_lost_one(monkeypatch):
    settings = small_tracker.settings("scale_search", shared_crop=True)
    objects, seen = Objects(small_tracker.make(settings), 2), []

    def looked(config, window, image, network):
        seen.append(float(window.scale))
        raise InterruptedError

    monkeypatch.setattr(online, "sample_crops", looked)
    image_hw = np.array(FRAMES[0].shape[:2])
    here = Pose(np.float32([120, 160]), np.float32([30, 30]), np.float32(1))
    for frames_lost in (0, 1, 2):
        lost = Target(here, here.size_hw, image_hw, 9, frames_lost)
        states = LaneStates(None, (lost, lost._replace(frames_lost=0)))
        with pytest.raises(InterruptedError):
            objects.step(states, FRAMES[0])
    assert seen == [1, 1.5, 2]
