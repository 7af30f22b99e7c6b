"""Tables, plots and report of the study `metagradient`."""

from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.metagradient import plots
from dimp_jax.studies.metagradient.measure import EXACT, groups_of
from dimp_jax.studies.study import markdown_table

ENOUGH = 0.99  # cosine with the exact gradient
TITLES = {
    "final": "Loss of the final iterate",
    "whole": "Training loss of all iterates",
}


def write(opened, measured: dict, config) -> None:
    """Writes everything from the records of `measure.measure`."""
    opened.table("gradients", _rows(measured))
    sections = [_setting(measured, config)]
    for loss in dict.fromkeys(loss for loss, _ in measured):
        records = {n: r for (name, n), r in sorted(measured.items()) if name == loss}
        plots.against_iterations(opened.folder / f"cosine_{loss}.png", records, "cosine", ENOUGH)
        plots.against_iterations(opened.folder / f"ratio_{loss}.png", records, "ratio", None)
        plots.cost(opened.folder / f"cost_{loss}.png", records)
        sections.append(_loss(loss, records))
    sections.append(_cost(measured))
    opened.report("Gradients through the solver: exact, cheap and wrong", sections)


def _setting(measured, config):
    samples = next(iter(measured.values()))["samples"]
    sampler, predictor = config.training.data.sampler, config.model.predictor
    differences = [a["loss_difference"] for r in measured.values() for a in r["adjoints"].values()]
    return (
        "## Setting\n\n"
        f"{samples} training samples ({sampler.train_frames} train and {sampler.test_frames} test "
        "frames each, cut and changed as the config's training does). The solver is "
        f"`{predictor.solver}` on `{predictor.objective}` from the initialiser's filter; the loss "
        "is the training's classification loss on the test frames. Gradients are in float32, by "
        "the loss's learned parts, the initial filter and the features of the train frames, and "
        f"compared with those of `{EXACT}` (all iterations, exact): the cosine of the angle "
        "between them and the ratio of the norms, medians over the samples. The cosine of a single "
        "number (`filter_reg`, `log_step_length`) is whether its sign is right: 1 or -1. A dash: "
        "that gradient is zero. The values of the loss differ by at most "
        f"{max(differences):.2g} (relative) between the adjoints. `gradients.csv` has all numbers."
    )


def _loss(loss, records):
    groups, most = groups_of(records), max(records)
    vectors = [g for g in groups if records[most]["sizes"][g] > 1]
    found = {name: of for name, of in records[most]["adjoints"].items() if name != EXACT}
    middles = lambda values, names=groups: {g: middle(values[g]) for g in names}
    table = lambda field: markdown_table(
        [{"adjoint": name, **middles(of[field])} for name, of in found.items()]
    )
    norms, optimality = [], []
    for n, record in records.items():
        implicit = record["adjoints"]["implicit"]["cosine"]
        norms.append({"iterations": n, **middles(record["norm"])})
        row = {"iterations": n, "optimality": middle(record["optimality"])}
        optimality.append(row | middles(implicit, vectors))
    return "\n\n".join(
        [
            f"## {TITLES[loss]}",
            f"Cosine with the exact gradient after {most} iterations, by group of leaves.",
            table("cosine"),
            f"Norm by that of the exact gradient, {most} iterations.",
            table("ratio"),
            f"![One less the cosine, against iterations](cosine_{loss}.png)",
            f"![Ratio of the norms against iterations](ratio_{loss}.png)",
            "Norm of the exact gradient: where it grows with the iterations, the solve has become "
            "sensitive to what it starts from, and the directions of shorter passes say little.",
            markdown_table(norms),
            "Where truncation starts to matter: the least number of iterations to pass through for "
            f"a median cosine of {ENOUGH:g} (1 is `one_step`; `all`: no tried length below the "
            "number of iterations does).",
            markdown_table(truncation_rows(records, vectors)),
            "The implicit gradient is that of a solution. *Optimality* is the norm of the "
            "objective's gradient at the last iterate by that at the first one: far from 0, the "
            "iterate is none. Beside it the cosines of the implicit gradient.",
            markdown_table(optimality),
        ]
    )


def truncation_rows(records, groups) -> list[dict]:
    """For each number of iterations and group the least truncation that is good `ENOUGH`."""
    rows = []
    for n, record in records.items():
        lengths = {"one_step": 1}
        lengths |= {a: int(a[10:-1]) for a in record["adjoints"] if a.startswith("truncated(")}
        row = {"iterations": n}
        for group in groups:
            cosines = {a: middle(record["adjoints"][a]["cosine"][group]) for a in lengths}
            enough = [lengths[a] for a, c in cosines.items() if c is not None and c > ENOUGH]
            row[group] = min(enough) if enough else "all"
        rows.append(row)
    return rows


def _cost(measured):
    loads = [r["load"] for r in measured.values() if r["load"] is not None]
    rows, most = [], max(n for _, n in measured)
    for (loss, n), record in sorted(measured.items()):
        exact = record["adjoints"][EXACT]
        for name, found in record["adjoints"].items() if n == most else ():
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
    busy = f"{min(loads):g} to {max(loads):g}" if loads else "unknown"
    return "\n\n".join(
        [
            "## Cost",
            "Median time of a call (loss and gradient of one sample, compiled and warm), and what "
            "the program allocates beside arguments and results (XLA's own figure), after "
            f"{most} iterations. The machine's load when each unit began: {busy}; times taken "
            "beside other programs say little.",
            markdown_table(rows),
            *(
                f"![Time and memory against iterations: {TITLES[loss].lower()}](cost_{loss}.png)"
                for loss in dict.fromkeys(loss for loss, _ in measured)
            ),
        ]
    )


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
