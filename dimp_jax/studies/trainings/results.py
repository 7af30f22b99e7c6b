"""What of a study is there so far, as rows of tables."""

import numpy as np

from dimp_jax.studies import answers, paired
from dimp_jax.studies.trainings import score, settings
from dimp_jax.studies.trainings.fit import LOG_EVERY

MEASURES = ("AUC", "hits")
HELD_OUT = "held-out loss"


def measured(study, arms, seeds, steps, sequences) -> dict:
    """{measure: {step: {arm: `paired.Measured`}}}, in the order of the arms, the base first."""
    found = {measure: {} for measure in MEASURES}
    for step in steps:
        auc = score.scores(study, arms, seeds, step, sequences)
        hits = of_members(study, arms, f"hits {{wave}} {step}")
        for measure, of in zip(MEASURES, (auc, hits), strict=True):
            if of_arms := compared(of, arms, step):
                found[measure][step] = of_arms
    return found


def compared(of_runs, arms, step: int) -> dict:
    """{arm: `paired.Measured`} of {(arm, seed): {sequence: value}}; the first arm is the base."""
    return paired.compared(by_arm(of_runs, arms), arms[0].name, step=step)


def by_arm(of_runs, arms) -> dict:
    """{arm: {seed: value}} of {(arm, seed): value}, in the order of the arms."""
    found = {arm.name: {} for arm in arms}
    for (arm, seed), value in of_runs.items():
        found[arm][seed] = value
    return {arm: of for arm, of in found.items() if of}


def latest(by_step) -> dict:
    """{arm: `paired.Measured`} of each arm after the most steps; see `measured`."""
    last = {}
    for step in sorted(by_step):
        last |= by_step[step]
    return last


def answer(measure: str, last: dict, samples: int) -> list[str]:
    """What a measure says of the trainings; `last`: as of `latest`. samples: of a step."""
    base, *_ = last.values()
    seeds = answers.counted(len(base.of_seeds), "seed")
    seen = f"{base.step * samples:,} samples"
    return [f"**{measure}**: base {base.mean:.3f} after {seen}, {seeds}.", *answers.lines(last)]


def held_out(study, arms, step: int) -> dict:
    """{arm: held-out loss of the final filter after `step` steps, mean over the seeds}."""
    of_arms = by_arm(of_members(study, arms, f"held out {{wave}} {step}"), arms)
    return {arm: float(np.mean(list(of.values()))) for arm, of in of_arms.items()}


def of_members(study, arms, key: str) -> dict:
    """{(arm, seed): value} of a unit {member: value} a wave; `key` has a place for the wave.

    The folder may also hold members of arms that are not asked for.
    """
    names, found = {settings.file_name(arm.name): arm.name for arm in arms}, {}
    for wave in sorted({arm.wave for arm in arms}):
        for member, value in (study.unit(key.format(wave=wave)) or {}).items():
            name, _, seed = member.rpartition("-")
            if name in names:
                found[names[name], int(seed)] = value
    return found


# ------------------------------------------------------------------------------ rows of CSVs


def arm_rows(found, published: dict, samples: int) -> list[dict]:
    """One row a measure, step and arm; {arm: `published` AUC less the base's}; a step's samples."""
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
                rows.append(row | {"published": published.get(arm) if measure == "AUC" else None})
    return rows


def held_out_rows(study, arms, seeds, steps, samples: int) -> list[dict]:
    """Rows alike of the held-out loss; the base's is not taken from it."""
    seen = {"measure": HELD_OUT, "seeds": len(seeds)}  # a wave has all of them
    return [
        seen | {"samples": step * samples, "arm": arm, "mean": loss}
        for step in steps
        for arm, loss in held_out(study, arms, step).items()
    ]


def run_rows(study, arms, seeds, steps, sequences) -> list[dict]:
    """One row an arm, seed and sequence with its AUC."""
    return [
        {"arm": arm, "seed": seed, "step": step, "sequence": sequence, "auc": auc}
        for step in steps
        for (arm, seed), of in score.scores(study, arms, seeds, step, sequences).items()
        for sequence, auc in of.items()
    ]


def curve_rows(study, arms, steps: int) -> list[dict]:
    """One row a point of the training's curves and training: the means over `LOG_EVERY` steps.

    The last one is of what is left of the `steps`.
    """
    names, rows = {settings.file_name(arm.name): arm.name for arm in arms}, []
    for wave in sorted({arm.wave for arm in arms}):
        curves = study.unit(f"curves {wave}") or {"members": []}
        for index, member in enumerate(curves.pop("members")):
            name, _, seed = member.rpartition("-")
            arm = names.get(name, name)
            for point in range(len(next(iter(curves.values())))):
                values = {metric: of[point][index] for metric, of in curves.items()}
                step = min((point + 1) * LOG_EVERY, steps)
                rows.append({"step": step, "arm": arm, "seed": seed, **values})
    return rows
