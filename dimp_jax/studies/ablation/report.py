"""Tables and plots of the ablations."""

import numpy as np

from dimp_jax.studies.ablation.arms import PUBLISHED_BASE_PERCENT, QUESTIONS
from dimp_jax.studies.accuracy import mean_and_spread
from dimp_jax.studies.study import markdown_table
from dimp_jax.training.figures import legend_below, panels

TABLE_TEXT = (
    "AUC: success of the tracker (rule `visible`), mean over the {sequences}, then mean and "
    "standard deviation over the {seeds}. `difference`: to the base arm with the same seed, in "
    "AUC, mean and standard deviation over the seeds. `held out`: {held_out} of samples that no "
    "arm was trained on{source}. Published: percent, and its difference to the published base, on "
    "other data and after a training of 1.3 million samples; only the order can be compared."
)
CURVES_TEXT = (
    "Weighted loss of the final filter on the test crops of the training batches, mean over the "
    "seeds, smoothed over up to {points} points."
)
BARS_TEXT = "AUC of each arm: mean, and each seed as a dot. The line is the base arm."
SMOOTHED = 5  # points


def rows(arms, seeds, scores, held_out) -> list[dict]:
    """One row an arm.

    Args:
      scores: {(arm, seed): {sequence: AUC}}.
      held_out: {(arm, seed): loss of the final filter}; of arms that are trained.
    """
    base = arms[0].name
    auc = {key: float(np.mean(list(of.values()))) for key, of in scores.items()}
    table = []
    for arm in arms:
        published, apart = PUBLISHED_BASE_PERCENT, (None, None)
        if arm.name != base:
            published = arm.published_percent
            apart = mean_and_spread([auc[arm.name, seed] - auc[base, seed] for seed in seeds])
        mean, spread = mean_and_spread([auc[arm.name, seed] for seed in seeds])
        row = {"arm": arm.name, "AUC": mean, "spread": spread}
        row |= {"difference": apart[0], "spread of it": apart[1]}
        losses = [held_out[arm.name, s] for s in seeds if (arm.name, s) in held_out]
        loss = mean_and_spread(losses) if losses else (None, None)
        row |= {"held out": loss[0], "spread of loss": loss[1]}
        gap = None if published is None else published - PUBLISHED_BASE_PERCENT
        table.append(row | {"published": published, "published difference": gap})
    return table


def run_rows(scores) -> list[dict]:
    """One row an arm, seed and sequence."""
    return [
        {"arm": arm, "seed": seed, "sequence": sequence, "auc": auc}
        for (arm, seed), of in scores.items()
        for sequence, auc in of.items()
    ]


def curve_rows(groups, curves, log_every: int, steps: int) -> list[dict]:
    """One row a point of the curves and training; the last point may be of fewer steps."""
    members = [member for group in groups for member in group.members]
    return [
        {
            "step": min((point + 1) * log_every, steps),
            "arm": member.arm,
            "seed": member.seed,
            **{name: float(values[point, index]) for name, values in curves.items()},
        }
        for point in range(len(next(iter(curves.values()))))
        for index, member in enumerate(members)
    ]


def draw_curves(path, table) -> None:
    """Loss of the final filter over the steps, a line an arm."""
    figure, ((axis,),) = panels(1, 1, (8, 5))
    arms = list(dict.fromkeys(row["arm"] for row in table))
    for index, arm in enumerate(arms):
        steps, means = _mean_curve([row for row in table if row["arm"] == arm])
        line = {"color": "black", "linewidth": 2.5} if index == 0 else {"color": f"C{index - 1}"}
        axis.plot(steps, means, label=arm, linestyle="--" if index > 10 else "-", **line)
    axis.set(xlabel="step", ylabel="loss of the final filter", yscale="log")
    legend_below(figure, [axis], 4)
    figure.savefig(path, dpi=110)


def _mean_curve(rows):
    steps = sorted({row["step"] for row in rows})
    means = np.array(
        [np.mean([r["loss/final"] for r in rows if r["step"] == step]) for step in steps]
    )
    width = min(SMOOTHED, max(len(means) // 4, 1))
    smooth = np.convolve(means, np.full(width, 1 / width), mode="valid")
    return steps[width - 1 :], smooth


def draw_bars(path, table, arms, seeds, scores) -> None:
    """AUC of each arm with its seeds."""
    figure, ((axis,),) = panels(1, 1, (8, 0.4 * len(table) + 1.4))
    places = np.arange(len(table))[::-1]
    colors = ["0.35" if arm.name == arms[0].name else "C0" for arm in arms]
    axis.barh(places, [row["AUC"] for row in table], color=colors, alpha=0.6)
    for place, arm in zip(places, arms, strict=True):
        dots = [np.mean(list(scores[arm.name, seed].values())) for seed in seeds]
        axis.plot(dots, [place] * len(dots), "o", color="black", markersize=4)
    axis.axvline(table[0]["AUC"], color="0.35", linewidth=1)
    axis.set_yticks(places, [arm.name for arm in arms])
    shown = [np.mean(list(of.values())) for of in scores.values()]
    margin = 0.1 * (max(shown) - min(shown)) + 0.02
    axis.set_xlim(max(min(shown) - margin, 0.0), max(shown) + margin)
    axis.set_xlabel("success AUC (the axis does not begin at 0)")
    figure.savefig(path, dpi=110)


def sections(arms, table, costs, *, setup: str, texts: dict) -> list[str]:
    """The report's sections.

    Args:
      table: from `rows`. costs: rows of `cost.measure`.
      setup: a paragraph on how the arms were trained.
      texts: values of the placeholders of `TABLE_TEXT`, and "cost".
    """
    parts = [setup, "## Accuracy", TABLE_TEXT.format(**texts)]
    for question, text in QUESTIONS.items():
        which = [index for index, arm in enumerate(arms) if arm.question == question]
        if which:
            parts += [f"### {question.capitalize()}", text]
            parts.append(markdown_table([table[index] for index in [0, *which]]))
    parts += [BARS_TEXT, "![AUC of each arm](auc.png)", "## Training"]
    parts += [CURVES_TEXT.format(points=SMOOTHED), "![learning curves](curves.png)"]
    return [*parts, "## Cost", texts["cost"], markdown_table(costs)]


def write(study, args, arms, configs, sequences) -> None:
    """Not yet."""
