"""Accuracy, robustness and expected average overlap from what the VOT toolkit wrote."""

import json
import math
from pathlib import Path

import numpy as np

from dimp_jax.media.images import InputError

# Published "robustness" of VOT2018: failures in all sequences, divided by this. It was recovered
# from the report of the challenge, and is about the failures in 100 of its frames.
VOT2018_DIVISOR = 213.6752
VOT2018_SEQUENCES = 60
PUBLISHED = {"dimp50_vot18": 0.440, "dimp18_vot18": 0.402}  # EAO of VOT2018, mean of 15 repetitions
RULE = (
    "vot-toolkit {version}, supervised: accuracy is the mean overlap without the first {burnin} "
    "frames after a start, weighted by the sequences' lengths; a failure is no overlap, and the "
    "tracker starts again {skip} frames after it; EAO is the mean of the expected average overlap "
    "over {low} to {high} frames"
)
FAILURE = "2"  # the line of a frame in which the tracker was found to have failed
ACCURACY_ROBUSTNESS, EAO, EAO_CURVE = "AverageAccuracyRobustness", "EAOScore", "EAOCurve"
ACCURACY = "AverageAccuracy"


def summarize(workspace, name, analysis: dict) -> dict:
    """The numbers of one tracker, as JSON types.

    Args:
      workspace: `workspace.Workspace`.
      analysis: content of the toolkit's WORKSPACE/analysis/<..>.json of that tracker alone.

    Returns:
      {"toolkit", "title", "sequences", "frames", "experiments": {name: values}}. A supervised
      experiment has "rule", "accuracy", "eao" (None if the toolkit's is NaN), "eao_interval" (the
      stack's) and "eao_last" (the last frame that the curve has), and `failures`'s values; an
      unsupervised one has "accuracy".
    """
    frames = sum(sequence.length for sequence in workspace.sequences)
    summary = {
        "tracker": name,
        "toolkit": analysis["toolkit"],
        "title": workspace.title,
        "sequences": len(workspace.sequences),
        "frames": frames,
        "experiments": {},
    }
    for experiment in workspace.experiments:
        written = analysis["results"].get(experiment.name)
        if written is None:
            continue
        values = {"repetitions": experiment.repetitions}
        values |= _measures(written, experiment, analysis["toolkit"])
        if experiment.supervised:
            folder = workspace.folder / "results" / name / experiment.name
            values |= failures(folder, workspace.sequences)
        summary["experiments"][experiment.name] = values
    return summary


def failures(folder, sequences) -> dict:
    """Counts the failures in the toolkit's text results.

    Args:
      folder: WORKSPACE/results/<tracker>/<experiment>.

    Returns:
      "failures": of all sequences together, mean over the repetitions; "failures_std": over them,
      None for one repetition; "failures_by_sequence"; "failures_per_100_frames"; and
      "robustness_vot2018": failures / 213.6752, the robustness of papers, None unless there are 60
      sequences.

    Raises:
      InputError: results of a sequence are missing, or not written as text.
    """
    counts = {}
    for sequence in sequences:
        paths = sorted((Path(folder) / sequence.name).glob(f"{sequence.name}_[0-9][0-9][0-9].txt"))
        if not paths:
            raise InputError(f"{Path(folder) / sequence.name}: no results as text in it")
        lines = [path.read_text(encoding="utf-8").splitlines() for path in paths]
        counts[sequence.name] = [rows.count(FAILURE) for rows in lines]
    total = sum(float(np.mean(runs)) for runs in counts.values())
    # The toolkit stops repeating a sequence when three repetitions were equal.
    repetitions = min(len(runs) for runs in counts.values())
    by_repetition = [sum(runs[k] for runs in counts.values()) for k in range(repetitions)]
    frames = sum(sequence.length for sequence in sequences)
    official = len(sequences) == VOT2018_SEQUENCES
    return {
        "failures": total,
        "failures_std": float(np.std(by_repetition, ddof=1)) if repetitions > 1 else None,
        "failures_by_sequence": {key: float(np.mean(runs)) for key, runs in counts.items()},
        "failures_per_100_frames": 100 * total / frames,
        "robustness_vot2018": total / VOT2018_DIVISOR if official else None,
    }


def read_analysis(path) -> dict:
    """Content of the toolkit's analysis file.

    Raises:
      InputError: it was not written, or not whole.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the toolkit wrote no analysis ({error})") from error


def _measures(written, experiment, version):
    """Values of the analyses that are known here."""
    values, rule = {}, {"version": version}
    parameters = written["parameters"]
    for entry, result in zip(parameters["analyses"], written["results"], strict=True):
        kind, first = entry["type"].rpartition(".")[2], result[0]  # of the only tracker
        if kind in (ACCURACY_ROBUSTNESS, ACCURACY):
            values["accuracy"] = _finite(first[0])
            rule |= {"burnin": entry["burnin"]}
        elif kind == EAO:
            interval = {"low": entry["low"], "high": entry["high"]}
            values |= {"eao": _finite(first[0]), "eao_interval": list(interval.values())}
            rule |= interval
        elif kind == EAO_CURVE:
            values["eao_last"] = len(first[0]) - 1
    if experiment.supervised and {"burnin", "low"} <= set(rule):
        values["rule"] = RULE.format(**rule, skip=parameters["skip_initialize"])
    return values


def _finite(value):
    return float(value) if value is not None and math.isfinite(value) else None
