"""The four verdicts on hand-made score maps, ties, windows and scales."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import LocalizeConfig
from dimp_jax.tracking import localize as module
from dimp_jax.tracking.localize import Verdict, hann_window, peak_of

S, CROP_PX, OUTPUT = 19, 288, 18  # the centre is cell 9; a cell is 16 crop pixels
localize = jax.jit(module.localize, static_argnums=(5, 6, 7))
DEFAULT = LocalizeConfig()
CENTER = np.float32([100.0, 200.0])
SIZE = np.float32([64.0, 64.0])  # at scale 1 the neighbourhood is 2.2 * 4 = 8.8 cells


def score_map(*peaks, background=0.0):
    scores = np.full((S, S), background, np.float32)
    for row, col, value in peaks:
        scores[row, col] = value
    return scores


def find(*maps, config=DEFAULT, center=CENTER, sample_pos=None, scales=None, size=SIZE):
    count = len(maps)
    sample_pos = np.tile(CENTER, (count, 1)) if sample_pos is None else np.float32(sample_pos)
    scales = np.ones(count, np.float32) if scales is None else np.float32(scales)
    return localize(np.stack(maps), center, size, sample_pos, scales, config, CROP_PX, OUTPUT)


def check(found, verdict, translation_yx):
    assert Verdict(int(found.verdict)) == verdict
    np.testing.assert_allclose(found.translation_yx, translation_yx, atol=1e-4)


@pytest.mark.parametrize(("row", "col"), [(9, 9), (5, 12), (0, 18)])
def test_normal(row, col):
    found = find(score_map((row, col, 0.7)))
    check(found, Verdict.NORMAL, ((row - 9) * 16, (col - 9) * 16))
    np.testing.assert_allclose(found.max_score, 0.7)


def test_translation_is_in_image_pixels():
    check(find(score_map((5, 12, 0.7)), scales=[0.5]), Verdict.NORMAL, (-32, 24))


def test_not_found():
    assert find(score_map((5, 12, 0.2499))).verdict == Verdict.NOT_FOUND
    assert find(score_map((5, 12, 0.25))).verdict == Verdict.NORMAL
    assert find(score_map(background=-1.0)).verdict == Verdict.NOT_FOUND


@pytest.mark.parametrize("advanced", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_found(value, advanced):
    """Anywhere, in any of the maps."""
    config = dataclasses.replace(DEFAULT, advanced=advanced)
    good = score_map((9, 9, 0.7))
    assert find(good, good, config=config).verdict == Verdict.NORMAL
    bad = score_map((9, 9, 0.7), (0, 3, value))
    for maps in ((good, bad), (bad, good)):
        assert find(*maps, config=config).verdict == Verdict.NOT_FOUND


NEAR, FAR = (9, 14), (0, 0)  # 5 and 12.7 cells from the centre; the limit is 0.8 * 19 / 2 = 7.6


def test_hard_negative_beside_a_weaker_peak():
    """More than half of the peak, and more than the threshold of a find."""
    check(find(score_map((9, 9, 1.0), (*NEAR, 0.6))), Verdict.HARD_NEGATIVE, (0, 0))
    check(find(score_map((9, 9, 1.0), (*NEAR, 0.5))), Verdict.NORMAL, (0, 0))
    check(find(score_map((9, 9, 0.4), (*NEAR, 0.24))), Verdict.NORMAL, (0, 0))
    check(find(score_map((9, 9, 0.4), (*NEAR, 0.26))), Verdict.HARD_NEGATIVE, (0, 0))


def test_uncertain_between_two_near_peaks():
    check(find(score_map((9, 9, 1.0), (*NEAR, 0.9))), Verdict.UNCERTAIN, (0, 0))


def test_uncertain_between_two_far_peaks():
    check(find(score_map((*FAR, 1.0), (18, 18, 0.9))), Verdict.UNCERTAIN, (-144, -144))


def test_a_far_distractor_is_a_hard_negative():
    check(find(score_map((9, 9, 1.0), (*FAR, 0.9))), Verdict.HARD_NEGATIVE, (0, 0))


def test_the_near_one_of_two_peaks_is_followed_even_if_it_is_lower():
    scores = score_map((*FAR, 1.0), (9, 10, 0.9))
    found = find(scores)
    check(found, Verdict.HARD_NEGATIVE, (0, 16))
    np.testing.assert_allclose(found.max_score, 1.0)  # of the map, not of the followed peak


def test_near_means_near_the_previous_target():
    """The sample lies 8 cells to the right of the target: what is near is now on the left."""
    scores = score_map((9, 9, 1.0), (9, 1, 0.9))
    aside = CENTER + np.float32([0, 8 * 16])
    check(find(scores), Verdict.HARD_NEGATIVE, (0, 0))
    check(find(scores, sample_pos=[aside]), Verdict.HARD_NEGATIVE, (0, -8 * 16))


def test_neighbourhood_of_the_peak():
    """Rows and columns [round(9 - 4.4), round(9 + 4.4 + 1)) = 5 ... 13 belong to the peak."""
    config = dataclasses.replace(DEFAULT, distractor_threshold=100.0)
    for col, verdict in ((13, Verdict.NORMAL), (14, Verdict.HARD_NEGATIVE), (5, Verdict.NORMAL)):
        check(find(score_map((9, 9, 1.0), (9, col, 0.9)), config=config), verdict, (0, 0))
    check(find(score_map((9, 9, 1.0), (9, 4, 0.9)), config=config), Verdict.HARD_NEGATIVE, (0, 0))
    # Twice as long in y alone: 17.6 cells, all rows.
    tall = SIZE * np.float32([2, 1])
    check(find(score_map((9, 9, 1.0), (1, 9, 0.9)), config=config, size=tall), Verdict.NORMAL, 0)
    wide = find(score_map((9, 9, 1.0), (1, 9, 0.9)), config=config, size=tall[::-1])
    check(wide, Verdict.HARD_NEGATIVE, (0, 0))


def test_a_neighbourhood_larger_than_the_map():
    found = find(score_map((9, 9, 1.0), (0, 0, 0.99)), size=SIZE * 10)
    check(found, Verdict.NORMAL, (0, 0))


def test_optional_thresholds():
    """Each overrides those below it: not found, uncertain, hard sample."""
    config = dataclasses.replace(DEFAULT, uncertain_threshold=0.4, hard_sample_threshold=0.6)
    verdicts = (
        (0.2, Verdict.NOT_FOUND),
        (0.3, Verdict.UNCERTAIN),
        (0.5, Verdict.HARD_NEGATIVE),
        (0.7, Verdict.NORMAL),
    )
    for value, verdict in verdicts:
        check(find(score_map((9, 9, value)), config=config), verdict, (0, 0))
    # Below a threshold the first peak is followed, whatever is near the old target.
    check(find(score_map((*FAR, 0.5), (9, 9, 0.45)), config=config), Verdict.HARD_NEGATIVE, -144)


def test_ties_go_to_the_smallest_column_then_row():
    assert peak_of(jnp.asarray(score_map((3, 12, 1), (12, 3, 1))))[1].tolist() == [12, 3]
    assert peak_of(jnp.asarray(score_map((3, 12, 1), (12, 12, 1))))[1].tolist() == [3, 12]
    assert peak_of(jnp.asarray(score_map(background=0.5)))[1].tolist() == [0, 0]


@pytest.mark.parametrize("preprocess", ["none", "softmax"])
@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_constant_maps_stay_finite(value, window, preprocess):
    config = LocalizeConfig(
        window=window, hard_negative_without_window=window, score_preprocess=preprocess
    )
    found = find(score_map(background=value), config=config)
    for array in found:
        assert np.isfinite(array).all()
    if value != 1 or preprocess == "softmax":
        assert found.verdict == Verdict.NOT_FOUND
    else:
        assert found.verdict != Verdict.NOT_FOUND
        middle = 0 if window else -144
        np.testing.assert_allclose(found.translation_yx, middle, atol=1e-3)


def test_hann_window():
    np.testing.assert_allclose(
        hann_window(3), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]), rtol=0, atol=1e-6
    )
    window = np.asarray(hann_window(S))
    assert window.shape == (S, S) and window.min() > 0
    np.testing.assert_allclose(window[9, 9], 1, rtol=1e-6)
    np.testing.assert_allclose(window, window[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(window[0, 9], 0.5 * (1 - np.cos(2 * np.pi / 20)), rtol=1e-5)


def test_window_chooses_the_peak_but_is_not_in_the_scores():
    config = dataclasses.replace(DEFAULT, window=True, hard_negative_without_window=True)
    scores = score_map((9, 9, 0.6), (0, 0, 1.0))
    found = find(scores, config=config)
    # The second peak, judged without the window, is the higher one.
    check(found, Verdict.HARD_NEGATIVE, (0, 0))
    np.testing.assert_array_equal(found.scores[0], scores)
    assert found.max_score == 1
    # Published quirk: without the second option there is no window at all.
    config = dataclasses.replace(config, hard_negative_without_window=False)
    check(find(score_map((9, 9, 0.3), (0, 0, 1.0)), config=config), Verdict.NORMAL, -144)


def test_threshold_zero_of_windowed_negative_scores():
    config = dataclasses.replace(
        DEFAULT, window=True, hard_negative_without_window=True, not_found_threshold=0.0
    )
    assert find(score_map(background=-1e-38), config=config).verdict == Verdict.NOT_FOUND
    assert find(score_map((9, 9, 1e-30)), config=config).verdict != Verdict.NOT_FOUND


def test_the_scale_with_the_highest_peak_is_used():
    maps = (score_map((9, 9, 0.5)), score_map((9, 11, 0.8)), score_map((3, 9, 0.6)))
    found = find(*maps, scales=[1.0, 0.5, 2.0])
    assert found.scale_index == 1 and found.scores.shape == (3, S, S)
    check(found, Verdict.NORMAL, (0, 2 * 16 * 0.5))
    np.testing.assert_allclose(found.max_score, 0.8)


def test_without_advanced_localisation_all_is_normal():
    config = dataclasses.replace(DEFAULT, advanced=False)
    for scores in (score_map((5, 12, 0.1)), score_map((5, 12, 1.0), (0, 0, 0.99))):
        check(find(scores, config=config), Verdict.NORMAL, (-64, 48))


def test_softmax():
    config = dataclasses.replace(DEFAULT, score_preprocess="softmax", not_found_threshold=0.04)
    found = find(score_map((5, 12, 20.0)), config=config)
    check(found, Verdict.NORMAL, (-64, 48))
    np.testing.assert_allclose(found.scores.sum(), 1, rtol=1e-5)
    assert find(score_map((5, 12, 0.1)), config=config).verdict == Verdict.NOT_FOUND


def test_score_filter_sums_a_box():
    config = dataclasses.replace(DEFAULT, score_filter_cells=3)
    found = find(score_map((9, 9, 0.5), (9, 11, 0.4)), config=config)
    assert found.scores.shape == (1, S, S)
    np.testing.assert_allclose(found.scores[0, 9, 8:13], [0.5, 0.5, 0.9, 0.4, 0.4], rtol=1e-6)
    check(found, Verdict.NORMAL, (-16, 16))  # of the equal sums the first row


def test_motion_prior_prefers_the_peak_near_the_last_position():
    """5 cells away, 1.25 target sizes, a peak keeps 1 - 0.4 (1 - exp(-0.78)) = 0.78 of itself."""
    prior = dataclasses.replace(DEFAULT, motion_prior=0.4)
    far, near = (9, 14), (9, 9)
    rival = score_map((*near, 0.60), (*far, 0.70))
    check(find(rival), Verdict.UNCERTAIN, (0, 80))
    found = find(rival, config=prior)
    check(found, Verdict.UNCERTAIN, (0, 0))  # 0.7 * 0.78 < 0.6; the rival is as strong as it is
    np.testing.assert_allclose(found.max_score, 0.70)
    weaker = score_map((*near, 0.5), (*far, 0.70))
    check(find(weaker, config=prior), Verdict.HARD_NEGATIVE, (0, 80))
    # Where the target was, not the middle of the window, is what counts.
    moved = {"center": CENTER + np.float32([0, 80]), "sample_pos": [CENTER]}
    turned = score_map((*near, 0.70), (*far, 0.60))
    check(find(turned, config=prior, **moved), Verdict.UNCERTAIN, (0, 80))


def test_motion_prior_does_not_judge_what_is_found():
    prior = dataclasses.replace(DEFAULT, motion_prior=0.9)
    check(find(score_map((0, 18, 0.26)), config=prior), Verdict.NORMAL, (-144, 144))
    check(find(score_map((0, 18, 0.24)), config=prior), Verdict.NOT_FOUND, (-144, 144))
