"""The study `convergence` as tables with all numbers, for plots of one's own."""

from dimp_jax.studies.convergence import results
from dimp_jax.studies.convergence.measure import ROUNDED, STARTS

EXACT = "excess in float32"  # beside the changes by rounding


def figure_rows(records, flops):
    """Middle and 95 % interval of the lines in the figures of the solvers and the starts."""
    best = results.best_arms(records, "initialiser").values()
    lines = [("initialiser", arm, field) for arm in best for field in ("excess", "hit", "margin")]
    later = results.after_the_first_frame(records)
    compared = next(iter(records.values()))["curves"]["zero"]
    after = ", after the first frame"
    lines += [(start + after, arm, "excess") for start in STARTS for arm in compared]
    rows = []
    for start, arm, field in lines:
        of = later if start.endswith(after) else records
        band = results.middle_and_interval(of, start.removesuffix(after), arm, field)
        gflop = flops.get(results.solver_name(arm), 0) / 1e9
        rows += [
            {"start": start, "solver": arm, "of": field, "iteration": i, "gflop": i * gflop}
            | dict(zip(("middle", "low", "high"), map(float, values), strict=True))
            for i, values in enumerate(zip(*band, strict=True))
        ]
    return rows


def rounding_rows(by_solver):
    """The same of the lines in the figure of rounded products; as of `plots.rounding`."""
    return [
        {"start": ROUNDED, "solver": solver, "iteration": i}
        | {"of": name if name == EXACT else f"size of the change by {name}"}
        | dict(zip(("middle", "low", "high"), map(float, values), strict=True))
        for solver, lines in by_solver.items()
        for name, band in lines.items()
        for i, values in enumerate(zip(*band, strict=True))
    ]


def curve_rows(records, flops):
    """Every iterate of every problem, start and arm."""
    rows = []
    for problem, record in records.items():
        for start, by_arm in record["curves"].items():
            for arm, curve in by_arm.items():
                columns = {
                    "loss": curve["losses"],
                    "excess": results.excess(curve, record).tolist(),
                    "step_length": [*curve["step_lengths"], None],
                    "grad_norm": curve["grad_norms"],
                    "hit": curve["hit"],
                    "margin": curve["margin"],
                }
                flop = flops.get(results.solver_name(arm), 0)
                which = {"problem": problem, "start": start, "solver": arm}
                for i, values in enumerate(zip(*columns.values(), strict=True)):
                    at = {"iteration": i, "gflop": i * flop / 1e9}
                    rows.append(which | at | dict(zip(columns, values, strict=True)))
    return rows
