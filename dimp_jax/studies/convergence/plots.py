"""Figures of the study `convergence`: lines are named where they end, bands are 95 % intervals."""

import numpy as np

from dimp_jax.evaluation.report.plots import color
from dimp_jax.studies.convergence import results
from dimp_jax.studies.convergence.lanczos import density
from dimp_jax.studies.line_names import FONT, name_ends
from dimp_jax.training.figures import panels

EXCESS = 7e-4, 1.5  # of the plots; above: diverged
DIFFERENCE = 1e-6, 1.5
WIDTH_DECADES = 0.15
BAND = 0.15  # opacity
DPI = 100


def curves(path, records, flops, shown, title) -> None:
    """Excess loss against iterations and operations, hits and margin against iterations.

    Args:
      flops: {solver: operations of an iteration}. shown: {solver: arm}.
    """
    figure, axes = panels(2, 2, (8.6, 6.4))
    for index, (solver, arm) in enumerate(shown.items()):
        band = lambda field, arm=arm: results.middle_and_interval(
            records, "initialiser", arm, field
        )
        excess = band("excess")
        for axis, (middle, low, high) in zip(
            axes.flat, (excess, excess, band("hit"), band("margin")), strict=True
        ):
            x = np.arange(len(middle)) * (flops[solver] / 1e9 if axis is axes[0, 1] else 1)
            axis.fill_between(x, low, high, color=color(index), alpha=BAND, lw=0)
            axis.plot(x, middle, color=color(index), lw=1.6, label=solver)
    for axis in axes[0]:
        _excess_axis(axis)
    axes[0, 1].set(ylabel="", xlabel="GFLOP of the iterations")
    axes[1, 0].set(ylabel="hits (mean share of frames)", xlabel="iteration")
    axes[1, 1].set(ylabel="margin (median, score)", xlabel="iteration")
    for axis in axes[:, 1]:
        name_ends(axis)
    figure.suptitle(title, size=FONT + 2)
    figure.savefig(path, dpi=DPI)


def starts(path, by_start, title) -> None:
    """Excess loss against iterations from each filter to start from.

    Args:
      by_start: {name of the start: (middle, low, high)}.
    """
    figure, ((axis,),) = panels(1, 1, (7.8, 3.8))
    for index, (name, band) in enumerate(by_start.items()):
        _draw_band(axis, band, index, name)
    _excess_axis(axis)
    name_ends(axis)
    axis.set_title(title, size=FONT + 1)
    figure.savefig(path, dpi=DPI)


def rounding(path, by_solver) -> None:
    """Excess loss against iterations, and how far it moves with rounded products, for each solver.

    Args:
      by_solver: {solver: {name: (middle, low, high)}}.
    """
    figure, (axes,) = panels(1, len(by_solver), (4.6 * len(by_solver), 3.8), sharey=True)
    for axis, (solver, lines) in zip(axes, by_solver.items(), strict=True):
        for index, (name, band) in enumerate(lines.items()):
            _draw_band(axis, band, index, name)
        axis.set(yscale="log", ylim=DIFFERENCE, xlabel="iteration")
        axis.set_title(solver, size=FONT + 1)
        name_ends(axis)
    axes[0].set_ylabel("excess loss, or size of its change (median)")
    figure.savefig(path, dpi=DPI)


def auc(path, rows, published) -> None:
    """Differences of the AUC with their intervals, one row a variant.

    Args:
      rows: as of the table, without what they are compared with, the first one at the top.
      published: {name of a variant: difference}.
    """
    figure, ((axis,),) = panels(1, 1, (8, 0.34 * len(rows) + 1.3))
    places = np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        low, high = row["low"], row["high"]
        told = low is not None and (low > 0 or high < 0)
        tone = color(0) if told else "0.45"
        if low is not None:
            axis.plot([low, high], [place, place], color=tone, lw=2)
        axis.plot(row["difference"], place, "o", color=tone, ms=6)
        if row["variant"] in published:
            axis.plot(published[row["variant"]], place, "D", color=color(1), mfc="none", ms=8)
    axis.axvline(0, color="0.2", lw=1)
    names = [f"{row['variant']} ({row['GFLOP']:.2g} GFLOP)" for row in rows]
    axis.set_yticks(places, names, size=FONT)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    figure.supxlabel(
        "difference of the AUC to the tracker as configured; bar: 95 % interval, blue: without 0;\n"
        "orange diamonds: the paper, where each solver was trained by itself",
        size=FONT,
    )
    figure.savefig(path, dpi=DPI)


def spectrum(path, records_at, at: str) -> None:
    """Density and share of the eigenvalues at the moments of a sequence.

    Args:
      records_at: {frame: spectra of the problems}.
    """
    figure, ((left, right),) = panels(1, 2, (8.6, 3.6))
    spectra = {
        frame: [results.spectra_of(record, at) for record in records]
        for frame, records in records_at.items()
    }
    positive = [s.values for of in spectra.values() for each in of for s in each]
    positive = np.concatenate(positive)
    positive = positive[positive > 0]
    grid = np.linspace(np.log10(positive.min()) - 0.4, np.log10(positive.max()) + 0.4, 400)
    for index, (frame, of) in enumerate(spectra.items()):
        each = [density(of_one, grid, WIDTH_DECADES) for of_one in of]
        above = [_share_above(of_one, 10**grid) for of_one in of]
        for axis, lines in ((left, each), (right, above)):
            axis.plot(10**grid, np.transpose(lines), lw=0.4, alpha=0.25, color=color(index))
            label = "first frame" if frame == 0 else f"after {frame} frames"
            axis.plot(10**grid, np.mean(lines, 0), lw=2, color=color(index), label=label)
    regularization = np.median([r["regularization"] for of in records_at.values() for r in of])
    for axis in (left, right):
        axis.axvline(regularization, color="0.4", lw=1, ls=":")
        axis.set_xscale("log")
        axis.set_xlabel("eigenvalue of the Gauss-Newton operator")
    left.text(regularization, left.get_ylim()[1], " regularisation", va="top", size=FONT)
    left.set_ylabel("share of eigenvalues a decade")
    right.set_yscale("log")
    right.set_ylim(3e-4, 1.5)
    right.set_ylabel("share of eigenvalues above")
    name_ends(right)
    figure.savefig(path, dpi=DPI)


def _draw_band(axis, band, index, label):
    middle, low, high = band
    x = np.arange(len(middle))
    axis.fill_between(x, low, high, color=color(index), alpha=BAND, lw=0)
    axis.plot(x, middle, color=color(index), lw=1.6, label=label)


def _excess_axis(axis):
    axis.set(yscale="log", ylim=EXCESS, xlabel="iteration")
    axis.set_ylabel("excess loss (median; 1: zero filter)")
    axis.xaxis.get_major_locator().set_params(integer=True)


def _share_above(spectra, values):
    above = [(s.values[None] > values[:, None]) @ s.weights for s in spectra]
    return np.mean(above, 0)
