"""Scores of a results folder under a metric rule: `summary.json`, and the table on the terminal."""

import functools
import json
from pathlib import Path

import numpy as np
from rich.table import Table

from dimp_jax.evaluation import results
from dimp_jax.evaluation.metrics import rules
from dimp_jax.media.images import InputError

# Of the rule of this project, and of `summary.json` under it.
METRICS = tuple(key for key, _ in rules.get("visible").metrics)


def summarize(out, sequences, rule: str = "visible", runs: int = 1) -> dict:
    """Computes and writes `summary.json` from the files of the sequences.

    Returns:
      {"rule": its name, "runs": number, "sequences": {name: values}, "mean": values,
      "std": values or None, "failed": {name: runs without results}}. Values have the keys of the
      rule's metrics (in [0, 1]), "frames" and "fps" (`results.frames_per_second`); None where there
      is no such value. A sequence's are means over its runs. "mean" is the mean over runs of what
      the rule gives for all sequences of a run, and "std" its sample standard deviation over runs.
      What failed has no entry, and counts in no mean.

    Raises:
      InputError: boxes that the rule cannot score.
    """
    chosen = rules.get(rule)
    per_sequence = {sequence.name: [] for sequence in sequences}
    per_run, failed = [], {}
    for run in range(runs):
        folder = results.run_folder(out, run)
        scores, rows = [], []
        for sequence in sequences:
            read = results.read_sequence(folder, sequence.name)
            if read is None:
                failed.setdefault(sequence.name, []).append(run)
                continue
            boxes, times_s = read
            try:
                score = rules.score_sequence(chosen, boxes, sequence)
            except ValueError as error:
                raise InputError(f"{folder}: {error}") from error
            scores.append(score)
            rows.append(_values(chosen, score, len(boxes), results.frames_per_second(times_s)))
            per_sequence[sequence.name].append(rows[-1])
        pooled = rules.mean_score(chosen, scores)
        per_run.append(
            _values(chosen, pooled, _mean(rows, "frames"), _mean(rows, "fps")) if rows else None
        )
    found = [values for values in per_run if values is not None]
    keys = (*(key for key, _ in chosen.metrics), "frames", "fps")
    deviation = functools.partial(np.std, ddof=1)
    summary = {
        "rule": chosen.name,
        "runs": runs,
        "sequences": {
            name: {key: _mean(rows, key) for key in keys}
            for name, rows in per_sequence.items()
            if rows
        },
        "mean": {key: _mean(found, key) for key in keys},
        "std": {key: _mean(found, key, deviation, 2) for key in keys} if runs > 1 else None,
        "failed": failed,
    }
    text = json.dumps(summary, indent=2) + "\n"
    results.write_atomically(Path(out) / "summary.json", text)
    return summary


def table(summary) -> Table:
    """The summary as a table for the terminal."""
    rule = rules.get(summary["rule"])
    metrics = [metric for metric in rule.metrics if summary["mean"][metric[0]] is not None]
    said = f"rule {rule.name}: {rule.description}" if metrics else "no ground truth to compare with"
    shown = Table(
        caption=f"{said}; fps: tracked frames / sum of their times, without decoding and without "
        f"the first {results.WARM_UP_FRAMES}"
    )
    shown.add_column("sequence", overflow="fold")
    for heading in (*(heading for _, heading in metrics), "frames", "fps"):
        shown.add_column(heading, justify="right", no_wrap=True)
    rows = list(summary["sequences"].items())
    for name, values in rows:
        shown.add_row(name, *_cells(metrics, values), end_section=name == rows[-1][0])
    shown.add_row(_mean_name(summary), *_cells(metrics, summary["mean"]), style="bold")
    if summary["std"] is not None:
        shown.add_row("standard deviation over runs", *_cells(metrics, summary["std"]))
    return shown


def _mean_name(summary):
    runs = f" of {summary['runs']} runs" if summary["runs"] > 1 else ""
    failed = f", without {len(summary['failed'])} failed or missing" if summary["failed"] else ""
    return f"mean{runs}{failed}"


def _values(rule, score, frames, fps):
    values = {key: None if score is None else score.values[key] for key, _ in rule.metrics}
    return {**values, "frames": frames, "fps": fps}


def _mean(rows, key, statistic=np.mean, least=1):
    values = [row[key] for row in rows if row[key] is not None]
    return float(statistic(values)) if len(values) >= least else None


def _cells(metrics, values):
    formats = {key: "{:.3f}" for key, _ in metrics} | {"frames": "{:.6g}", "fps": "{:.2f}"}
    return [
        "-" if values[key] is None else form.format(values[key]) for key, form in formats.items()
    ]
