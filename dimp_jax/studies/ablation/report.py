"""The report of the ablations, of what is there so far."""

from dimp_jax.studies.ablation import cost, figures, results, score
from dimp_jax.studies.ablation.arms import QUESTIONS
from dimp_jax.studies.study import markdown_table

TABLE_TEXT = (
    "AUC: success of the tracker (rule `visible`), mean over {sequences} and the seeds. "
    "`difference`: to the base with the same seed on the same sequence, with its 95 % interval "
    "from `low` to `high` (bootstrap over sequences and seeds). `detectable`: the difference that "
    "would have been told from 0 with probability 0.8. `published`: the paper's difference, in the "
    "same unit, on other data after a training of 1.3 million samples. `held out`: loss of the "
    "final filter on {held_out} samples that no arm was trained on{source}."
)
FIGURE_TEXT = (
    "Dot and line: mean difference and its 95 % interval, blue where 0 is outside. Ticks: the "
    "seeds. Diamonds: the paper's differences."
)
ORDERS = (  # worst first, as published
    ("initializer_only", "gradient_descent", "steepest_descent"),
    ("no_learned_loss", "steepest_descent"),
    ("update_none", "steepest_descent"),
)


def write(study, args, arms, configs, sequences) -> None:
    """Writes tables, figures and report of all that is scored."""
    seeds = range(args.seed, args.seed + args.seeds)
    points = sorted({*args.score_at, args.steps})
    found = {step: results.results_of(study, arms, seeds, step, sequences) for step in points}
    found = {step: of for step, of in found.items() if of}
    table = [results.row(r, args.global_batch) for of in found.values() for r in of]
    runs = [run for step in points for run in results.run_rows(study, arms, seeds, step, sequences)]
    last, costs = results.latest(found), study.unit("cost") or []
    study.table("arms", table)
    study.table("runs", runs)
    study.table("curves", results.curve_rows(study, arms))
    study.table("cost", costs)
    compared = [result for result in last if result.difference is not None]
    if compared:
        title = f"{args.config}, up to {compared[0].step * args.global_batch:,} samples"
        figures.draw_differences(study.folder / "differences.png", compared, title)
    base = configs[arms[0].name]
    parts = [
        answer(last, args.global_batch),
        state(study, args, arms, seeds, points, sequences),
        *(["![differences to the base](differences.png)", FIGURE_TEXT] if compared else []),
        *tables(last, args.global_batch, base, args.held_out, sequences),
        *by_samples(found, args.global_batch),
        "## How it was made",
        setup(args, arms, base),
    ]
    if costs:
        members = sum(not arm.tracks_base for arm in arms if arm.wave == 1) * len(seeds)
        load = costs[0]["load"]
        text = cost.TEXT.format(repeats=args.repeats, members=members, load=load)
        parts += ["## Cost", text, markdown_table(costs)]
    study.report(f"Ablations of {args.config}", parts)


def answer(last, samples: int) -> str:
    """What can be said, in a few lines."""
    compared = [result for result in last if result.difference is not None]
    if not compared:
        return "Nothing is scored yet."
    told = [result for result in compared if result.difference.told]
    others = [result for result in compared if not result.difference.told]
    lines = [
        f"Base: AUC {last[0].auc:.3f} after {last[0].step * samples:,} samples, "
        f"{len(last[0].seeds)} seeds.",
        f"* Told from it: {'; '.join(map(_difference, told)) or 'none'}.",
        f"* Not told from it: {'; '.join(map(_difference, others)) or 'none'}.",
    ]
    smallest = [r.difference.detectable for r in others if r.difference.detectable is not None]
    if smallest:
        lines.append(
            f"* Of the latter a difference of {min(smallest):.3f} to {max(smallest):.3f} would "
            f"have been told with probability 0.8. Of {len(compared)} intervals of 95 %, "
            f"{0.05 * len(compared):.1f} exclude 0 by chance."
        )
    lines += order_lines({result.arm: result for result in last})
    return "\n".join(lines)


def order_lines(by_arm) -> list[str]:
    """Whether each of the paper's orders is there."""
    lines = []
    for order in ORDERS:
        if not set(order) <= set(by_arm):
            continue
        values = [by_arm[arm].auc for arm in order]
        holds = all(worse < better for worse, better in zip(values, values[1:], strict=False))
        apart = [by_arm[arm].difference for arm in order[:-1]]
        certain = all(difference.told and difference.mean < 0 for difference in apart)
        said = "is there" if holds and certain else "is there in the means" if holds else "is not"
        measured = ", ".join(f"{value:.3f}" for value in values)
        lines.append(f"* The paper's order {' < '.join(order)} {said}: {measured}.")
    return lines


def _difference(result) -> str:
    apart = result.difference
    text = f"`{result.arm}` {apart.mean:+.3f}"
    if apart.low is not None:
        text += f" [{apart.low:+.3f}, {apart.high:+.3f}]"
    if result.published is not None:
        text += f" (published {result.published:+.3f})"
    return text


def state(study, args, arms, seeds, points, sequences) -> str:
    """What is there and what is missing."""
    total, there = 0, 0
    for step in points:
        scored = [arm for arm in arms if step == points[-1] or not arm.tracks_base]
        total += len(scored) * len(seeds)
        there += len(score.scores(study, scored, seeds, step, sequences))
    if there == total:
        return f"Complete: all {total} runs over the sequences."
    return (
        f"**Partial**: {there} of {total} runs over the sequences are there (an arm, a seed, a "
        "number of samples each). The same command goes on; `--report-only` writes this page again."
    )


def tables(last, samples: int, base, held_out: int, sequences) -> list[str]:
    """A table for each question, of each arm after the most samples."""
    source = "" if base.training.data.validation_sources else " (other frames of the same videos)"
    text = TABLE_TEXT.format(
        sequences=f"{len(sequences)} sequence{'' if len(sequences) == 1 else 's'}",
        held_out=held_out,
        source=source,
    )
    parts = [text] if last else []
    for question, about in QUESTIONS.items():
        of = [result for result in last[1:] if result.question == question]
        if of:
            parts += [f"## {question.capitalize()}", about]
            parts.append(markdown_table([results.row(r, samples) for r in (last[0], *of)]))
    return parts


def by_samples(found, samples: int) -> list[str]:
    """How the differences grow with the training: a column for each number of samples."""
    if len(found) < 2:
        return []
    rows = []
    for arm in dict.fromkeys(r.arm for of in found.values() for r in of if r.difference):
        line = {"arm": arm}
        for step, of in found.items():
            apart = next((r.difference for r in of if r.arm == arm), None)
            line[f"{step * samples:,} samples"] = apart and (
                f"{apart.mean:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]"
                if apart.low is not None
                else f"{apart.mean:+.3f}"
            )
        rows.append(line)
    return ["## Along the training", "Difference and interval.", markdown_table(rows)]


def setup(args, arms, base) -> str:
    """How the arms were trained, in a paragraph."""
    trained = sum(not arm.tracks_base for arm in arms)
    sources = ", ".join(f"{name} ({weight:g})" for name, weight in base.training.data.sources)
    return (
        f"{trained} arms, {args.seeds} seeds each: trainings of {args.steps} steps of "
        f"{args.global_batch} sequences. The backbone and the box network of {base.checkpoint} are "
        "frozen and shared; the classifier's last layer, the filter initialiser and the learned "
        "loss start from fresh numbers in every arm: the shipped ones were trained with the base's "
        "predictor, and an arm that starts from them would be measured by how little it moves. "
        f"Features of {args.samples} samples of {sources}; arms of a seed see the same batches. "
        "A seed is one of the first numbers, of the batches and of the tracker. Rates and their "
        "schedule are the config's, the latter shrunk to the number of steps."
    )
