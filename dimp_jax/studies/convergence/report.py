"""Tables and report of the study `convergence`."""

import numpy as np

from dimp_jax.studies import paired
from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.convergence import plots, results, tables, tracked
from dimp_jax.studies.convergence.arms import CONJUGATE, LEARNED, STEEPEST
from dimp_jax.studies.convergence.measure import ROUNDED, SPECTRA_AT, STARTS
from dimp_jax.studies.study import markdown_table

TOLERANCES = (0.1, 0.03)  # of the excess loss, for counting iterations
# Bhat et al. (ICCV 2019), table 1: AUC on OTB-100, NFS and UAV123 together, less that of steepest
# descent (63.8).
PUBLISHED = {"initialiser only": -0.056, "gradient descent": -0.022}
NAMES = {"initialiser": "restart: initialiser", "zero": "restart: zero", "tracked": "warm start"}
SAME = ("Newton step",)  # on a piecewise quadratic objective a line that lies on another one


def write(opened, measured: dict, solvers: dict, auc: dict, chosen: dict, args) -> None:
    """Writes everything from the units' records.

    Args:
      measured, solvers: by problem, and the unit of that name, as of `measure.measure`.
      auc: as of `tracked.measure`; may be empty. chosen: `tracked.variants`.
    """
    own = {name: record["own"] for name, record in measured.items()}
    sections = [_problems(measured, args), _solvers(opened, own, solvers["flops"])]
    if auc:
        sections.append(_auc(opened, auc, chosen, solvers["flops"], args))
    sections.append(_spectrum(opened, {name: r["spectrum"] for name, r in measured.items()}))
    sections.append(_starts(opened, own))
    rounding, rounded_lines = _rounding(opened, own)
    sections.append(rounding)
    kl = {name: record["kl"] for name, record in measured.items() if record["kl"]}
    if kl:
        sections.append(_kl(opened, kl))
    figures = tables.figure_rows(own, solvers["flops"]) + tables.rounding_rows(rounded_lines)
    opened.table("figures", figures)
    opened.table("curves", tables.curve_rows(own, solvers["flops"]))
    opened.report("The inner optimisation: how the filter is fitted", sections)


def _problems(measured, args):
    names = {results.sequence_of(name) for name in measured}
    return (
        f"{len(measured)} sample memories of the tracker from {len(names)} sequences, as they were "
        f"after frames {', '.join(map(str, args.after))}. *Excess* loss: above the least loss "
        "known (200 iterations of restarted conjugate gradients), by that of the zero filter: 1 is "
        "the zero filter, 0 the best one. *Hit*: the highest score is within one cell of the true "
        f"centre, on up to {args.later} of the {args.horizon} frames that follow, in windows cut "
        "around the ground truth of the frame before; *margin*: the highest score there less "
        "the highest one outside of the target. Medians over the problems, of hits the mean; "
        "intervals are of 95 %, by bootstrap over sequences."
    )


def _solvers(opened, records, flops):
    best = results.best_arms(records, "initialiser")
    at = results.judged_at(records)
    final = lambda arm: results.middle(records, "initialiser", arm)[at]
    best = dict(sorted(best.items(), key=lambda item: final(item[1])))
    rows = [_row(records, "initialiser", arm) for arm in best.values()]
    for row, solver in zip(rows, best, strict=True):
        row["GFLOP an iteration"] = flops[solver] / 1e9
    every = [
        _row(records, s, arm) for s in STARTS for arm in next(iter(records.values()))["curves"][s]
    ]
    opened.table("summary", every)
    shown = {solver: arm for solver, arm in best.items() if solver not in SAME}
    title = f"From the initialiser's filter, each solver at its best step; {len(records)} problems"
    plots.curves(opened.folder / "curves.png", records, flops, shown, title)
    shown_columns = [c for c in rows[0] if c != "start"]
    return "\n\n".join(
        [
            "## Which solver",
            f"Each at the step length of the least mean excess after {at} iterations, of those "
            "tried on these problems (`summary.csv` has them all, `figures.csv` the lines of the "
            "figures, `curves.csv` every problem); *learned* is the checkpoint's factor on the "
            "Gauss-Newton step. A dash: not within the run.",
            markdown_table([{c: row.get(c) for c in shown_columns} for row in rows]),
            "![Excess loss, hits and margin against iterations and operations](curves.png)",
        ]
    )


def _row(records, start, arm):
    over, low, high = results.middle_and_interval(records, start, arm)
    at = results.judged_at(records)
    row = {"start": start, "solver": arm}
    row |= {f"excess @{i}": float(over[i]) for i in dict.fromkeys((0, 1, 2, 5)) if i < at}
    row[f"excess @{at}"] = float(over[at])
    row["95 %"] = f"{low[at]:.3g} to {high[at]:.3g}"
    row[f"excess @{len(over) - 1}"] = float(over[-1])
    each = results.stacked(records, start, arm)
    for tolerance in TOLERANCES:
        first = results.iterations_to(each, tolerance)
        row[f"to {tolerance:.0%}"] = int(np.ceil(first)) if np.isfinite(first) else None
    for field in ("hit", "margin"):
        row[f"{field} @{at}"] = float(results.middle(records, start, arm, field)[at])
    return row


def _auc(opened, auc, chosen, flops, args):
    base = auc[tracked.CONFIGURED]
    rows = []
    for name, of in auc.items():
        arm, iterations = chosen[name]
        apart = paired.compare(paired.differences({0: of}, {0: base}), over_sequences=True)
        solver = results.solver_name(arm.name)
        rows.append(
            {
                "variant": name,
                "step": LEARNED if arm.step_length is None else arm.step_length,
                "iterations": iterations,
                "GFLOP": iterations * flops[solver] / 1e9,
                "AUC": float(np.mean(list(of.values()))),
                "difference": apart.mean,
                "low": apart.low,
                "high": apart.high,
                "could be told": apart.detectable,
            }
        )
    opened.table("auc", rows)
    opened.table(
        "auc_sequences",
        [{"variant": n, "sequence": s, "auc": v} for n, of in auc.items() for s, v in of.items()],
    )
    most = max(args.tracked)
    published = {
        name if name in auc else f"{name}, {most} iterations": value
        for name, value in PUBLISHED.items()
    }
    plots.auc(opened.folder / "auc.png", rows[1:], published)
    return "\n\n".join(
        [
            "## Does tracking notice",
            f"Success AUC of the tracker on {len(base)} sequences, one seed, with that solver on "
            "the first frame and, with iterations in proportion, in every update. Paired "
            "differences to the tracker as it is configured; *could be told*: what would be found "
            "with a probability of 0.8. GFLOP: of the first frame's iterations. The weights were "
            "trained with steepest descent; the paper trained each solver by itself.",
            markdown_table(rows),
            "![Differences of the AUC](auc.png)",
        ]
    )


def _spectrum(opened, records):
    frames = sorted({results.frame_of(name) for name in records})
    rows, ritz_rows = [], []
    for problem, record in records.items():
        for at in SPECTRA_AT:
            which = {"problem": problem, "frame": results.frame_of(problem), "filter": at}
            regularization = {"regularisation": record["regularization"]}
            rows.append(which | results.conditioning(record, at) | regularization)
            ritz_rows += [
                which | {"random start": i, "ritz value": float(value), "weight": float(weight)}
                for i, spectrum in enumerate(results.spectra_of(record, at))
                for value, weight in zip(spectrum.values, spectrum.weights, strict=True)
            ]
    opened.table("condition", rows)
    opened.table("ritz", ritz_rows)
    table = [_moment(rows, frame, at) for frame in frames for at in SPECTRA_AT]
    records_at = {
        frame: [r for name, r in records.items() if results.frame_of(name) == frame]
        for frame in frames
    }
    plots.spectrum(opened.folder / "spectrum.png", records_at, "tracked")
    return "\n\n".join(
        [
            "## Conditioning along a sequence",
            "Of the Gauss-Newton operator (J^T J with the regularisation) of the memory after so "
            "many frames, at the initialiser's filter and at the one that the tracker had, by "
            "Lanczos' iteration; medians. The condition number is a lower bound; *to the first "
            "frame*: the geometric mean of its ratio within the sequences. The share is that of "
            "eigenvalues above 1 % of the largest.",
            markdown_table(table),
            "![Spectrum of the Gauss-Newton operator](spectrum.png)",
        ]
    )


def _moment(rows, frame, at):
    here = [row for row in rows if row["frame"] == frame and row["filter"] == at]
    numbers = [k for k in here[0] if k not in ("problem", "frame", "filter")]
    found = {"frame": frame, "filter": at, "problems": len(here)}
    found |= {name: middle(row[name] for row in here) for name in numbers}
    logs = lambda frame: {
        results.sequence_of(row["problem"]): float(np.log(row["condition"]))
        for row in rows
        if row["frame"] == frame and row["filter"] == at and row["condition"] is not None
    }
    apart = paired.differences({0: logs(frame)}, {0: logs(0)})
    if frame == 0 or apart.size == 0:
        return found
    compared = paired.compare(apart, over_sequences=True)
    found["condition to the first frame"] = float(np.exp(compared.mean))
    if compared.low is not None:
        found["95 %"] = f"{np.exp(compared.low):.3g} to {np.exp(compared.high):.3g}"
    return found


def _starts(opened, records):
    later = results.after_the_first_frame(records)
    rows, lines = [], {}
    for solver in (f"{STEEPEST}, step {LEARNED}", CONJUGATE):
        for start in STARTS:
            row = _row(later, start, solver)
            rows.append(row | {"start": NAMES[start]})
            name = NAMES[start] + (", conjugate" if solver == CONJUGATE else ", steepest")
            lines[name] = results.middle_and_interval(later, start, solver)
    warm = results.stacked(later, "tracked", f"{STEEPEST}, step {LEARNED}")
    restart = results.stacked(later, "initialiser", f"{STEEPEST}, step {LEARNED}")
    spared = [results.iterations_to(restart, warm[:, done]) for done in (0, 2)]
    most = restart.shape[1] - 1
    spared = [f"{n:.0f}" if np.isfinite(n) else f"more than {most}" for n in spared]
    title = f"{len(later)} memories after the first frame"
    plots.starts(opened.folder / "starts.png", lines, title)
    return "\n\n".join(
        [
            "## Warm start or restart",
            "The memories after the first frame, fitted from the filter that the tracker had, from "
            "what the initialiser makes of the memory, and from zero. Steepest descent from the "
            f"initialiser's filter needs {spared[0]} iterations (median) for the loss that the "
            f"tracker's filter has at once, {spared[1]} for that of two more.",
            markdown_table(rows),
            "![Excess loss from each start](starts.png)",
        ]
    )


def _rounding(opened, records):
    by_solver, rows = {}, []
    at = results.judged_at(records)
    exact = {STEEPEST: f"{STEEPEST}, step {LEARNED}", CONJUGATE: CONJUGATE}
    for solver, arm in exact.items():
        names = {"float32": ("initialiser", arm)}
        for rounded in next(iter(records.values()))["curves"][ROUNDED]:
            if rounded.startswith(f"{solver}, "):
                names[rounded.removeprefix(f"{solver}, ")] = (ROUNDED, rounded)
        by_solver[solver] = {tables.EXACT: results.middle_and_interval(records, *names["float32"])}
        sequences = [results.sequence_of(p) for p in records]
        for name, (start, arm) in names.items():
            over = results.stacked(records, start, arm)
            more = over - results.stacked(records, *names["float32"])
            hits = results.stacked(records, start, arm, "hit")[:, at]
            if start == ROUNDED:
                size = np.median(np.abs(more), axis=0)
                found = results.interval(np.abs(more), sequences) or (size, size)
                by_solver[solver][name] = (size, *found)
            band = results.interval(more[:, at], sequences)
            rows.append(
                {
                    "solver": solver,
                    "products": name,
                    f"excess @{at}": float(np.median(over[:, at])),
                    "more than float32": float(np.median(more[:, at])),
                    "95 %": None if band is None else f"{band[0]:.2g} to {band[1]:.2g}",
                    f"excess @{over.shape[1] - 1}": float(np.median(over[:, -1])),
                    f"hit @{at}": float(np.mean(hits)),
                }
            )
    opened.table("rounding", rows)
    plots.rounding(opened.folder / "rounding.png", by_solver)
    section = "\n\n".join(
        [
            "## Where precision matters",
            "The same solve with the operands of its products rounded to TF32 or bfloat16 (sums "
            "in float32), of all products or of one kind: the target maps, the scores (J v), the "
            "gradient (J^T r), the inner products of the step length. What it finds is judged in "
            "float32. *More*: median of the differences to float32 in the same problem; the figure "
            "has their sizes beside the excess itself (`figures.csv`).",
            markdown_table(rows),
            "![Excess loss with rounded products](rounding.png)",
        ]
    )
    return section, by_solver


def _kl(opened, records):
    rows = [
        _row(records, "initialiser", arm)
        for arm in next(iter(records.values()))["curves"]["initialiser"]
    ]
    opened.table("summary_kl", rows)
    return "\n\n".join(
        [
            "## Kullback-Leibler objective",
            "The checkpoint's parameters were learned for another objective: this shows how the "
            "solvers behave where the loss is not piecewise quadratic, not how well a tracker "
            "trained for it does.",
            markdown_table([{k: v for k, v in row.items() if k != "start"} for row in rows]),
        ]
    )
