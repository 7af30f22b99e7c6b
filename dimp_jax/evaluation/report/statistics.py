"""What the page says of a comparison: ranking with intervals, attributes, times, clips to show."""

from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation import results
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.metrics.rules import Score

RESAMPLES = 1000
SEED = 0
INTERVAL = (2.5, 97.5)  # percentiles


class Standing(NamedTuple):
    """One tracker; K metrics of the rule, the first of which ranks."""

    name: str
    runs: int
    values: np.ndarray  # [K] mean over runs
    deviation: np.ndarray | None  # [K] sample standard deviation over runs; None: one run
    interval: np.ndarray | None  # [2, K] 95 % over sequences; None: one sequence
    behind: np.ndarray | None  # [3] first one minus this: difference, interval; None: it is first


class Timing(NamedTuple):
    """Seconds of one tracker, over all runs; None: not recorded (0, too), or nothing left."""

    init_s: float | None  # median over sequences
    step_s: float | None  # median over tracked frames
    step_95_s: float | None
    decode_s: float | None  # median over frames
    fps: float | None  # mean over sequences


def ranking(comparison, *, resamples=RESAMPLES, seed=SEED) -> list[Standing]:
    """The trackers, best first.

    The same resamples of the sequences are drawn for every tracker, so that differences are paired.
    """
    count, rule = len(comparison.sequences), comparison.rule
    draws = np.random.default_rng(seed).integers(count, size=(resamples, count))
    rows = []
    for tracker in comparison.trackers:
        per_run = [[run[name].score for name in comparison.names] for run in tracker.runs]
        values = np.array([_values(rule, scores) for scores in per_run])  # [runs, K]
        drawn = bootstrap(rule, per_run, draws) if count > 1 else None
        rows.append((tracker.name, values, drawn))
    rows.sort(key=lambda row: -row[1].mean(axis=0)[0])
    first = rows[0]
    standings = []
    for name, values, drawn in rows:
        mean, interval, behind = values.mean(axis=0), None, None
        if drawn is not None:
            interval = np.nanpercentile(drawn, INTERVAL, axis=0)
            if name != first[0]:
                difference = first[1].mean(axis=0)[0] - mean[0]
                bounds = np.nanpercentile(first[2][:, 0] - drawn[:, 0], INTERVAL)
                behind = np.array([difference, *bounds])
        deviation = values.std(axis=0, ddof=1) if len(values) > 1 else None
        standings.append(Standing(name, len(values), mean, deviation, interval, behind))
    return standings


def bootstrap(rule, per_run, draws) -> np.ndarray:
    """Mean scores of resampled sequences, themselves means over runs: [R, K].

    Args:
      per_run: for each run the `Score` of S sequences.
      draws: [R, S] indices of sequences.
    """
    return np.array(
        [
            np.mean([_values(rule, [scores[i] for i in draw]) for scores in per_run], axis=0)
            for draw in draws
        ]
    )


def mean_curves(comparison) -> dict[str, tuple[Score, ...]]:
    """For each tracker and run the score over all sequences."""
    return {
        tracker.name: tuple(
            rules.mean_score(comparison.rule, [run[name].score for name in comparison.names])
            for run in tracker.runs
        )
        for tracker in comparison.trackers
    }


def sequence_values(comparison) -> dict[str, np.ndarray]:
    """For each sequence [trackers, K], means over runs."""
    keys = [key for key, _ in comparison.rule.metrics]
    return {
        name: np.array(
            [
                np.mean([[run[name].score.values[k] for k in keys] for run in tracker.runs], axis=0)
                for tracker in comparison.trackers
            ]
        )
        for name in comparison.names
    }


def attribute_values(comparison) -> dict[str, tuple[int, np.ndarray]]:
    """For each attribute the number of its sequences and [trackers] of the ranking metric."""
    named = {}
    for sequence in comparison.sequences:
        for attribute in sequence.attributes:
            named.setdefault(attribute, []).append(sequence.name)
    mean = lambda tracker, names: np.mean(
        [_values(comparison.rule, [run[name].score for name in names])[0] for run in tracker.runs]
    )
    return {
        attribute: (len(names), np.array([mean(t, names) for t in comparison.trackers]))
        for attribute, names in sorted(named.items())
    }


def timing(comparison) -> dict[str, Timing]:
    """The times of each tracker on the compared sequences.

    Frames that compile (`results.WARM_UP_FRAMES`) are left out of all but the initialisation.
    """
    found = {}
    for tracker in comparison.trackers:
        each = [run[name] for run in tracker.runs for name in comparison.names]
        steps = np.concatenate([r.times_s[1 + results.WARM_UP_FRAMES :] for r in each])
        decode = [r.decode_s for r in each if r.decode_s is not None]
        rates = [results.frames_per_second(r.times_s) for r in each]
        rates = [rate for rate in rates if rate is not None]
        found[tracker.name] = Timing(
            _percentile([r.times_s[0] for r in each], 50),
            _percentile(steps, 50),
            _percentile(steps, 95),
            _percentile(np.concatenate(decode), 50) if decode else None,
            float(np.mean(rates)) if rates else None,
        )
    return found


def choose_clips(comparison, count: int) -> dict[str, list[str]]:
    """Sequences worth a look, each with why: by the first tracker's score, and by disagreement."""
    values = {name: rows[:, 0] for name, rows in sequence_values(comparison).items()}
    first = comparison.trackers[0].name
    by_first = sorted(values, key=lambda name: values[name][0])
    by_spread = sorted(values, key=lambda name: -np.ptp(values[name]))
    chosen = {}

    def add(names, why):
        for rank, name in enumerate(names[:count], 1):
            chosen.setdefault(name, []).append(why if rank == 1 else f"{why}, no. {rank}")

    add(by_first, f"worst of {first}")
    if len(comparison.trackers) > 1:
        add(by_spread, "largest difference between trackers")
    add(by_first[::-1], f"best of {first}")
    return chosen


def differing_settings(trackers) -> dict[str, list[str | None]]:
    """Settings that at least two trackers have, with different values; None: it has no such one."""
    flat = [_flatten(tracker.config) for tracker in trackers]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    found = {}
    for key in keys:
        values = [settings.get(key) for settings in flat]
        if len({value for value in values if value is not None}) > 1:
            found[key] = values
    return found


def _flatten(values, prefix="") -> dict[str, str]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _values(rule, scores) -> list[float]:
    """[K]; NaN if there is nothing to count."""
    mean = rules.mean_score(rule, scores)
    return [np.nan if mean is None else mean.values[key] for key, _ in rule.metrics]


def _percentile(values, share) -> float | None:
    values = np.asarray(values)
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(values, share)) if len(values) else None
