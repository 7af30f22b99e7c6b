"""The report of the ablations, of what is there so far."""

from dimp_jax.studies import difference_figure
from dimp_jax.studies.ablation import cost
from dimp_jax.studies.ablation.arms import QUESTIONS, published
from dimp_jax.studies.answers import counted, interval
from dimp_jax.studies.study import markdown_table
from dimp_jax.studies.trainings import aim, results, score, settings

TABLE_TEXT = (
    "AUC: success of the tracker (rule `visible`). Hits: share of up to {frames} later frames of a "
    "sequence in which the filter of the first frame has its peak within a cell of the target, in "
    "a window around the box of the frame before; no tracking. Both are means over {sequences} and "
    "the seeds; `after`: so many samples. Differences: to the base with the same seed on the same "
    "sequence, with the 95 % interval of a bootstrap over sequences and seeds. Detectable: the "
    "difference that would have been told from 0 with probability 0.8. Published: the paper's "
    "difference in AUC, on other data after a training of 1.3 million samples. Held out: loss of "
    "the final filter on {held_out} samples that no arm was trained on{source}, mean over the "
    "seeds."
)
SAME_SOURCES = " (other draws from the same pictures and videos)"
FIGURE_TEXT = (
    "Dot and line: mean difference and its 95 % interval, blue where 0 is outside. Ticks: the "
    "seeds. Diamonds: the paper's differences in AUC."
)
ITERATIONS_TEXT = (
    "AUC, and the difference to the base with its 95 % interval. In tracking: at the first frame; "
    "an update has fewer."
)
ORDERS = (  # worst first, as published
    ("initializer_only", "gradient_descent", "steepest_descent"),
    ("no_learned_loss", "steepest_descent"),
    ("update_none", "steepest_descent"),
)


def write(study, args, arms, configs, sequences) -> None:
    """Writes tables, figures and report of all that is measured."""
    seeds, steps = settings.seeds_of(args), settings.scored_steps(args)
    found = results.measured(study, arms, seeds, steps, sequences)
    last = {measure: results.latest(by_step) for measure, by_step in found.items()}
    costs, base = study.unit("cost") or [], configs[arms[0].name]
    of_paper = {arm.name: published(arm) for arm in arms}
    held_out = results.held_out_rows(study, arms, seeds, steps, args.global_batch)
    study.table("arms", results.arm_rows(found, of_paper, args.global_batch) + held_out)
    study.table("runs", results.run_rows(study, arms, seeds, steps, sequences))
    study.table("curves", results.curve_rows(study, arms, args.steps))
    if costs:
        study.table("cost", costs)
    parts = [
        *(said(measure, of, args.global_batch, base) for measure, of in last.items() if of),
        state(study, args, arms, seeds, steps, sequences),
        *figure(study, last, arms),
        *tables(study, last, arms, args, configs, sequences),
        *iterations(last["AUC"], arms, configs),
        *along(found, args.global_batch),
        "## How it was made",
        setup(args, arms, base),
    ]
    if costs:
        members = sum(not arm.weights_of for arm in arms if arm.wave == 1) * len(seeds)
        load = costs[0]["load"]
        about = cost.TEXT.format(repeats=args.repeats, members=members, load=load)
        parts += ["## Cost", about, markdown_table(costs)]
    study.report(f"Ablations of {args.config}", parts)


def said(measure: str, last: dict, samples: int, base) -> str:
    """What a measure says; of the paper's orders, too, if the base has the paper's objective."""
    orders = order_lines(last) if base.model.predictor.objective == "hinge" else []
    return "\n".join([*results.answer(measure, last, samples), *orders])


def order_lines(last) -> list[str]:
    """Whether each of the paper's orders is there."""
    lines = []
    for order in ORDERS:
        if not set(order) <= set(last) or len({last[arm].step for arm in order}) > 1:
            continue
        values = [last[arm].mean for arm in order]
        holds = all(worse < better for worse, better in zip(values, values[1:], strict=False))
        apart = [last[arm].difference for arm in order[:-1]]
        certain = all(difference.told and difference.mean < 0 for difference in apart)
        state = (
            "is there"
            if holds and certain
            else "is there in the means"
            if holds
            else "is not there"
        )
        measured = ", ".join(f"{value:.3f}" for value in values)
        lines.append(f"* The paper's order {' < '.join(order)} {state}: {measured}.")
    return lines


def state(study, args, arms, seeds, steps, sequences) -> str:
    """What is there and what is missing."""
    total, there = 0, 0
    for step in steps:
        scored = settings.scored_arms(args, arms, step)
        total += len(scored) * len(seeds)
        there += len(score.scores(study, scored, seeds, step, sequences))
    if there == total:
        return f"Complete: all {total} runs over the sequences."
    return (
        f"**Partial**: {there} of {total} runs over the sequences are there (an arm, a seed, a "
        "number of samples each). The same command goes on; `--report-only` writes this page again."
    )


def figure(study, last, arms) -> list[str]:
    """The figure and its text; nothing if nothing can be compared."""
    columns = {}
    for measure, of in last.items():
        compared = {arm: result for arm, result in of.items() if result.difference is not None}
        if compared:
            columns[f"{measure} less the base's"] = compared
    if not columns:
        return []
    of_paper = {arm.name: published(arm) for arm in arms if arm.published_percent}
    difference_figure.draw(study.folder / "differences.png", columns, of_paper)
    return ["![differences to the base](differences.png)", FIGURE_TEXT]


def tables(study, last, arms, args, configs, sequences) -> list[str]:
    """The table of each arm after the most samples, and what the arms are about."""
    if not any(last.values()):
        return ["Nothing is measured yet."]
    base = configs[arms[0].name]
    source = "" if base.training.data.validation_sources else SAME_SOURCES
    parts = [
        TABLE_TEXT.format(
            frames=aim.FRAMES,
            sequences=counted(len(sequences), "sequence"),
            held_out=args.held_out,
            source=source,
        )
    ]
    rows = [row(study, last, arm, arms, args.global_batch) for arm in arms]
    parts.append(markdown_table([of for of in rows if of is not None]))
    for question, about in QUESTIONS.items():
        of = [f"`{arm.name}`" for arm in arms[1:] if arm.question == question]
        if of:
            parts.append(f"{question.capitalize()} ({', '.join(of)}): {about}")
    return parts


def row(study, last, arm, arms, samples: int) -> dict | None:
    """Of the table; None: the arm is not measured yet."""
    there = {measure: of[arm.name] for measure, of in last.items() if arm.name in of}
    if not there:
        return None
    cells = {"arm": arm.name}
    for measure in results.MEASURES:
        result = there.get(measure)
        apart = result and result.difference
        cells[f"{measure} after"] = result and result.step * samples
        cells[measure] = result and result.mean
        cells["difference" if measure == "AUC" else f"difference of {measure}"] = interval(apart)
        cells["detectable" if measure == "AUC" else f"{measure} detectable"] = (
            apart and apart.detectable
        )
        if measure == "AUC":
            cells["published"] = published(arm)
    step = max(result.step for result in there.values())
    return cells | {"held out": results.held_out(study, arms, step).get(arm.name)}


def iterations(last, arms, configs) -> list[str]:
    """AUC by the numbers of iterations in training and in tracking, if an arm varies both."""
    numbers = {}
    for arm in arms:
        if arm.name in last and (arm == arms[0] or arm.question == "iterations"):
            config = configs[arm.name]
            counts = config.model.predictor.num_iter, config.tracker.memory.init_iterations
            numbers[counts] = last[arm.name]
    trained_with, tracked_with = ({counts[i] for counts in numbers} for i in (0, 1))
    if len(numbers) < len(trained_with) + len(tracked_with):  # no more than a row and a column
        return []

    def cell(result):
        return result and f"{result.mean:.3f} {interval(result.difference) or ''}".strip()

    rows = [
        {"in training": trained}
        | {
            f"{tracked} in tracking": cell(numbers.get((trained, tracked)))
            for tracked in sorted(tracked_with)
        }
        for trained in sorted(trained_with)
    ]
    return ["## Iterations", ITERATIONS_TEXT, markdown_table(rows)]


def along(found, samples: int) -> list[str]:
    """How the differences grow with the training: a column for each number of samples."""
    parts = []
    for measure, by_step in found.items():
        arms = dict.fromkeys(
            arm for of in by_step.values() for arm, r in of.items() if r.difference
        )
        if len(by_step) < 2:
            continue
        apart = lambda step, arm, of=by_step: of[step][arm].difference if arm in of[step] else None
        rows = [
            {"arm": arm}
            | {f"{step * samples:,} samples": interval(apart(step, arm)) for step in by_step}
            for arm in arms
        ]
        parts += [f"## {measure} along the training", markdown_table(rows)]
    return parts


def setup(args, arms, base) -> str:
    """How the arms were trained, in a paragraph."""
    trained = sum(not arm.weights_of for arm in arms)
    sources = ", ".join(f"{name} ({weight:g})" for name, weight in base.training.data.sources)
    return (
        f"{trained} arms, {counted(args.seeds, 'seed')} each: trainings of {args.steps} steps of "
        f"{args.global_batch} sequences. The backbone and the box network of {base.checkpoint} are "
        "frozen and shared; the classifier's last layer, the filter initialiser and the learned "
        "loss start from fresh numbers in every arm: the shipped ones were trained with the base's "
        "predictor, and an arm that starts from them would be measured by how little it moves. "
        f"Features of {args.pool_samples} samples of {sources}; arms of a seed see the same "
        "batches. A seed is one of the first numbers, of the batches and of the tracker. Rates and "
        "their schedule are the config's, the latter shrunk to the number of steps."
    )
