"""What the trainings of the study `metagradient` say."""

import numpy as np

from dimp_jax.studies import difference_figure
from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.answers import counted, interval
from dimp_jax.studies.metagradient import plots
from dimp_jax.studies.metagradient.bias import ALL
from dimp_jax.studies.metagradient.measure import EXACT
from dimp_jax.studies.study import markdown_table
from dimp_jax.studies.trainings import results, settings
from dimp_jax.studies.trainings.results import HELD_OUT

TEXT = (
    "{members} trainings: {seeds} of {steps} steps of {batch} sequences with each gradient, of "
    "heads that start from the same fresh numbers and see the same batches of features ({samples} "
    "samples of {sources}); all else is the config's, its schedule shrunk to the number of steps. "
    "AUC: success of the tracker (rule `visible`), mean over {sequences}. Hits: share of later "
    "frames that the first frame's filter finds, without tracking. Held-out loss: of the final "
    "filter, on {held_out} samples that none was trained on. Differences: to `{exact}` with the "
    "same seed on the same sequence or batch, with the 95 % interval of a bootstrap over both. "
    "`checkpointed` is the same gradient but for rounding: its differences say how far two "
    "trainings of the same gradient end apart."
)
BIAS_TEXT = (
    "At the parameters that each training had, on the next {count} batches that it saw: the cosine "
    "of the angle between its gradient and the exact one, and the ratio of the norms, medians over "
    "batches and seeds; of all trained numbers, of the classifier's layer, the initialiser and the "
    "parts of the loss. *Other batch*: the cosine of the exact gradients of two batches, the noise "
    "that a step has anyway. *Optimality*: norm of the objective's gradient at the last iterate by "
    "that at the first; the implicit gradient is that of a solution, where it is 0. All points: "
    "`bias_summary.csv`; the lines of the figure: `along.csv`."
)
COST_TEXT = (
    "Of a step of one training, of those alone in the processor: the median of {repeats} after one "
    "that is not counted, and what the program allocates beside arguments and results (XLA's own "
    "figure). Load of the machine before: {load:g}."
)


def sections(study, args, arms, base, sequences) -> list[str]:
    """Markdown of what is there of the trainings; tables and figures go to the folder.

    Args:
      arms: as of `trained.arms_of`. base: `Config` of the exact one.
    """
    found = measured(study, args, arms, sequences)
    last = {measure: results.latest(by_step) for measure, by_step in found.items() if by_step}
    study.table("trained", results.arm_rows(found, {}, args.global_batch))
    study.table("curves", results.curve_rows(study, arms, args.steps))
    points = settings.scored_steps(args)
    study.table(
        "runs", results.run_rows(study, arms, settings.seeds_of(args), points[-1:], sequences)
    )
    bias = bias_records(study, args, arms)
    study.table("bias", bias_rows(bias, args.global_batch))
    title = "## Does a biased gradient train a worse tracker?"
    if not last:
        return [title, "Not yet measured; the same command goes on."]
    answers = ["\n".join(results.answer(name, of, args.global_batch)) for name, of in last.items()]
    return [
        title,
        *answers,
        *([] if "AUC" in last else ["The trackers have not run yet; the same command goes on."]),
        *_differences(study, last),
        _setting(args, arms, base, sequences),
        *_bias(study, args, bias),
        *_along(study, args, found, bias),
        *_cost(study, args),
    ]


def measured(study, args, arms, sequences) -> dict:
    """{measure: {step: {arm: `paired.Measured`}}}; the held-out loss by batch."""
    points = settings.scored_steps(args)
    found = results.measured(study, arms, settings.seeds_of(args), points, sequences)
    found[HELD_OUT] = {}
    for step in points:
        by_batch = results.of_members(study, arms, f"held out {{wave}} {step} by batch")
        by_batch = {run: dict(enumerate(losses)) for run, losses in by_batch.items()}
        if of_arms := results.compared(by_batch, arms, step):
            found[HELD_OUT][step] = of_arms
    return found


def bias_records(study, args, arms) -> dict:
    """{arm: {step: {seed: record of `bias.along`}}} of what is there."""
    found = {arm.name: {} for arm in arms}
    for step in (0, *settings.scored_steps(args)):
        for member, record in (study.unit(f"bias {step}") or {}).items():
            arm, _, seed = member.rpartition("-")
            found[arm].setdefault(step, {})[int(seed)] = record
    return {arm: of for arm, of in found.items() if of}


def bias_rows(bias, samples: int) -> list[dict]:
    """One row an arm, step, seed, group of leaves and batch."""
    return [
        {
            "arm": arm,
            "samples": step * samples,
            "seed": seed,
            "group": group,
            "batch": batch,
            "cosine": record["cosine"][group][batch],
            "norm_ratio": record["ratio"][group][batch],
            "cosine_of_another_batch": record["between"][group][batch],
            "optimality": record["optimality"][batch],
        }
        for arm, by_step in bias.items()
        for step, by_seed in by_step.items()
        for seed, record in by_seed.items()
        for group in record["cosine"]
        for batch in range(len(record["optimality"]))
    ]


def _differences(study, last):
    columns = {}
    for name, of in last.items():
        compared = {arm: result for arm, result in of.items() if result.difference is not None}
        if compared:
            columns[f"{name} less that of {EXACT}"] = compared
    rows = []
    for arm in dict.fromkeys(arm for of in last.values() for arm in of):
        cells = {"gradient": arm}
        for name, of in last.items():
            result = of.get(arm)
            cells[name] = result and result.mean
            apart = result and result.difference
            cells[f"difference of {name}"] = interval(apart)
            cells[f"{name} detectable"] = apart and apart.detectable
        rows.append(cells)
    parts = [markdown_table(rows)]
    if columns:
        difference_figure.draw(study.folder / "trained.png", columns, {})
        parts.insert(0, "![Differences to the exact gradient](trained.png)")
    return parts


def _setting(args, arms, base, sequences):
    training = base.training
    return TEXT.format(
        members=len(arms) * args.seeds,
        seeds=counted(args.seeds, "seed"),
        steps=args.steps,
        batch=args.global_batch,
        samples=args.pool_samples,
        sources=", ".join(name for name, _ in training.data.sources),
        sequences=counted(len(sequences), "sequence"),
        held_out=args.held_out,
        exact=EXACT,
    )


def _bias(study, args, bias):
    if not bias:
        return []
    rows, shown = [], []
    for arm, by_step in bias.items():
        for step, by_seed in by_step.items():
            records = list(by_seed.values())
            over = lambda field, group, records=records: middle(
                value for record in records for value in record[field][group]
            )
            row = {"gradient": arm, "after": step * args.global_batch}
            row |= {f"cosine, {group}": over("cosine", group) for group in records[0]["cosine"]}
            row |= {f"ratio, {ALL}": over("ratio", ALL), "other batch": over("between", ALL)}
            row["optimality"] = middle(v for record in records for v in record["optimality"])
            rows.append(row)
            if step in (min(by_step), max(by_step)):
                shown.append(row)
    study.table("bias_summary", rows)
    return [
        "## How biased is it, along the training?",
        markdown_table(shown),
        BIAS_TEXT.format(count=args.batches),
    ]


def _along(study, args, found, bias):
    """The figure of what changes along the trainings."""
    batch, shown = args.global_batch, {}
    for name in (HELD_OUT, "hits"):
        by_step = found.get(name, {})
        arms = dict.fromkeys(arm for of in by_step.values() for arm in of if arm != EXACT)
        if len(by_step) > 1:
            title = f"{name} less that of {EXACT}"
            shown[title] = {arm: _of_seeds(by_step, arm, batch) for arm in arms}
    groups = [ALL, "classifier", "initialiser", "label", "mask", "weight"]
    lines = {}
    for arm, by_step in bias.items():
        for group in groups:
            if arm == EXACT:
                line = _bias_line(by_step, "between", group, batch)
                lines.setdefault(group, {})["exact, other batch"] = line
            elif arm != "checkpointed":
                lines.setdefault(group, {})[arm] = _bias_line(by_step, "cosine", group, batch)
    drawable = lambda of: {name: line for name, line in of.items() if line is not None}
    for group, of in lines.items():
        if drawable(of):
            shown[f"cosine with the exact gradient: {group}"] = drawable(of)
    if not shown:
        return []
    about = "training samples seen; line: the middle seed, band: all seeds"
    plots.along(study.folder / "along.png", shown, about)
    study.table("along", _along_rows(shown))
    return ["![Held-out loss, hits and bias along the training](along.png)"]


def _along_rows(shown):
    """One row a point of a line of the figure."""
    return [
        {"panel": title, "line": name, "samples": int(at)}
        | {"low": float(of.min()), "middle": float(np.median(of)), "high": float(of.max())}
        for title, lines in shown.items()
        for name, (samples, values) in lines.items()
        for at, of in zip(samples, values.T, strict=True)
    ]


def _of_seeds(by_step, arm, batch):
    """(samples, [seeds, points]): difference to the base."""
    steps = [step for step in sorted(by_step) if arm in by_step[step]]
    values = [by_step[step][arm].of_seeds for step in steps]
    return np.asarray(steps) * batch, np.transpose(values)


def _bias_line(by_step, field, group, batch):
    """(samples, [seeds, points]) of medians over the batches; None where a gradient is zero."""
    steps = sorted(by_step)
    seeds = sorted(by_step[steps[0]])
    values = [
        [middle(by_step[step][seed][field].get(group, [])) for step in steps] for seed in seeds
    ]
    values = np.array(values, float)
    return None if np.isnan(values).any() else (np.asarray(steps) * batch, values)


def _cost(study, args):
    costs = study.unit("cost of a step")
    if costs is None:
        return []
    exact, rows = costs[EXACT], []
    for arm, of in costs.items():
        memory = of["temporary_bytes"]
        rows.append(
            {
                "gradient": arm,
                "s a step": of["wall_s"],
                "processor s": of["processor_s"],
                "time by unrolled": of["wall_s"] / exact["wall_s"],
                "training (min)": of["wall_s"] * args.steps / 60,
                "MB": None if memory is None else memory / 1e6,
                "memory by unrolled": None if memory is None else memory / exact["temporary_bytes"],
            }
        )
    study.table("cost_of_a_step", rows)
    load = max(of["load"] or 0.0 for of in costs.values())
    return [
        "## What a training step costs",
        markdown_table(rows),
        COST_TEXT.format(repeats=args.repeats, load=load),
    ]
