"""Metrics: hand-made cases, and parity with the curves recorded from the published toolkit."""

import numpy as np
import pytest

from dimp_jax.evaluation.metrics import curves, frame_errors, rules
from dimp_jax.media import sequences
from tests.support import golden_files

BOX = np.array([[10.0, 10.0, 20.0, 10.0]])
CONVENTIONS = ("otb", "lasot", "uav")
CURVE_CASES = golden_files.cases("m_metrics", only=lambda c: c.split("_")[0] in CONVENTIONS)
LENGTH_CASES = golden_files.cases("m_metrics", only=lambda c: c.startswith("len_"))


def visible(predicted, groundtruth):
    """The numbers of the rule "visible", None where there is nothing to count."""
    rule = rules.get("visible")
    sequence = sequences.Sequence("s", None, groundtruth, None)
    score = rules.score_sequence(rule, predicted, sequence)
    return dict.fromkeys(key for key, _ in rule.metrics) if score is None else score.values


def test_overlap_of_known_boxes():
    shifted = BOX + [10.0, 0.0, 0.0, 0.0]
    boxes = np.concatenate([BOX, shifted, BOX + [100.0, 0, 0, 0]])
    np.testing.assert_allclose(
        curves.overlap(boxes, np.tile(BOX, (3, 1))), [1.0, 1 / 3, 0.0], atol=1e-12
    )


def test_perfect_prediction_misses_only_the_last_threshold():
    got = visible(np.tile(BOX, (5, 1)), np.tile(BOX, (5, 1)))
    assert got == {"auc": pytest.approx(20 / 21), "precision_20": 1.0, "norm_precision_20": 1.0}


def test_zero_overlap_fails_the_threshold_zero_and_20_px_is_inside():
    groundtruth = np.tile(BOX, (2, 1))
    predicted = groundtruth + [[20.0, 0, 0, 0], [20.0 + 1e-6, 0, 0, 0]]
    got = visible(predicted, groundtruth)
    assert got == {"auc": 0.0, "precision_20": 0.5, "norm_precision_20": 0.0}


def test_normalised_error_uses_both_sizes_of_the_ground_truth():
    groundtruth = np.tile(BOX, (2, 1))
    inside = groundtruth[:1] + [[3.9, 0, 0, 0]]  # 0.195 widths
    outside = groundtruth[:1] + [[0, 2.1, 0, 0]]  # 0.21 heights
    got = visible(np.concatenate([inside, outside]), groundtruth)
    assert got["norm_precision_20"] == 0.5


def test_frames_without_ground_truth_are_left_out():
    groundtruth = np.concatenate([BOX, np.full((1, 4), np.nan), [[5.0, 5.0, 0.0, 0.0]], BOX])
    predicted = np.concatenate([BOX, BOX + 1000, BOX + 1000, BOX + [1000.0, 0, 0, 0]])
    got = visible(predicted, groundtruth)
    assert got == {"auc": pytest.approx(10 / 21), "precision_20": 0.5, "norm_precision_20": 0.5}


@pytest.mark.parametrize("groundtruth", [None, np.full((3, 4), np.nan)])
def test_no_ground_truth_gives_none(groundtruth):
    got = visible(np.tile(BOX, (3, 1)), groundtruth)
    assert got == {"auc": None, "precision_20": None, "norm_precision_20": None}


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 predicted boxes for 2 frames"):
        visible(np.tile(BOX, (3, 1)), np.tile(BOX, (2, 1)))


def test_repairs_of_a_prediction():
    groundtruth = np.tile(BOX, (4, 1))
    predicted = np.array([[0.0, 0, 5, 5], [1, 1, 5, 5], [9, 9, 0, 4]])
    shown = np.ones(4, bool)
    got = frame_errors.published(predicted, groundtruth, "otb", shown)
    repaired = np.array([BOX[0], [1, 1, 5, 5], [1, 1, 5, 5], [0, 0, 0, 0]])
    np.testing.assert_array_equal(got.overlap, curves.overlap(repaired, groundtruth))
    offset = np.linalg.norm(curves.center_offset(repaired, groundtruth), axis=1)
    np.testing.assert_allclose(got.center_px, offset, rtol=1e-12)
    with pytest.raises(ValueError, match="3 predicted boxes for 4 frames"):
        frame_errors.published(predicted, groundtruth, "lasot", shown)
    with pytest.raises(ValueError, match="NaN or has a negative size"):
        frame_errors.published(-predicted, groundtruth, "otb", shown)
    with pytest.raises(ValueError, match="convention 'otb'"):
        frame_errors.published(predicted, groundtruth * np.nan, "otb", shown)


def _groundtruth(recorded, convention):
    groundtruth = np.array(recorded["anno"])
    if convention == "uav":  # the recorded case that has a frame without annotation
        groundtruth[33] = np.nan
    return groundtruth


@pytest.mark.golden
@pytest.mark.parametrize("case", CURVE_CASES)
def test_recorded_errors_and_curves(case):
    recorded = golden_files.recording("m_metrics")
    convention, visibility = case.split("_")
    groundtruth = _groundtruth(recorded, convention)
    shown = recorded["visible"] if visibility == "vis" else np.ones(len(groundtruth))
    errors = frame_errors.published(recorded["pred"], groundtruth, convention, shown.astype(bool))
    valid = errors.overlap >= 0
    np.testing.assert_array_equal(valid, recorded[f"{case}/valid"])
    for name, values in (
        ("overlap", errors.overlap),
        ("center", errors.center_px),
        ("center_norm", errors.center_norm),
    ):
        np.testing.assert_allclose(values, recorded[f"{case}/{name}"], rtol=1e-9, atol=1e-9)

    for exclude in recorded.cases(f"{case}/"):
        count = valid.sum() if exclude == "excl1" else len(valid)
        success = curves.success_curve(errors.overlap, curves.SUCCESS_THRESHOLDS, count)
        precision = curves.error_curve(errors.center_px, curves.PRECISION_THRESHOLDS_PX, count)
        norm_precision = curves.error_curve(
            errors.center_norm, curves.NORM_PRECISION_THRESHOLDS, count
        )
        scores = {
            "success": success,
            "precision": precision,
            "norm_precision": norm_precision,
            "AUC": 100 * success.mean(),
            "P20": 100 * precision[20],
            "NP20": 100 * norm_precision[20],
            "OP50": 100 * success[10],
            "OP75": 100 * success[15],
            "avg_overlap": errors.overlap[valid].mean(),
        }
        for key in recorded.keys(f"{case}/{exclude}/"):
            recorded.check(key, scores[key.rsplit("/", 1)[1]], rtol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("case", LENGTH_CASES)
def test_recorded_length_repairs(case):
    recorded = golden_files.recording("m_metrics")
    groundtruth, predicted = np.array(recorded["anno"]), np.array(recorded["pred"])
    if case == "len_short":  # how many boxes were given shows in where the recorded errors change
        from_origin = np.linalg.norm(groundtruth[:, :2] + groundtruth[:, 2:] / 2, axis=1)
        padded = np.isclose(recorded[f"{case}/center"], from_origin, rtol=1e-9)
        given = 1 + np.flatnonzero(~padded & (recorded[f"{case}/overlap"] > 0))[-1]
        assert given < len(groundtruth)
        predicted = predicted[:given]
    else:
        predicted = np.concatenate([predicted, np.full((7, 4), 5.0)])
    errors = frame_errors.published(predicted, groundtruth, "otb", np.ones(len(groundtruth), bool))
    recorded.check(f"{case}/overlap", errors.overlap, rtol=1e-9)
    np.testing.assert_allclose(errors.center_px, recorded[f"{case}/center"], rtol=1e-9, atol=1e-9)


@pytest.mark.golden
def test_recorded_polygons():
    recorded = golden_files.recording("m_metrics")
    got = curves.polygon_to_box(recorded["vot/polygon"])
    recorded.check("vot/preserve_area", got, rtol=1e-9)


@pytest.mark.golden
def test_recorded_thresholds():
    golden_files.recording("m_metrics").check("thr_overlap", curves.SUCCESS_THRESHOLDS, rtol=1e-12)
