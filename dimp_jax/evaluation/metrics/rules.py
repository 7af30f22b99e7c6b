"""Metric rules as named presets: which frames count, which thresholds, how sequences are averaged.

The same boxes score several points apart under the toolkits of the field, so a number is worth
nothing without the rule that it was taken by. What each does to single frames is `frame_errors.py`.

"got10k" is the GOT-10k benchmark itself, average overlap over the pooled frames; the curves and
areas that the same package prints for OTB, UAV123, NfS and LaSOT are another rule, "got10k_otb".
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation.metrics import curves as metrics
from dimp_jax.evaluation.metrics import frame_errors
from dimp_jax.media.images import InputError

CURVES = ("success", "precision", "norm_precision")
AUC = ("auc", "AUC")
PRECISION_20 = ("precision_20", "prec. 20 px")
NORM_PRECISION_20 = ("norm_precision_20", "norm. 0.20")
NORM_PRECISION_AUC = ("norm_precision_auc", "norm. AUC 0-0.5")
OP_50 = ("op_50", "OP50")


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """One preset."""

    name: str  #: what `--rule` takes
    description: str  #: one line: whose rule, and what it does with frames without the target
    errors: Callable[..., frame_errors.Errors]  #: (predicted [M, 4], sequence)
    metrics: tuple[tuple[str, str], ...]  #: (key, heading); the first one ranks trackers
    success_thresholds: np.ndarray  #: [T] of overlaps
    precision_thresholds_px: np.ndarray | None  #: None: the toolkit has no such curve
    norm_thresholds: np.ndarray | None  #: in sizes of the target
    reached_at_threshold: bool = False  #: success is overlap >= threshold, not >
    trapezoid: bool = False  #: an area is the trapezoid rule's, not the mean of the curve
    pools_frames: bool = False  #: the mean is over the frames of all sequences
    drops_zero_curves: bool = False  #: a sequence whose curve is 0 throughout is not in its mean


class Score(NamedTuple):
    """What one sequence, or a mean over sequences, scores under a rule."""

    success: np.ndarray  #: [T]
    precision: np.ndarray | None  #: [P]
    norm_precision: np.ndarray | None  #: [Q]
    values: dict[str, float]  #: by key of the rule's metrics, in [0, 1]
    frames: int  #: that counts were divided by


_USUAL = {
    "success_thresholds": metrics.SUCCESS_THRESHOLDS,
    "precision_thresholds_px": metrics.PRECISION_THRESHOLDS_PX,
    "norm_thresholds": metrics.NORM_PRECISION_THRESHOLDS,
}
_PYTRACKING = Rule(
    name="pytracking",
    description="pytracking: frames without the target stay, as failures (precision: some as hits)",
    errors=frame_errors.pytracking,
    # OP75 is read at the 16th threshold. Its toolkit looks for 0.75 itself and finds nothing, the
    # float there being 0.7500000000000001; no overlap lies between the two.
    metrics=(AUC, OP_50, ("op_75", "OP75"), PRECISION_20, NORM_PRECISION_20),
    **_USUAL,
)
_OTB = Rule(
    name="otb",
    description="OTB's MATLAB toolkit: frames without the target stay, failures in success, hits "
    "in precision",
    errors=frame_errors.otb,
    metrics=(AUC, PRECISION_20, OP_50),
    **_USUAL | {"norm_thresholds": None},
    drops_zero_curves=True,
)
_PRESETS = (
    _PYTRACKING,
    dataclasses.replace(
        _PYTRACKING,
        name="pytracking_int",
        description=f"{_PYTRACKING.description}; boxes cut to integers first, as it saves them",
        errors=frame_errors.pytracking_int,
    ),
    _OTB,
    Rule(
        name="got10k",
        description="GOT-10k's own: AO and SR over all frames of all sequences but the first ones; "
        "unseen frames left out",
        errors=frame_errors.got10k,
        metrics=(("ao", "AO"), ("sr_50", "SR 0.50"), ("sr_75", "SR 0.75")),
        success_thresholds=np.linspace(0, 1, 101),
        precision_thresholds_px=None,
        norm_thresholds=None,
        pools_frames=True,
    ),
    Rule(
        name="got10k_otb",
        description="GOT-10k's package on OTB-like data: frames with NaN for ground truth left out",
        errors=frame_errors.got10k_otb,
        metrics=(AUC, PRECISION_20, NORM_PRECISION_AUC, OP_50),
        **_USUAL | {"norm_thresholds": np.linspace(0, 0.5, 51)},
    ),
    Rule(
        name="lasot",
        description="LaSOT's MATLAB toolkit: absent frames removed, but still divided by",
        errors=frame_errors.lasot,
        metrics=(AUC, PRECISION_20, NORM_PRECISION_20, OP_50),
        **_USUAL,
        drops_zero_curves=True,
    ),
    Rule(
        name="trackingnet",
        description="TrackingNet's devkit: integer boxes, overlap >= threshold, areas by "
        "trapezoids; all frames count",
        errors=frame_errors.trackingnet,
        # ">=" is of the devkit that can be run as a command; a state of it without has ">".
        metrics=(AUC, ("precision_auc", "prec. AUC 0-50 px"), NORM_PRECISION_AUC),
        success_thresholds=metrics.SUCCESS_THRESHOLDS,
        precision_thresholds_px=np.linspace(0, 50, 21),
        norm_thresholds=np.linspace(0, 0.5, 21),
        reached_at_threshold=True,
        trapezoid=True,
    ),
    Rule(
        name="pysot",
        description="pysot's toolkit: frames without the target stay, failures in success, hits in "
        "precision; flagged ones removed, but still divided by",
        errors=frame_errors.pysot,
        metrics=(AUC, PRECISION_20, NORM_PRECISION_20),
        **_USUAL,
    ),
    dataclasses.replace(
        _OTB,
        name="uav",
        description="UAV123's MATLAB toolkit (that of OTB): NaN frames stay, failures in success, "
        "hits in precision",
    ),
    Rule(
        name="visible",
        description="this project's rule: float boxes, frames without the target left out",
        errors=frame_errors.visible,
        metrics=(AUC, PRECISION_20, NORM_PRECISION_20),
        **_USUAL,
    ),
)
_BY_NAME = {rule.name: rule for rule in _PRESETS}
NAMES = tuple(_BY_NAME)


def get(name: str) -> Rule:
    """The preset of that name. Raises InputError: there is none; its text has the near matches."""
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, NAMES) or NAMES
        raise InputError(f"no metric rule {name!r}: expected one of: {', '.join(near)}")
    return _BY_NAME[name]


def score_sequence(rule: Rule, predicted, sequence) -> Score | None:
    """Scores predicted boxes on a sequence.

    Args:
      predicted: [M, 4] x, y, w, h in the pixels of the data set's files.
      sequence: has `groundtruth` [N, 4] in the data set's raw numbers, `visible` and `bound_wh`.

    Returns:
      `Score`, or None where there is nothing to count, without ground truth or without a frame of
      it that the rule keeps.

    Raises:
      ValueError: a prediction that the toolkit of the rule cannot score (`frame_errors.py` says for
        each what it repairs); the text names the sequence.
    """
    if sequence.groundtruth is None:
        return None
    predicted = np.asarray(predicted, np.float64)
    if predicted.ndim != 2 or predicted.shape[1] != 4 or len(predicted) == 0:
        raise ValueError(
            f"{sequence.name}: predicted boxes of shape {predicted.shape}: expected [frames, 4]"
        )
    if np.isinf(predicted).any():
        raise ValueError(f"{sequence.name}: a predicted box is infinite")
    try:
        errors = rule.errors(predicted, sequence)
    except ValueError as error:
        raise ValueError(f"{sequence.name}, rule {rule.name!r}: {error}") from error
    if len(errors.overlap) == 0 and errors.length == 0:
        return None
    curves = (
        metrics.success_curve(
            errors.overlap,
            rule.success_thresholds,
            errors.length,
            reached=rule.reached_at_threshold,
        ),
        _error_curve(errors.center_px, rule.precision_thresholds_px, errors.length),
        _error_curve(errors.center_norm, rule.norm_thresholds, errors.length),
    )
    average_overlap = errors.overlap.mean() if rule.pools_frames else None
    return Score(*curves, _values(rule, curves, average_overlap), errors.length)


def mean_score(rule: Rule, scores) -> Score | None:
    """The mean over sequences, as the rule's toolkit takes it; entries that are None are left out.

    Args:
      scores: one `Score` of `score_sequence` a sequence; for repeated runs, average the results.

    Returns:
      `Score`, or None if none is left. Where all curves are dropped for being 0, their mean is 0.
    """
    scores = [score for score in scores if score is not None]
    if not scores:
        return None
    frames = np.array([score.frames for score in scores])
    curves = tuple(
        _mean_curve(rule, [getattr(score, name) for score in scores], frames) for name in CURVES
    )
    average_overlap = None
    if rule.pools_frames:
        average_overlap = np.average([score.values["ao"] for score in scores], weights=frames)
    return Score(*curves, _values(rule, curves, average_overlap), int(frames.sum()))


def _mean_curve(rule, curves, frames):
    if curves[0] is None:
        return None
    curves = np.stack(curves)
    weights = frames.astype(np.float64) if rule.pools_frames else np.ones(len(curves))
    if rule.drops_zero_curves:
        weights[curves.sum(axis=1) == 0] = 0.0
    return weights @ curves / max(weights.sum(), 1.0)


def _error_curve(errors, thresholds, length):
    return None if thresholds is None else metrics.error_curve(errors, thresholds, length)


def _values(rule, curves, average_overlap):
    return {key: float(_value(rule, key, curves, average_overlap)) for key, _ in rule.metrics}


def _value(rule, key, curves, average_overlap):
    success, precision, norm_precision = curves
    match key:
        case "ao":
            return average_overlap
        case "auc":
            return _area(rule, success)
        case "precision_auc":
            return _area(rule, precision)
        case "norm_precision_auc":
            return _area(rule, norm_precision)
        case "op_50" | "sr_50":
            return _at(success, rule.success_thresholds, 0.5)
        case "op_75" | "sr_75":
            return _at(success, rule.success_thresholds, 0.75)
        case "precision_20":
            return _at(precision, rule.precision_thresholds_px, 20.0)
        case "norm_precision_20":
            return _at(norm_precision, rule.norm_thresholds, 0.2)
    raise AssertionError(f"rule {rule.name!r} names a metric that is not computed: {key!r}")


def _at(curve, thresholds, place):
    return curve[np.argmin(np.abs(thresholds - place))]


def _area(rule, curve):
    """Area under a curve over its whole range of thresholds, as a share of it."""
    return np.trapezoid(curve) / (len(curve) - 1) if rule.trapezoid else curve.mean()
