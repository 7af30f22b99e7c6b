"""The metric rules as a whole; the project's own rule and that of the published tracker."""

import numpy as np
import pytest

from dimp_jax.evaluation.metrics import rules
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import Sequence
from tests.support import golden_files

BOX = [10.0, 10.0, 20.0, 10.0]
FAR = [500.0, 500.0, 20.0, 10.0]
ABSENT = [0.0, 0.0, 0.0, 0.0]
NAN = [np.nan] * 4


def sequence(groundtruth, **fields):
    truth = None if groundtruth is None else np.array(groundtruth, np.float64)
    init_box = None if truth is None else truth[0]
    return Sequence("s1", frames=None, groundtruth=truth, init_box=init_box, **fields)


def values(name, predicted, groundtruth, **fields):
    return score(name, predicted, groundtruth, **fields).values


def score(name, predicted, groundtruth, **fields):
    return rules.score_sequence(rules.get(name), predicted, sequence(groundtruth, **fields))


def test_every_rule_says_what_it_is_and_has_what_it_names():
    assert len(rules.NAMES) == len(set(rules.NAMES)) == 10
    boxes = np.tile(BOX, (4, 1))
    for name in rules.NAMES:
        rule = rules.get(name)
        assert rule.name == name
        assert rule.description and "\n" not in rule.description
        got = rules.score_sequence(rule, boxes, sequence(boxes))
        assert tuple(got.values) == tuple(key for key, _ in rule.metrics)
        assert all(0.0 <= value <= 1.0 for value in got.values.values())
        for curve, thresholds in (
            (got.success, rule.success_thresholds),
            (got.precision, rule.precision_thresholds_px),
            (got.norm_precision, rule.norm_thresholds),
        ):
            assert (curve is None) == (thresholds is None)
            assert curve is None or curve.shape == thresholds.shape
        alone = rules.mean_score(rule, [None, got])
        assert alone.values == pytest.approx(got.values, abs=1e-12)
        assert alone.frames == got.frames


def test_an_unknown_rule_is_refused_with_the_near_ones():
    with pytest.raises(InputError, match=r"no metric rule 'lasott': expected one of: lasot$"):
        rules.get("lasott")
    with pytest.raises(InputError, match="one of: pytracking, pytracking_int, otb, got10k"):
        rules.get("xyz")


@pytest.mark.parametrize("name", rules.NAMES)
def test_nothing_to_score_without_ground_truth(name):
    assert score(name, [BOX], None) is None
    assert rules.mean_score(rules.get(name), [None]) is None
    assert rules.mean_score(rules.get(name), []) is None


@pytest.mark.parametrize("name", rules.NAMES)
def test_boxes_that_cannot_be_scored_name_their_sequence(name):
    with pytest.raises(ValueError, match=r"s1: predicted boxes of shape \(4,\): expected"):
        score(name, BOX, [BOX])
    with pytest.raises(ValueError, match="s1: a predicted box is infinite"):
        score(name, [[np.inf, 0, 1, 1]], [BOX])
    with pytest.raises(ValueError, match=r"shape \(0, 4\)"):
        score(name, np.empty((0, 4)), [BOX])


@pytest.mark.parametrize(
    "name", ["otb", "uav", "lasot", "pysot", "got10k", "got10k_otb", "visible"]
)
def test_too_few_boxes_are_refused(name):
    with pytest.raises(ValueError, match=f"s1, rule '{name}': 1 predicted boxes for 2 frames"):
        score(name, [BOX], [BOX, BOX])


@pytest.mark.parametrize("name", ["pytracking", "lasot", "pysot", "got10k", "visible"])
def test_flags_of_another_length_are_refused(name):
    with pytest.raises(ValueError, match="3 flags of visibility for 2 frames of ground truth"):
        score(name, [BOX, BOX], [BOX, BOX], visible=[True] * 3)


# visible


def test_visible_leaves_frames_without_the_target_out():
    predicted = [BOX, BOX, FAR, FAR, FAR, FAR]
    truth = [BOX, BOX, NAN, ABSENT, BOX, BOX]
    got = score("visible", predicted, truth, visible=[True] * 5 + [False])
    assert got.frames == 3  # 2 hits, and the one of FAR that counts
    assert got.values == {
        "auc": pytest.approx(2 / 3 * 20 / 21),  # strict: an overlap of 1 fails the threshold 1
        "precision_20": pytest.approx(2 / 3),
        "norm_precision_20": pytest.approx(2 / 3),
    }
    assert score("visible", [BOX, BOX], [NAN, ABSENT]) is None


def test_visible_refuses_broken_boxes():
    for box, text in ((NAN, "frame 2 has a NaN"), ([1, 1, -1, 1], "frame 2 has a negative size")):
        with pytest.raises(ValueError, match=text):
            score("visible", [BOX, box], [BOX, BOX])


# pytracking


@pytest.mark.golden
@pytest.mark.parametrize("case", ["otb_novis", "uav_novis", "lasot_vis"])
def test_pytracking_gives_the_recorded_scores(case):
    recorded = golden_files.recording("m_metrics")
    truth = np.array(recorded["anno"])
    if case == "uav_novis":
        truth[33] = np.nan
    visible = np.array(recorded["visible"], bool) if case == "lasot_vis" else None
    got = score("pytracking", recorded["pred"], truth, visible=visible)
    names = {"auc": "AUC", "op_50": "OP50", "op_75": "OP75", "precision_20": "P20"}
    for key, value in got.values.items():
        recorded.check(f"{case}/excl0/{names.get(key, 'NP20')}", 100 * value, rtol=1e-6)
    for name in rules.CURVES:
        recorded.check(f"{case}/excl0/{name}", getattr(got, name), rtol=1e-6)


def test_pytracking_counts_absent_frames_by_the_kind_of_data_set():
    predicted = [FAR, BOX, BOX, FAR]  # the first becomes the ground truth's
    absent = [BOX, BOX, ABSENT, BOX]
    half = pytest.approx(0.5)
    got = values("pytracking", predicted, absent)  # as OTB: infinitely far, but a norm. hit
    assert (got["op_50"], got["precision_20"], got["norm_precision_20"]) == (half, half, 0.75)
    got = values("pytracking", predicted, [BOX, BOX, NAN, BOX])  # as UAV123: a hit
    assert (got["op_50"], got["precision_20"], got["norm_precision_20"]) == (half, 0.75, 0.75)
    got = values("pytracking", predicted, [BOX] * 4, visible=[True, True, False, True])  # LaSOT
    assert (got["op_50"], got["precision_20"], got["norm_precision_20"]) == (half, half, half)
    with pytest.raises(ValueError, match="NaN in the ground truth under the convention 'lasot'"):
        values("pytracking", predicted, [BOX, BOX, NAN, BOX], visible=[True] * 4)


def test_op_75_is_read_at_the_16th_threshold():
    wide = [10.0, 10.0, 70.0, 10.0]
    three_quarters = [20.0, 10.0, 70.0, 10.0]  # 60 / 80
    a_bit_more = [19.5, 10.0, 70.0, 10.0]  # 60.5 / 79.5 = 0.761
    got = values("pytracking", [wide, three_quarters, a_bit_more, wide], [wide] * 4)
    assert got["op_75"] == 0.75


def test_pytracking_pads_and_cuts():
    got = values("pytracking", [BOX, BOX], [BOX] * 4)
    assert got["op_50"] == 0.5
    assert values("pytracking", [BOX] * 6, [BOX] * 4)["op_50"] == 1.0
    with pytest.raises(ValueError, match="s1, rule 'pytracking': 2 predicted boxes for 4 frames"):
        values("pytracking", [BOX, BOX], [BOX] * 4, visible=[True] * 4)


def test_pytracking_int_cuts_toward_zero_and_repairs_what_that_empties():
    truth = [BOX, [0.5, 10.0, 20.0, 10.0], BOX, BOX]
    predicted = [BOX, [-0.9, 10.0, 20.0, 10.0], [10.9, 10.9, 20.9, 10.9], [10.0, 10.0, 0.9, 0.9]]
    # Overlap of frame 2: 19.5 / 20.5 = 0.951 (0.869 as it is, 0.860 rounded down): 20 thresholds.
    # Frames 3 and 4 are the ground truth, the latter as a copy of the former: 20 each.
    assert values("pytracking_int", predicted, truth)["auc"] == pytest.approx(20 / 21)
    # 18.6 / 21.4 = 0.869: 18 thresholds; 19.1 * 9.1 / 254 = 0.684: 14; 0.81 / 200: 1.
    assert values("pytracking", predicted, truth)["auc"] == pytest.approx((20 + 18 + 14 + 1) / 84)


# the choice of the rule


def test_the_rule_decides_which_tracker_is_first():
    truths = [[BOX] * 20 + [NAN] * 30, [BOX] * 50]
    near = [12.0, 10.0, 20.0, 10.0]  # overlap 18 / 22: 17 thresholds of 21
    steady = [[near] * 50, [near] * 50]
    brilliant = [[BOX] * 50, [BOX] * 38 + [FAR] * 12]  # its best sequence is often absent

    def mean(name, boxes):
        pairs = zip(boxes, truths, strict=True)
        scores = [score(name, predicted, truth) for predicted, truth in pairs]
        return rules.mean_score(rules.get(name), scores).values["auc"]

    for absent_kept in ("pytracking", "uav", "pysot"):
        assert mean(absent_kept, steady) > mean(absent_kept, brilliant) + 0.01
    for absent_dropped in ("got10k_otb", "visible"):
        assert mean(absent_dropped, steady) < mean(absent_dropped, brilliant) - 0.01


def test_definitions_differ_by_points_on_the_same_boxes():
    rng = np.random.default_rng(0)
    means = {}
    pairs = []
    for index in range(40):
        truth = np.cumsum(rng.normal(0, 2, (60, 4)), axis=0) + [300, 200, 70, 60]
        truth[:, 2:] = np.maximum(truth[:, 2:], 20)
        predicted = truth + rng.normal(0, rng.uniform(2, 15), (60, 4))
        predicted[:, 2:] = np.maximum(predicted[:, 2:], 5)
        if index % 4 == 0:
            truth[20:40] = np.nan
        pairs.append((predicted, truth))
    for name in ("pytracking", "pytracking_int", "visible", "got10k", "trackingnet", "uav"):
        scores = [score(name, *pair) for pair in pairs]
        means[name] = rules.mean_score(rules.get(name), scores).values
    auc = {name: value["auc"] for name, value in means.items() if "auc" in value}
    assert auc["pytracking"] == pytest.approx(auc["uav"], abs=1e-9)
    assert auc["pytracking"] < auc["visible"] - 0.04  # 1/12 of the frames is absent
    assert auc["pytracking_int"] < auc["pytracking"] - 0.002
    assert abs(means["got10k"]["ao"] - auc["visible"]) < 0.05
    assert means["trackingnet"]["precision_auc"] < means["visible"]["precision_20"] - 0.05
    assert means["trackingnet"]["norm_precision_auc"] < means["visible"]["norm_precision_20"] - 0.03
