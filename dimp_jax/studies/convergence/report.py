"""Tables, plots and report of the study `convergence`."""

import statistics

import numpy as np

from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.convergence import plots
from dimp_jax.studies.convergence.lanczos import Ritz
from dimp_jax.studies.convergence.measure import STARTS, SWEPT, excess, shown_arms, stacked
from dimp_jax.studies.study import markdown_table

TOLERANCES = (0.1, 0.03, 0.01)  # of the excess loss, for counting iterations
LARGE = 0.01  # eigenvalues above this share of the largest are counted


def write(opened, measured: dict, args) -> None:
    """Writes everything from the units' records; `measured` by problem as of `measure`."""
    if not measured:
        raise ValueError("no frame of the sequences has ground truth on frames after it")
    sections = [_problems(measured, args)]
    for key, title in (("own", "Objective of the config"), ("kl", "Kullback-Leibler objective")):
        records = {name: record[key] for name, record in measured.items() if record[key]}
        if records:
            sections.append(_objective(opened, key, title, records))
    sections.append(_spectrum(opened, {name: r["spectrum"] for name, r in measured.items()}))
    opened.report("Convergence of the solvers on real frames", sections)


def _problems(measured, args):
    names = {name.rpartition("@")[0] for name in measured}
    return (
        "## Problems\n\n"
        f"{len(measured)} sample memories of the tracker from {len(names)} sequence(s) "
        f"({', '.join(sorted(names))}), as they were after frames spread over each sequence. The "
        f"boxes in a memory are the tracker's own. Scores are judged on up to {args.later} of the "
        f"{args.horizon} frames that follow, in windows cut around the ground truth of the frame "
        "before: *hit* is the share of frames whose highest score is within one cell of the true "
        "centre along both axes, *margin* the highest score there less the highest one outside of "
        "the target's box. The *excess* loss is that above the least loss that any solver reached "
        "(200 iterations of restarted conjugate gradients among them), by that of the zero "
        "filter: 1 is the zero filter, 0 the best filter known. Curves are medians over the "
        "problems, hits are means."
    )


def _objective(opened, key, title, records):
    rows, sweep = [], []
    for start in STARTS:
        shown = shown_arms(records, start)
        for arm in next(iter(records.values()))["curves"][start]:
            (rows if arm in shown else sweep).append(_row(records, start, arm))
        best = [_row(records, start, arm) for arm in shown if arm.startswith(SWEPT)]
        sweep += best if len(sweep) else []
    tracked = [r["tracked"] for r in records.values()]
    opened.table(f"curves_{key}", _curve_rows(records))
    opened.table(f"summary_{key}", rows + [row for row in sweep if row not in rows])
    plots.curves(opened.folder / f"curves_{key}.png", records, title)
    plots.step_lengths(opened.folder / f"steps_{key}.png", records, title)
    parts = [
        f"## {title}",
        "Excess loss, hits and margin after so many iterations, and the iterations until the "
        "excess is (in the median problem) below 10, 3 and 1 %; a dash: not within the run. "
        f"`summary_{key}.csv` and `curves_{key}.csv` have all numbers.",
        markdown_table(rows),
        f"The filter that the tracker had at those frames: hit "
        f"{statistics.fmean(t['hit'] for t in tracked):.3g}, margin "
        f"{statistics.median(t['margin'] for t in tracked):.3g}.",
        f"![Excess loss, hits and margin against iterations](curves_{key}.png)",
        "Step lengths of each iteration: the factor on the (negative) gradient, or on the "
        "direction of conjugate gradients and the new part of a momentum's move.",
        f"![Step lengths against iterations](steps_{key}.png)",
    ]
    if sweep:
        sweep.sort(key=lambda row: (row["start"], float(row["solver"].rpartition(" ")[2])))
        parts += [
            "Lengths that were tried for what has no step length of its own here; the one with the "
            "least median excess at the end, over all problems, is in the table and the plots "
            "above. It was chosen on these problems, so it is the best that a fixed length can do.",
            markdown_table([_short(row) for row in sweep]),
        ]
    if key == "kl":
        parts.insert(
            1,
            "The parameters of the checkpoint were learned for another objective: this shows how "
            "the solvers behave on a loss that is not piecewise quadratic, not how well a tracker "
            "trained for it does. Scores are linear in the filter, so the Gauss-Newton operator is "
            "the Hessian and the Newton step is that of steepest descent up to rounding.",
        )
    return "\n\n".join(parts)


def _row(records, start, arm):
    over, hit, margin = (stacked(records, start, arm, f) for f in ("excess", "hit", "margin"))
    last = over.shape[1] - 1
    at = [i for i in (1, 2, 5, 10) if i < last] + [last]
    row = {"start": start, "solver": arm}
    row |= {f"excess @{i}": float(np.median(over[:, i])) for i in at}
    for tolerance in TOLERANCES:
        below = over <= tolerance
        first = np.where(below.any(1), below.argmax(1), np.inf)
        count = float(np.median(first))
        row[f"to {tolerance:.0%}"] = int(np.ceil(count)) if np.isfinite(count) else None
    early = min(2, last)
    row |= {f"hit @{i}": float(np.mean(hit[:, i])) for i in dict.fromkeys((early, last))}
    row |= {f"margin @{i}": float(np.median(margin[:, i])) for i in dict.fromkeys((early, last))}
    return row


def _short(row):
    kept = ("start", "solver", "to 10%", "to 3%", "to 1%")
    return {k: v for k, v in row.items() if k in kept or k.startswith("excess")}


def _curve_rows(records):
    rows = []
    for problem, record in records.items():
        for start, by_arm in record["curves"].items():
            for arm, curve in by_arm.items():
                columns = {
                    "loss": curve["losses"],
                    "excess": excess(curve, record).tolist(),
                    "step_length": [*curve["step_lengths"], None],
                    "grad_norm": curve["grad_norms"],
                    "hit": curve["hit"],
                    "margin": curve["margin"],
                }
                which = {"problem": problem, "start": start, "solver": arm}
                for i, values in enumerate(zip(*columns.values(), strict=True)):
                    rows.append(which | {"iteration": i} | dict(zip(columns, values, strict=True)))
    return rows


def spectra_of(record, iterate: str) -> list[Ritz]:
    """The Ritz values of every random start; bounds are not kept."""
    pairs = zip(record[iterate]["values"], record[iterate]["weights"], strict=True)
    return [Ritz(np.asarray(v), np.asarray(w), np.zeros(len(v))) for v, w in pairs]


def _spectrum(opened, records):
    rows, ritz_rows = [], []
    for problem, record in records.items():
        for iterate in ("first", "last"):
            found = spectra_of(record, iterate)
            largest = max(s.values[-1] for s in found)
            smallest = min(s.values[0] for s in found)
            share = np.mean([s.weights[s.values > LARGE * largest].sum() for s in found])
            which = {"problem": problem, "iterate": iterate}
            rows.append(
                which
                | {
                    "largest": float(largest),
                    "smallest seen": float(smallest),
                    "regularisation": record["regularization"],
                    "condition": float(largest / smallest) if smallest > 0 else None,
                    f"share over {LARGE:.0%}": float(share),
                }
            )
            ritz_rows += [
                which | {"random start": i, "ritz value": float(value), "weight": float(weight)}
                for i, spectrum in enumerate(found)
                for value, weight in zip(spectrum.values, spectrum.weights, strict=True)
            ]
    opened.table("condition", rows)
    opened.table("ritz", ritz_rows)
    plots.spectrum(opened.folder / "spectrum.png", records, spectra_of)
    of = lambda iterate, name: middle(row[name] for row in rows if row["iterate"] == iterate)
    numbers = [k for k in rows[0] if k not in ("problem", "iterate")]
    middles = [{"iterate": i, **{name: of(i, name) for name in numbers}} for i in ("first", "last")]
    return "\n\n".join(
        [
            "## Curvature",
            "Eigenvalues of the Gauss-Newton operator (J^T J, regularisation included) at the "
            "initialiser's filter (*first*) and at that of steepest descent after the run "
            "(*last*), "
            "by Lanczos' iteration with full reorthogonalisation from random starts; medians over "
            "the problems (`condition.csv` has each). The smallest eigenvalue is at least the "
            "regularisation and at most the smallest one seen, so the condition number is a lower "
            "bound. The share is that of eigenvalues above 1 % of the largest.",
            markdown_table(middles),
            "Left: density of the eigenvalues (stochastic Lanczos quadrature, smoothed by "
            f"{plots.WIDTH_DECADES:g} decades). Right: the share of eigenvalues above a value. "
            "Thin lines are problems, thick ones their means. Steps and bumps at the lower end are "
            "the few nodes that the quadrature has there, not gaps of the spectrum.",
            "![Spectrum of the Gauss-Newton operator](spectrum.png)",
        ]
    )
