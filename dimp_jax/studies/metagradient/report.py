"""Tables, plots and report of the study `metagradient`."""

from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.metagradient import plots, trained_report
from dimp_jax.studies.metagradient.measure import EXACT, FEATURES, groups_of
from dimp_jax.studies.study import markdown_table

TITLES = {
    "final": "Loss of the final iterate",
    "whole": "Training loss of all iterates",
}


def write(opened, measured: dict, config, args, arms, sequences) -> None:
    """Writes everything that is there.

    Args:
      measured: as of `measure.recorded`. config: of the whole study.
      arms: {`settings.Arm`: `Config`} of the trainings, the exact one first; none: not asked for.
    """
    sections = []
    if arms:
        base = next(iter(arms.values()))
        sections = trained_report.sections(opened, args, tuple(arms), base, sequences)
    if measured:
        sections += _gradients(opened, measured, config)
    opened.report("Gradients through the solver: exact, cheap and wrong", sections)


def _gradients(opened, measured, config):
    opened.table("gradients", _rows(measured))
    by_loss = {}
    for (loss, n), record in sorted(measured.items()):
        by_loss.setdefault(loss, {})[n] = record
    by_loss = {loss: by_loss[loss] for loss in TITLES if loss in by_loss}
    opened.table("summary", [row for loss, of in by_loss.items() for row in _medians(loss, of)])
    sections = ["## Which gradient can be trusted?", _setting(measured, config)]
    at = config.model.predictor.num_iter
    for loss, records in by_loss.items():
        figure = f"gradients_{loss}.png"
        plots.against_iterations(opened.folder / figure, records, vectors_of(records), TITLES[loss])
        sections += [f"### {TITLES[loss]}", f"![Direction and size of the gradients]({figure})"]
        near = min(records, key=lambda n: (abs(n - at), n))
        sections += _tables(records[near], near)
    titles = {TITLES[loss]: records for loss, records in by_loss.items()}
    plots.cost(opened.folder / "cost.png", titles)
    return [*sections, *_cost(opened, measured)]


def _setting(measured, config):
    samples = next(iter(measured.values()))["samples"]
    sampler, predictor = config.training.data.sampler, config.model.predictor
    differences = [a["loss_difference"] for r in measured.values() for a in r["adjoints"].values()]
    return (
        f"{samples} training samples ({sampler.train_frames} train and {sampler.test_frames} test "
        "frames each, cut and changed as the config's training does). The solver is "
        f"`{predictor.solver}` on `{predictor.objective}` from the initialiser's filter; the loss "
        "is the training's classification loss on the test frames. Gradients are in float32, by "
        "the loss's learned parts, the initial filter and the features of the train frames, and "
        f"compared with those of `{EXACT}` (all iterations, exact): the cosine of the angle "
        "between them and the ratio of the norms, medians over the samples. The cosine of a single "
        "number (`filter_reg`, `log_step_length`) is whether its sign is right: 1 or -1. A dash: "
        "that gradient is zero. The values of the loss differ by at most "
        f"{max(differences):.2g} (relative) between the adjoints. `summary.csv` has the medians of "
        "the figures."
    )


def _tables(record, num_iter):
    """Cosines and norms after one number of iterations."""
    groups = [g for g, norms in record["norm"].items() if any(norms)]
    rows = []
    for name, of in record["adjoints"].items():
        if name != EXACT:
            cosines = {g: middle(of["cosine"][g]) for g in groups}
            ratios = {
                f"ratio, {g}": middle(of["ratio"][g]) for g in ("label", FEATURES) if g in groups
            }
            rows.append({"gradient": name, **cosines, **ratios})
    optimality = middle(record["optimality"])
    return [
        f"After {num_iter} iterations: medians of the cosine, and of the ratio of the norms. "
        f"Optimality of the solve: {optimality:.2g}.",
        markdown_table(rows),
    ]


def _medians(loss, records):
    """One row a number of iterations, adjoint and group of leaves."""
    return [
        {
            "loss": loss,
            "iterations": n,
            "adjoint": name,
            "group": group,
            "cosine": middle(of["cosine"][group]),
            "norm_ratio": middle(of["ratio"][group]),
            "exact_norm": middle(record["norm"][group]),
            "optimality": middle(record["optimality"]),
        }
        for n, record in records.items()
        for name, of in record["adjoints"].items()
        for group in of["cosine"]
    ]


def vectors_of(records) -> list[str]:
    """Groups of more than one number that the exact gradient reaches."""
    sizes = next(iter(records.values()))["sizes"]
    return [group for group in groups_of(records) if sizes[group] > 1]


def _cost(opened, measured):
    loads = [r["load"] for r in measured.values() if r["load"] is not None]
    rows, most = [], max(n for _, n in measured)
    for (loss, n), record in sorted(measured.items()):
        exact = record["adjoints"][EXACT]
        for name, found in record["adjoints"].items():
            taken, used = found["seconds"], found["temporary_bytes"]
            rows.append(
                {
                    "loss": loss,
                    "iterations": n,
                    "adjoint": name,
                    "ms": 1e3 * taken,
                    "time by unrolled": taken / exact["seconds"],
                    "MB": None if used is None else used / 1e6,
                    "memory by unrolled": None if used is None else used / exact["temporary_bytes"],
                }
            )
    opened.table("cost", rows)
    busy = f"{min(loads):g} to {max(loads):g}" if loads else "unknown"
    return [
        "### Cost of a gradient",
        "![Time and memory against iterations](cost.png)",
        "Median time of a call (loss and gradient of one sample, compiled and warm), and what the "
        f"program allocates beside arguments and results (XLA's own figure), after {most} "
        f"iterations. The machine's load when each unit began: {busy}; times taken beside other "
        "programs say little. Values of the figure: `cost.csv`.",
        markdown_table([row for row in rows if row["iterations"] == most]),
    ]


def _rows(measured):
    return [
        {
            "loss": loss,
            "iterations": n,
            "adjoint": name,
            "group": group,
            "sample": sample,
            "cosine": cosine,
            "norm_ratio": found["ratio"][group][sample],
            "exact_norm": record["norm"][group][sample],
            "optimality": record["optimality"][sample],
            "seconds": found["seconds"],
            "temporary_bytes": found["temporary_bytes"],
            "load": record["load"],
        }
        for (loss, n), record in measured.items()
        for name, found in record["adjoints"].items()
        for group, cosines in found["cosine"].items()
        for sample, cosine in enumerate(cosines)
    ]
