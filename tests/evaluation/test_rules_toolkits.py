"""The rules of the official toolkits on sequences whose scores are worked out by hand."""

import numpy as np
import pytest

from dimp_jax.evaluation.metrics import rules
from tests.evaluation.test_rules import ABSENT, BOX, FAR, NAN, score, values

WIDE = [10.0, 10.0, 30.0, 10.0]
HALF = [20.0, 10.0, 30.0, 10.0]  # overlap with WIDE 20 / 40 = 0.5; 10 px, 1/3 width away
PERFECT_AUC = 20 / 21  # an overlap of 1 is not above the threshold 1


def approx(**expected):
    return {key: pytest.approx(value, abs=1e-12) for key, value in expected.items()}


# OTB and UAV123


@pytest.mark.parametrize("name", ["otb", "uav"])
@pytest.mark.parametrize("absent", [ABSENT, NAN, [0.0, 10.0, 20.0, 10.0]])
def test_matlab_absent_frames_fail_in_success_and_hit_in_precision(name, absent):
    # Two hits (the first box is replaced), one frame that is not all > 0, one miss.
    predicted = [FAR, BOX, [0.0, 10.0, 20.0, 10.0], FAR]
    got = score(name, predicted, [BOX, BOX, absent, BOX])
    assert got.values == approx(auc=0.5 * PERFECT_AUC, precision_20=0.75, op_50=0.5)
    assert got.precision[0] == 0.75  # a hit at 0 px, too
    assert got.frames == 4
    assert got.norm_precision is None


@pytest.mark.parametrize("broken", [[10.0, 10.0, 0.0, 10.0], [10.0, 10.0, 20.0, -1.0], NAN])
@pytest.mark.parametrize("name", ["otb", "uav", "lasot"])
def test_matlab_broken_boxes_are_copies_of_the_one_before(name, broken):
    assert values(name, [BOX, BOX, broken, broken], [BOX] * 4)["op_50"] == 1.0
    # The copy is of the first box as predicted: the ground truth replaces it afterwards.
    assert values(name, [FAR, broken, BOX, BOX], [BOX] * 4)["op_50"] == 0.75
    # Where the ground truth is NaN nothing is copied, so that the next copy is broken, too.
    assert values(name, [BOX, broken, broken, BOX], [BOX, NAN, BOX, BOX])["op_50"] == 0.5


def test_matlab_a_box_of_numbers_and_nan():
    partly = [10.0, np.nan, 20.0, 10.0]
    with pytest.raises(ValueError, match="frame 2 has a NaN"):
        score("otb", [BOX, partly], [BOX, BOX])
    assert values("lasot", [BOX, partly], [BOX, BOX])["op_50"] == 1.0  # a copy


@pytest.mark.parametrize("name", ["otb", "uav", "lasot"])
def test_matlab_success_is_above_the_threshold(name):
    got = score(name, [WIDE, HALF], [WIDE, WIDE])
    assert got.values["op_50"] == 0.5
    assert got.values["auc"] == pytest.approx((20 + 10) / 42)  # 0 .. 0.45


@pytest.mark.parametrize("name", ["otb", "uav", "lasot"])
def test_matlab_a_curve_of_zeros_is_not_in_its_mean(name):
    absent_first = [score(name, [FAR, FAR], [ABSENT, BOX]), score(name, [BOX, BOX], [BOX, BOX])]
    assert absent_first[0].values["auc"] == 0.0
    got = rules.mean_score(rules.get(name), absent_first)
    assert got.values["auc"] == pytest.approx(PERFECT_AUC)  # of the second alone
    assert got.values["precision_20"] == 0.75  # of both: the absent frame was a hit
    none_left = rules.mean_score(rules.get(name), absent_first[:1])
    assert (none_left.values["auc"], none_left.values["precision_20"]) == (0.0, 0.5)


@pytest.mark.parametrize("name", ["pytracking", "pysot", "trackingnet", "visible"])
def test_the_others_keep_a_sequence_without_any_success(name):
    rule = rules.get(name)
    scores = [score(name, [FAR, FAR], [FAR, BOX]), score(name, [BOX, BOX], [BOX, BOX])]
    both = rules.mean_score(rule, [scores[0]._replace(success=0 * scores[0].success), scores[1]])
    assert both.values["auc"] == pytest.approx(scores[1].values["auc"] / 2)


@pytest.mark.parametrize("name", ["otb", "uav"])
def test_matlab_more_boxes_than_frames_are_refused(name):
    with pytest.raises(ValueError, match="3 predicted boxes for 2 frames"):
        score(name, [BOX] * 3, [BOX] * 2)


# LaSOT


def test_lasot_removes_absent_frames_and_keeps_the_length():
    predicted = [FAR, BOX, BOX, FAR]
    got = score("lasot", predicted, [BOX] * 4, visible=[True, True, False, True])
    assert got.values == approx(
        auc=0.5 * PERFECT_AUC, precision_20=0.5, norm_precision_20=0.5, op_50=0.5
    )
    assert got.frames == 4


def test_lasot_a_box_at_0_is_still_a_miss_and_a_hit():
    at_0 = [0.0, 10.0, 20.0, 10.0]
    assert values("lasot", [BOX, at_0], [BOX, at_0]) == approx(
        auc=0.5 * PERFECT_AUC, precision_20=1.0, norm_precision_20=1.0, op_50=0.5
    )


def test_lasot_cuts_longer_predictions_and_normalises_by_both_sizes():
    inside, below = [13.9, 10.0, 20.0, 10.0], [10.0, 12.1, 20.0, 10.0]  # 0.195 and 0.21
    got = values("lasot", [BOX, inside, below, FAR, FAR], [BOX] * 3)
    assert got["norm_precision_20"] == pytest.approx(2 / 3)
    assert got["precision_20"] == 1.0


def test_lasot_all_frames_absent():
    got = score("lasot", [BOX, BOX], [BOX, BOX], visible=[False, False])
    assert set(got.values.values()) == {0.0}
    other = score("lasot", [BOX, BOX], [BOX, BOX])
    assert rules.mean_score(rules.get("lasot"), [got, other]).values["precision_20"] == 1.0


# TrackingNet


def test_trackingnet_reaches_thresholds_and_measures_areas_by_trapezoids():
    got = score("trackingnet", [FAR, HALF], [WIDE, WIDE])
    # Success: both at 0 .. 0.5 (11 thresholds), the first alone at the other 10.
    # Precision: 10 px is the 5th of 0, 2.5 .. 50; 1/3 is within 0.35, the 15th of 0, 0.025 .. 0.5.
    assert got.values == approx(
        auc=(11 * 1.0 + 10 * 0.5 - (1.0 + 0.5) / 2) / 20,
        precision_auc=(4 * 0.5 + 17 * 1.0 - (0.5 + 1.0) / 2) / 20,
        norm_precision_auc=(14 * 0.5 + 7 * 1.0 - (0.5 + 1.0) / 2) / 20,
    )
    perfect = values("trackingnet", [BOX, BOX], [BOX, BOX])
    assert set(perfect.values()) == {1.0}  # the threshold 1 is reached
    assert score("trackingnet", [BOX, FAR], [BOX, BOX]).success[0] == 1.0  # and 0, by no overlap


def test_trackingnet_rounds_all_boxes_half_to_even():
    predicted, truth = [10.5, 9.5, 20.4, 10.49], [9.5, 10.5, 19.6, 9.51]  # both 10, 10, 20, 10
    assert set(values("trackingnet", [BOX, predicted], [BOX, truth]).values()) == {1.0}


def test_trackingnet_missing_boxes_fail_at_all_thresholds():
    for predicted in ([BOX, BOX], [BOX, BOX, NAN, NAN]):
        got = score("trackingnet", predicted, [BOX] * 4)
        assert set(got.values.values()) == {0.5}
        assert got.frames == 4
    assert set(values("trackingnet", [BOX] * 6, [BOX] * 4).values()) == {1.0}
    with pytest.raises(ValueError, match="frame 2 has a NaN"):
        score("trackingnet", [BOX, [np.nan, 1, 1, 1]], [BOX, BOX])


# pysot


def test_pysot_repairs_nothing():
    empty = [10.0, 10.0, 0.0, 10.0]
    got = values("pysot", [FAR, BOX, empty, NAN], [BOX] * 4)
    assert got["auc"] == pytest.approx(PERFECT_AUC / 4)  # of the second alone
    assert got["precision_20"] == 0.5  # the centre of the empty box is 10 px off


def test_pysot_success_asks_for_an_area_and_precision_for_a_centre():
    at_0 = [0.0, 10.0, 20.0, 10.0]
    outside = [-30.0, 10.0, 20.0, 10.0]  # has an area; its centre is at x = -20.5
    no_area = [50.0, 50.0, 0.0, 0.0]  # has none; its centre is at 49.5, 49.5
    assert values("pysot", [at_0], [at_0]) == approx(
        auc=PERFECT_AUC, precision_20=1.0, norm_precision_20=1.0
    )
    for truth, auc, hit in (
        (outside, 0.0, 1.0),  # nowhere near, and yet a hit
        (no_area, 0.0, 0.0),  # a distance like any other, divided by a size of nearly 0
        (ABSENT, 0.0, 1.0),  # centre at -0.5
        (NAN, 0.0, 1.0),
    ):
        got = values("pysot", [FAR], [truth])
        assert got == approx(auc=auc, precision_20=hit, norm_precision_20=hit)
    assert values("pysot", [outside], [outside])["auc"] == pytest.approx(PERFECT_AUC)


def test_pysot_removes_flagged_frames_and_keeps_the_length():
    got = score("pysot", [BOX, BOX, BOX, FAR], [BOX] * 4, visible=[True, True, False, True])
    assert got.values == approx(auc=0.5 * PERFECT_AUC, precision_20=0.5, norm_precision_20=0.5)
    assert score("pysot", [BOX] * 5, [BOX] * 4, visible=[True] * 4).values["precision_20"] == 1.0
    with pytest.raises(ValueError, match="5 predicted boxes for 4 frames"):
        score("pysot", [BOX] * 5, [BOX] * 4)
