"""Figures of the study `metagradient`; lines are named where they end."""

import numpy as np

from dimp_jax.studies.accuracy import middle
from dimp_jax.studies.line_names import FONT, name_ends
from dimp_jax.studies.metagradient.measure import EXACT, adjoints_in
from dimp_jax.training.figures import look, panels

LEAST_ANGLE = 1e-5  # of the figures: what is nearer to the exact direction is drawn here
BAND = 0.15  # opacity
DPI = 100


def against_iterations(path, records, groups, title: str) -> None:
    """Direction and size of each adjoint's gradient: a column for each group of leaves."""
    counts = sorted(records)
    size = (2.2 * len(groups) + 1.6, 5.4)
    figure, axes = panels(2, len(groups), size, sharex=True, sharey="row")
    adjoints = [adjoint for adjoint in adjoints_in(records) if adjoint != EXACT]
    for row, field in zip(axes, ("cosine", "ratio"), strict=True):
        for axis, group in zip(row, groups, strict=True):
            for index, adjoint in enumerate(adjoints):
                found = [records[n]["adjoints"].get(adjoint) for n in counts]
                values = [None if of is None else middle(of[field][group]) for of in found]
                drawn = np.array(values, float)  # None: NaN
                if field == "cosine":
                    drawn = np.maximum(1 - drawn, LEAST_ANGLE)
                else:
                    drawn = np.where(drawn > 0, drawn, np.nan)
                axis.plot(counts, drawn, label=adjoint, marker="o", ms=3, **look(index))
            axis.axhline(1, color="0.5", lw=0.9, ls=":")
        _counts(row[0], counts)
        row[0].set_yscale("log")
        name_ends(row[-1])
    for axis, group in zip(axes[0], groups, strict=True):
        axis.set_title(group, size=FONT + 1)
    axes[0, 0].set_ylim(LEAST_ANGLE / 2, 4)
    axes[0, 0].set_ylabel("1 - cosine (1: at right angles)", size=FONT)
    axes[1, 0].set_ylabel("norm by the exact one's", size=FONT)
    figure.supxlabel("iterations of the solver", size=FONT)
    figure.suptitle(title, size=FONT + 2)
    figure.savefig(path, dpi=DPI)


def cost(path, by_loss) -> None:
    """Time and temporary memory of one gradient against iterations.

    Args:
      by_loss: {title: records by number of iterations}.
    """
    figure, axes = panels(len(by_loss), 2, (8.6, 3.2 * len(by_loss)), sharex=True)
    for row, (title, records) in zip(axes, by_loss.items(), strict=True):
        counts = sorted(records)
        for axis, field, scale in zip(
            row, ("seconds", "temporary_bytes"), (1e3, 1e-6), strict=True
        ):
            for index, adjoint in enumerate(adjoints_in(records)):
                found = [records[n]["adjoints"].get(adjoint) for n in counts]
                missing = [of is None or of[field] is None for of in found]
                values = [
                    np.nan if none else scale * of[field]
                    for of, none in zip(found, missing, strict=True)
                ]
                axis.plot(counts, values, label=adjoint, marker="o", ms=3, **look(index))
            _counts(axis, counts)
            axis.set_yscale("log")
        row[0].set_title(title, size=FONT + 1)
        row[0].set_ylabel("time of loss and gradient (ms)", size=FONT)
        row[1].set_ylabel("temporary memory (MB)", size=FONT)
        name_ends(row[1])
    figure.supxlabel("iterations of the solver", size=FONT)
    figure.savefig(path, dpi=DPI)


def along(path, panels_of, samples: str) -> None:
    """What changes along the trainings, a panel each, two in a row.

    Args:
      panels_of: {title: {name of a line: (samples seen, [seeds, points])}}; the middle seed is
        drawn, and a band from the least to the highest.
      samples: text below the figure.
    """
    rows = -(-len(panels_of) // 2)
    figure, axes = panels(rows, 2, (8.8, 2.7 * rows))
    for axis, (title, lines) in zip(axes.flat, panels_of.items(), strict=False):
        for index, (name, (seen, values)) in enumerate(lines.items()):
            axis.fill_between(
                seen, values.min(0), values.max(0), color=look(index)["color"], alpha=BAND, lw=0
            )
            axis.plot(seen, np.median(values, 0), label=name, marker="o", ms=3, **look(index))
        axis.set_title(title, size=FONT + 1)
        axis.locator_params(axis="x", nbins=5)
        name_ends(axis)
    for axis in axes.flat[len(panels_of) :]:
        axis.set_visible(False)
    figure.supxlabel(samples, size=FONT)
    figure.savefig(path, dpi=DPI)


def _counts(axis, counts):
    axis.set_xscale("log")
    axis.set_xticks(counts, [str(n) for n in counts])
    axis.minorticks_off()
