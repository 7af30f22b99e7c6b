"""What of a study is there so far, as rows of tables."""

from typing import NamedTuple

import numpy as np

from dimp_jax.studies import paired
from dimp_jax.studies.ablation import score
from dimp_jax.studies.ablation.arms import PUBLISHED_BASE_PERCENT
from dimp_jax.studies.ablation.fit import LOG_EVERY

MEASURES = ("AUC", "hits")


class Measured(NamedTuple):
    """An arm in one measure after some steps."""

    step: int
    mean: float  # over seeds and sequences
    of_seeds: tuple[float, ...]  # difference to the base with the same seed
    difference: paired.Difference | None  # None: the base itself


def measured(study, arms, seeds, steps, sequences) -> dict:
    """{measure: {step: {arm: `Measured`}}}, in the order of the arms; nothing without the base."""
    found = {measure: {} for measure in MEASURES}
    for step in steps:
        auc = score.scores(study, arms, seeds, step, sequences)
        hits = _of_members(study, arms, f"hits {{wave}} {step}")
        for measure, of in zip(MEASURES, (auc, hits), strict=True):
            if compared := _compared(_by_arm(of), arms, step):
                found[measure][step] = compared
    return found


def _by_arm(of_runs) -> dict:
    """{arm: {seed: value}} of {(arm, seed): value}."""
    found = {}
    for (arm, seed), value in of_runs.items():
        found.setdefault(arm, {})[seed] = value
    return found


def _compared(by_arm, arms, step) -> dict:
    """{arm: `Measured`} of {arm: {seed: {sequence: value}}}."""
    base, found = by_arm.get(arms[0].name, {}), {}
    for arm in arms:
        own = {seed: of for seed, of in by_arm.get(arm.name, {}).items() if seed in base}
        if own:
            values = paired.differences(own, base)
            is_base = arm.name == arms[0].name
            mean = float(np.mean([value for of in own.values() for value in of.values()]))
            apart = None if is_base else paired.compare(values)
            found[arm.name] = Measured(step, mean, tuple(values.mean(1).tolist()), apart)
    return found


def latest(by_step) -> dict:
    """{arm: `Measured`} of each arm after the most steps; see `measured`."""
    last = {}
    for step in sorted(by_step):
        last |= by_step[step]
    return last


def held_out(study, arms, step: int) -> dict:
    """{arm: held-out loss of the final filter after `step` steps, mean over the seeds}."""
    by_arm = _by_arm(_of_members(study, arms, f"held out {{wave}} {step}"))
    return {arm: float(np.mean(list(of.values()))) for arm, of in by_arm.items()}


def _of_members(study, arms, key: str) -> dict:
    """{(arm, seed): value} of a unit {member: value} a wave; `key` has a place for the wave."""
    found = {}
    for wave in sorted({arm.wave for arm in arms}):
        for name, value in (study.unit(key.format(wave=wave)) or {}).items():
            arm, _, seed = name.rpartition("-")
            found[arm, int(seed)] = value
    return found


def published(arm) -> float | None:
    """The paper's AUC less the base's, 0..1."""
    percent = arm.published_percent
    return None if percent is None else (percent - PUBLISHED_BASE_PERCENT) / 100


# ------------------------------------------------------------------------------ rows of CSVs


def arm_rows(found, arms, samples: int) -> list[dict]:
    """One row a measure, step and arm; `samples`: a step has."""
    of_arm = {arm.name: published(arm) for arm in arms}
    rows = []
    for measure, by_step in found.items():
        for step, of in by_step.items():
            for arm, result in of.items():
                row = {"measure": measure, "samples": step * samples, "arm": arm}
                row |= {"seeds": len(result.of_seeds), "mean": result.mean}
                apart = result.difference
                for name in ("mean", "low", "high", "detectable"):
                    column = "difference" if name == "mean" else name
                    row[column] = None if apart is None else getattr(apart, name)
                rows.append(row | {"published": of_arm[arm] if measure == "AUC" else None})
    return rows


def run_rows(study, arms, seeds, steps, sequences) -> list[dict]:
    """One row an arm, seed and sequence with its AUC."""
    return [
        {"arm": arm, "seed": seed, "step": step, "sequence": sequence, "auc": auc}
        for step in steps
        for (arm, seed), of in score.scores(study, arms, seeds, step, sequences).items()
        for sequence, auc in of.items()
    ]


def curve_rows(study, arms) -> list[dict]:
    """One row a point of the training's curves and training: the means over `LOG_EVERY` steps."""
    rows = []
    for wave in sorted({arm.wave for arm in arms}):
        curves = study.unit(f"curves {wave}") or {"members": []}
        for index, name in enumerate(curves.pop("members")):
            arm, _, seed = name.rpartition("-")
            for point in range(len(next(iter(curves.values())))):
                values = {metric: of[point][index] for metric, of in curves.items()}
                rows.append({"step": (point + 1) * LOG_EVERY, "arm": arm, "seed": seed, **values})
    return rows
