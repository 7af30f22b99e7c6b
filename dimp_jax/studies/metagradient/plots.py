"""Plots of the study `metagradient`."""

import numpy as np

from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.metagradient.measure import EXACT, adjoints_in, groups_of
from dimp_jax.training.figures import legend_below, look, panels

LEAST_ANGLE = 1e-5  # of the plots: what is nearer to the exact direction is drawn here
COLUMNS = 4


def against_iterations(path, records, field: str, threshold: float | None) -> None:
    """A panel for each group of leaves: cosine (as one less it) or norm ratio by adjoint."""
    groups, counts = groups_of(records), sorted(records)
    if field == "cosine":  # that of single numbers is a sign
        groups = [g for g in groups if records[counts[0]]["sizes"][g] > 1]
    rows = -(-len(groups) // COLUMNS)
    figure, axes = panels(rows, COLUMNS, (11, 0.8 + 2.7 * rows), sharex=True, sharey=True)
    for axis, group in zip(axes.flat, groups, strict=False):
        for index, adjoint in enumerate(adjoints_in(records)):
            if adjoint == EXACT:
                continue
            found = [records[n]["adjoints"].get(adjoint) for n in counts]
            values = [None if f is None else middle(f[field][group]) for f in found]
            drawn = np.array(values, float)  # None: NaN
            if field == "cosine":
                drawn = np.maximum(1 - drawn, LEAST_ANGLE)
            else:
                drawn = np.where(drawn > 0, drawn, np.nan)
            axis.plot(counts, drawn, label=adjoint, marker="o", markersize=3, **look(index))
        level, text = 1, "as the exact one"
        if threshold is not None:
            level, text = 1 - threshold, f"cosine {threshold:g}"
        axis.axhline(level, color="0.5", lw=0.9, ls=":", label=text)
        axis.set_title(group, fontsize="medium")
    for index, axis in enumerate(axes.flat):
        axis.set_visible(index < len(groups))
        if index + COLUMNS >= len(groups):  # the lowest one of its column
            axis.set_xlabel("iterations of the solver")
            axis.tick_params(labelbottom=True)
    _iterations(axes.flat[0], counts)
    axes.flat[0].set_yscale("log")
    if field == "cosine":
        axes.flat[0].set_ylim(LEAST_ANGLE / 2, 4)
    label = "1 - cosine with the exact gradient" if field == "cosine" else "norm by the exact one's"
    figure.supylabel(label, fontsize="medium")
    legend_below(figure, axes.flat, 5)
    figure.savefig(path, dpi=110)


def cost(path, records) -> None:
    """Time and temporary memory of one gradient against iterations."""
    counts = sorted(records)
    figure, axes = panels(1, 2, (11, 4))
    for axis, field, scale in zip(
        axes[0], ("seconds", "temporary_bytes"), (1e3, 1e-6), strict=True
    ):
        for index, adjoint in enumerate(adjoints_in(records)):
            found = [records[n]["adjoints"].get(adjoint) for n in counts]
            values = [np.nan if f is None or f[field] is None else scale * f[field] for f in found]
            axis.plot(counts, values, label=adjoint, marker="o", markersize=3, **look(index))
        _iterations(axis, counts)
        axis.set(yscale="log", xlabel="iterations of the solver")
    axes[0, 0].set_ylabel("time of loss and gradient (ms)")
    axes[0, 1].set_ylabel("temporary memory (MB)")
    legend_below(figure, axes.flat, 5)
    figure.savefig(path, dpi=110)


def _iterations(axis, counts):
    axis.set_xscale("log")
    axis.set_xticks(counts, [str(n) for n in counts])
    axis.minorticks_off()
