"""Problems of the studies: which frames, the memory, the initial filter, quality of scores."""

import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.media import sequences
from dimp_jax.models.dimp import DiMP
from dimp_jax.studies import problems
from tests.media.test_sequences import make_sequence
from tests.support import small_tracker, study_problems


def sequence(folder, count=10, absent=()):
    (found,) = sequences.load_folder(make_sequence(folder, count=count))
    found.groundtruth[list(absent)] = np.nan
    return found


def test_frames_are_spread_and_test_frames_have_ground_truth_there_and_before(tmp_path):
    found = sequence(tmp_path / "s", count=10, absent=(3,))
    assert problems.fit_frames(found, (0, 2, 5, 9, 20), 4) == [0, 2, 5]  # none follows the ninth
    assert problems.later_frames(found, 2, 4, 4) == [5, 6]  # 3 is hidden, so 4 has no window
    assert problems.later_frames(found, 0, 4, 4) == [1, 2]
    assert problems.later_frames(found, 5, 2, 4) == [6, 9]
    assert problems.later_frames(found, 9, 2, 4) == []


def test_memory_and_held_out_frames_of_a_tracked_sequence(tmp_path):
    found = sequence(tmp_path / "s")
    drawn = problems.from_tracking(
        study_problems.Tracker(),
        study_problems.Extractor(),
        found,
        [0, 3],
        later=3,
        horizon=2,
        seed=0,
    )
    (first, at_first), (second, at_second) = drawn
    assert (first, second) == (0, 3)
    assert float(at_first.tracked[0, 0, 0]) == 0 and float(at_second.tracked[0, 0, 0]) == 3
    assert at_second.test_feat.shape == (3, 4, 4, 3)
    np.testing.assert_array_equal(at_second.test_weight, [1, 1, 0])  # two frames, one filled up
    # The target moves by a pixel a frame; the window of 60 px becomes a crop of 64.
    center = at_second.test_box_xywh[:, :2] + at_second.test_box_xywh[:, 2:] / 2
    np.testing.assert_allclose(center[0], [32 + 64 / 60, 32], atol=0.6)


def test_the_initial_filter_is_the_weighted_mean_of_each_samples_filter():
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    params = {"filter_init": {"conv": {"kernel": normal(3, 3, 2, 2), "bias": normal(2)}}}
    extractor = problems.Extractor(small_tracker.MODEL, params)
    feat, box = normal(2, 4, 4, 2), jnp.array([[8.0, 8.0, 40.0, 40.0], [16.0, 8.0, 20.0, 30.0]])
    share = lambda *values: extractor.initial_filter(feat, box, jnp.array(values))
    expected = DiMP(small_tracker.MODEL, folded=True).apply(
        {"params": params}, feat, box, method="initial_filter"
    )
    np.testing.assert_allclose(share(0.5, 0.5), expected, atol=1e-6)
    np.testing.assert_allclose(
        0.25 * share(1.0, 0) + 0.75 * share(0, 1.0), share(0.25, 0.75), atol=1e-6
    )


def test_quality_of_known_scores():
    problem = study_problems.random_problem(count=2)
    spots = jnp.zeros((2, 6, 6, 4)).at[0, 3, 3, 0].set(1.0).at[1, 0, 0, 0].set(0.5)
    problem = problem._replace(test_feat=spots)
    filt = jnp.zeros((4, 4, 4)).at[2, 2, 0].set(1.0)  # a copy of the features
    # Centre (3, 3): the first frame's peak is there, the second one's three cells away.
    found = problems.quality(filt, problem)
    assert float(found.hit) == 0.5
    assert float(found.margin) == pytest.approx((1.0 - 0.5) / 2)
    first = problem._replace(test_weight=jnp.array([1.0, 0.0]))
    assert float(problems.quality(filt, first).margin) == pytest.approx(1)
