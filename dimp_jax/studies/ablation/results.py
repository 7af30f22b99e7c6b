"""What of a study is there so far, as rows of tables."""

import statistics
from typing import NamedTuple

from dimp_jax.studies import paired
from dimp_jax.studies.ablation import score
from dimp_jax.studies.ablation.arms import PUBLISHED_BASE_PERCENT
from dimp_jax.studies.ablation.fit import LOG_EVERY


class Result(NamedTuple):
    """An arm after some steps, of all seeds that were scored."""

    arm: str
    question: str
    step: int
    seeds: tuple[int, ...]
    auc: float  # mean over seeds and sequences
    difference: paired.Difference | None  # to the base with the same seeds; None: the base itself
    of_seeds: tuple[float, ...]  # mean difference of each seed
    held_out: float | None  # loss of the final filter, mean over the seeds
    published: float | None  # AUC less the base's, 0..1


def results_of(study, arms, seeds, step: int, sequences) -> list[Result]:
    """The arms that are scored after `step` steps, the base first; none without the base."""
    scores = score.scores(study, arms, seeds, step, sequences)
    losses = held_out(study, arms, step)
    by_arm = {}
    for (arm, seed), of in scores.items():
        by_arm.setdefault(arm, {})[seed] = of
    base = by_arm.get(arms[0].name, {})
    found = []
    for arm in arms:
        own = {seed: of for seed, of in by_arm.get(arm.name, {}).items() if seed in base}
        if not own:
            continue
        values = paired.differences(own, base)
        is_base = arm.name == arms[0].name
        of_seeds = [losses[arm.name, seed] for seed in own if (arm.name, seed) in losses]
        published = arm.published_percent
        if published is not None:
            published = (published - PUBLISHED_BASE_PERCENT) / 100
        found.append(
            Result(
                arm.name,
                arm.question,
                step,
                tuple(own),
                statistics.fmean(auc for of in own.values() for auc in of.values()),
                None if is_base else paired.compare(values),
                tuple(values.mean(1).tolist()),
                statistics.fmean(of_seeds) if of_seeds else None,
                published,
            )
        )
    return found


def latest(results_by_step: dict) -> list[Result]:
    """Each arm after the most steps, in the order of the arms."""
    last = {}
    for step in sorted(results_by_step):
        last |= {result.arm: result for result in results_by_step[step]}
    order = [result.arm for step in sorted(results_by_step) for result in results_by_step[step]]
    return [last[arm] for arm in dict.fromkeys(order)]


def held_out(study, arms, step: int) -> dict:
    """{(arm, seed): held-out loss of the final filter after `step` steps}."""
    found = {}
    for wave in sorted({arm.wave for arm in arms}):
        for name, loss in (study.unit(f"held out {wave} {step}") or {}).items():
            arm, _, seed = name.rpartition("-")
            found[arm, int(seed)] = loss
    return found


def row(result: Result, samples: int) -> dict:
    """Of the table of differences; `samples`: a step has."""
    apart = result.difference
    return {
        "arm": result.arm,
        "samples": result.step * samples,
        "seeds": len(result.seeds),
        "AUC": result.auc,
        "difference": apart and apart.mean,
        "low": apart and apart.low,
        "high": apart and apart.high,
        "detectable": apart and apart.detectable,
        "published": result.published,
        "held out": result.held_out,
    }


def run_rows(study, arms, seeds, step: int, sequences) -> list[dict]:
    """One row an arm, seed and sequence."""
    return [
        {"arm": arm, "seed": seed, "step": step, "sequence": sequence, "auc": auc}
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
