"""Tables, plots and text of the study learned_loss."""

from pathlib import Path

from dimp_jax.media.images import InputError
from dimp_jax.models.dimp import STRIDE_PX
from dimp_jax.predictor.correlation import score_size
from dimp_jax.studies import answers, difference_figure
from dimp_jax.studies.answers import counted as counted_as
from dimp_jax.studies.learned_loss import figures, functions, sensitivity
from dimp_jax.studies.study import markdown_table
from dimp_jax.tracking import tracker
from dimp_jax.training import writers
from dimp_jax.training.log import counted

# Bhat et al. (ICCV 2019), table 2: AUC without a learned loss, less that with it.
PUBLISHED = {sensitivity.ALL: -0.005}
MAP_ROWS = 5  # of loss_maps.png, the initial one included


def parts_to_set_back(wanted, own) -> list[str]:
    """The learned parts of a `Loss` that are named, or all.

    Raises:
      InputError: an unknown name, or there are none.
    """
    there = sensitivity.parts_of(own.config, own.params)
    unknown = [part for part in wanted if part not in there]
    if unknown:
        raise InputError(
            f"--parts {unknown[0]}: expected some of {', '.join(there)}, the learned parts of "
            f"{own.name} with the objective {own.config.objective}"
        )
    if not there:
        raise InputError(
            f"{own.name}: the config sets every learned part back already; nothing is left to "
            "compare: give --no-sensitivity"
        )
    return [part for part in there if part in (wanted or there)]


def functions_of(study, own, runs, config) -> list[str]:
    """Tables and plots of the losses themselves.

    Args:
      own: the `Loss` of the tracker. runs: {checkpoint: its `Loss`es}.
    """
    everything = [own, *(loss for losses in runs.values() for loss in losses)]
    latest = [own, *(losses[-1] for losses in runs.values())]
    study.table("functions", functions.function_rows(everything))
    study.table("numbers", functions.scalar_rows(everything))
    study.table("deviations", functions.deviation_rows(everything))
    with_functions = [loss for loss in latest if loss.functions is not None]
    sections = [
        f"{loss.title}: the objective `{loss.config.objective}` has no learned label, mask and "
        "weight; only its numbers are shown."
        for loss in latest
        if loss.functions is None
    ]
    if with_functions:
        title = "learned loss"
        if any(len(curves) > 1 for loss in with_functions for curves in loss.functions[1:]):
            title += " (of several iterations, the last one is the darkest)"
        path = study.folder / "functions.png"
        figures.functions(path, with_functions, along_training=False, title=title)
        sections.append(
            "## Functions of the distance\n\nLabel y, mask m (after its activation) and spatial "
            "weight v over the distance of a cell to the target centre, as they were initially "
            "(dashed; of the config of the first one) and as they are. One cell is 16 px of the "
            "search crop. The last point stands for all larger distances. Values: "
            "`functions.csv`.\n\n![functions](functions.png)"
        )
        sections.append(_maps(study, with_functions, config))
    deviations = functions.deviation_rows(latest)
    if deviations:
        sections.append(
            "How far each function is from its initial one: the largest difference and where it "
            "is, the root of the sum of squares over the bins (L2), and the distance within which "
            "half of that sum lies. All steps: `deviations.csv`.\n\n"
            + markdown_table(_compact(deviations))
        )
    if functions.own_arrays(own.config):
        figures.own(study.folder / "own.png", own)
        sections.append(
            "Learned arrays that its solver and objective have beside label, mask and weight, as "
            "learned and initially (of arrays per iteration, the last).\n\n"
            "![own arrays](own.png)"
        )
    sections.append(
        "## Numbers\n\nThe step length is a factor of the exact line search, lambda the weight of "
        "the filter's squared norm. All steps: `numbers.csv`.\n\n"
        + markdown_table(_compact(functions.scalar_rows(latest)))
    )
    for number, (where, losses) in enumerate(runs.items(), 1):
        sections += _along_training(study, where, losses, number)
    return sections


def _maps(study, losses, config) -> str:
    cells = config.tracker.crop_size_px // STRIDE_PX
    side = score_size(cells, config.model.filter_size_cells)
    shown = losses[: MAP_ROWS - 1]
    rows = [("initial", functions.maps(shown[0].initial, shown[0].config, side))]
    rows += [(loss.title, functions.maps(loss.params, loss.config, side)) for loss in shown]
    figures.maps(study.folder / "loss_maps.png", rows)
    left_out = ""
    if len(losses) > len(shown):
        left_out = f" Only the first {len(shown)} of {len(losses)} checkpoints are drawn."
    return (
        f"The same on the {side} x {side} scores of a crop with the target in its middle: the "
        "label, and what a cell's error weighs. A score s above 0 costs v^2 (s - y)^2; one below 0 "
        "costs v^2 (m s - y)^2, which far from the target, where y is near 0, is (m v)^2 s^2: a "
        "mask of 1 is least squares, a mask of 0 a hinge. Where the config has the activation "
        "`bentpar`, this holds for large scores."
        f"{left_out}\n\n![loss maps](loss_maps.png)"
    )


def _along_training(study, where, losses, number) -> list[str]:
    """Curves of the steps of a training, and of what it logged."""
    sections = []
    if len(losses) > 1 and losses[0].functions is not None:
        name = f"along_training_{number}.png"
        figures.functions(study.folder / name, losses, along_training=True, title=where)
        steps = ", ".join(str(loss.step) for loss in losses)
        sections.append(
            f"The functions of {where} at the steps that it has on disk ({steps}).\n\n"
            f"![along the training]({name})"
        )
    log = Path(losses[0].name) / "metrics.jsonl"
    if losses[0].step is not None and log.is_file():
        initial = functions.scalars(losses[0].initial, losses[0].config)
        values = [float(initial[key][0]) for key in ("step_length", "lambda")]
        name = f"logged_{number}.png"
        if figures.along(study.folder / name, writers.read(log), values, where):
            sections.append(
                f"Step length and lambda over the steps of {where}, from its metrics.jsonl (of "
                f"values per iteration, the mean).\n\n![logged]({name})"
            )
    return ["## Along training", *sections] if sections and number == 1 else sections


def _compact(rows):
    """The rows without columns that say nothing."""
    nothing = {"step": None, "iteration": 1}
    silent = [name for name in nothing if all(row[name] == nothing[name] for row in rows)]
    return [{key: value for key, value in row.items() if key not in silent} for row in rows]


def sensitivity_of(study, config, parts, sequences, seeds, console) -> tuple[str, list[str]]:
    """Tracks with each part set back; tables and plots.

    Returns:
      (what it says, the sections that show it).
    """
    by_arm = sensitivity.trackers(tracker.build(config), parts)
    names = list(by_arm)
    with counted(console, "tracking") as progress:
        sensitivity.measure(study, by_arm, sequences, seeds, progress)
    effects = sensitivity.effects(study, names, sequences, seeds)
    trained, *others = effects
    study.table("sensitivity", sensitivity.auc_rows(study, names, sequences, seeds))
    study.table("effects", sensitivity.effect_rows(effects))
    less = {f"AUC less that of the {trained} loss": {name: effects[name] for name in others}}
    difference_figure.draw(study.folder / "sensitivity.png", less, PUBLISHED)
    scores = sensitivity.score_rows(study, names, sequences)
    study.table("score_maps", scores)
    first = sequences[0]
    figures.score_maps(
        study.folder / "score_maps.png",
        sensitivity.stored_scores(study, names, first),
        f"scores of the second frame of {first.name}",
    )
    frames = sum(s.frames.count for s in sequences)
    said = [
        f"**Does tracking need it?** AUC {effects[trained].mean:.3f} with the trained loss; with a "
        "part set back to its initial value:",
        *answers.lines(effects),
    ]
    return "\n".join(said), [
        "## Sensitivity of tracking",
        "![sensitivity](sensitivity.png)",
        "Each learned part is set back to its initial value, all else staying as trained, also the "
        "features that were trained together with it; `all` sets all of the others back. Success "
        "AUC (rule `visible`: 21 thresholds, frames without the target left out), mean over "
        f"{counted_as(len(sequences), 'sequence')} of {frames} frames together and "
        f"{counted_as(len(seeds), 'seed')}. Differences are paired by sequence and seed, with the "
        f"95 % interval of a bootstrap over {answers.drawn(len(seeds))}; detectable: what would "
        "have been told from 0 with probability 0.8. A difference of exactly 0 is possible: where "
        "the IoU network refines, scores with the same peak cells and verdicts give the same "
        "boxes. Diamond: the paper's tracker that was trained without a learned loss, which is "
        "another question. Values: `effects.csv`, of each sequence and seed "
        "`sensitivity.csv`.",
        markdown_table([_effect_row(name, effect) for name, effect in effects.items()]),
        "Score maps of the second frame of each sequence, with the filter learned from the first "
        "one: Pearson's correlation with those of the trained loss (mean and lowest over the "
        "sequences), their largest value, and the largest value 3 or more cells from it as a share "
        "of it.",
        markdown_table(scores),
        "![score maps](score_maps.png)",
    ]


def _effect_row(name, effect):
    apart = effect.difference
    return {
        "set back": name,
        "AUC": effect.mean,
        "difference": answers.interval(apart),
        "detectable": apart and apart.detectable,
    }


def learned(own) -> str:
    """What the tracker's `Loss` says, in a line or two."""
    last = lambda key, rows: {row[key]: row for row in rows}.values()  # of several iterations
    moved = [
        f"the {row['part']} changed by up to {row['max']:.2g}"
        + ("" if row["max at (cells)"] is None else f" (at {row['max at (cells)']:g} cells)")
        for row in last("part", functions.deviation_rows([own]))
    ]
    numbers = [
        f"{row['number']} is {row['value']:.3g} (initially {row['initial']:.3g})"
        for row in last("number", functions.scalar_rows([own]))
    ]
    said = "; ".join(moved + numbers)
    return f"**What did it learn?** {said[0].upper()}{said[1:]}."
