"""The trials of the study `refinement`: a step of the tracker, jitter, spread frames."""

import dataclasses

import jax
import numpy as np
import pytest

from dimp_jax.evaluation.metrics import curves
from dimp_jax.studies.refinement import trials as refinement_trials
from dimp_jax.tracking import draws, online, programs
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.state import box_of
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = pytest.mark.usefixtures("small_backbone")
FRAMES = [inputs.clip_frame(t) for t in range(3)]
BOX = (100.0, 80.0, 41.0, 31.0)  # whole centre: the crop is the same, cut around its own centre


@pytest.mark.long
def test_a_trial_is_what_a_frame_of_the_tracker_does(monkeypatch):
    """With the classifier's displacement taken out, `look` and `refine_all` give the same box."""
    whole = small_tracker.make(small_tracker.settings("iou"))
    localize = programs.localize

    def in_place(*args):
        found = localize(*args)
        return found._replace(
            translation_yx=0 * found.translation_yx, verdict=jax.numpy.int32(Verdict.NORMAL)
        )

    monkeypatch.setattr(programs, "localize", in_place)
    made = programs.build.__wrapped__(small_tracker.MODEL, whole.config.tracker)
    still = whole.network._replace(programs=whole.network.programs._replace(look=made.look))
    state = whole.init(FRAMES[0], BOX)
    count = whole.config.tracker.refine.num_random_boxes
    numbers = draws.for_frame(state.key, 1, count)
    tracked, *_ = online.step_with(still, whole.config.tracker, state, FRAMES[1], numbers)

    target = refinement_trials.Target("clip", (), np.array([BOX]), np.array([0]), state)
    _, _, positions, _ = online.sample_crops(
        whole.config.tracker, state.pose, FRAMES[1], whole.network
    )
    pose = dataclasses.replace(state.pose, center_yx=positions[0])
    trial = refinement_trials.Trial(target, FRAMES[1], pose, 1)
    (refined,) = refinement_trials.refine_all(whole, [trial])
    np.testing.assert_allclose(box_of(refined), box_of(tracked.pose), atol=1e-3)
    assert abs(box_of(refined) - box_of(pose)).max() > 0.05, "nothing was refined"


def test_jitter_has_the_spread_that_it_says():
    rng = np.random.default_rng(0)
    box = np.array([10.0, 20.0, 16.0, 4.0])
    boxes = np.stack([refinement_trials.jittered(box, 0.2, 0.3, rng) for _ in range(4000)])
    truth = np.tile(box, (len(boxes), 1))
    moved = curves.center_offset(boxes, truth) / 8  # sqrt(w h)
    grown = np.log(boxes[:, 2:] / box[2:])
    # Four standard errors of a mean and of a standard deviation of 4000 values.
    for values, sigma in ((moved, 0.2), (grown, 0.3)):
        assert abs(values.mean(0)).max() < 4 * sigma / 4000**0.5
        assert abs(values.std(0) / sigma - 1).max() < 4 / 8000**0.5
    assert abs(np.corrcoef(np.hstack([moved, grown]).T) - np.eye(4)).max() < 4 / 4000**0.5
    np.testing.assert_allclose(refinement_trials.jittered(box, 0.0, 0.0, rng), box)


@pytest.mark.parametrize(("count", "expected"), [(1, [3]), (2, [3, 9]), (3, [3, 6, 9]), (9, None)])
def test_frames_are_spread(count, expected):
    frames = np.array([3, 4, 6, 7, 9])
    assert list(refinement_trials.spread(frames, count)) == (expected or list(frames))
