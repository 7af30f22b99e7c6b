"""Plots of the study `convergence`."""

import numpy as np

from dimp_jax.studies.convergence.lanczos import density
from dimp_jax.studies.convergence.measure import STARTS, shown_arms, stacked
from dimp_jax.training.figures import legend_below, look, panels

LEAST_EXCESS = 1e-3  # of the plots
MOST_EXCESS = 3.0  # above: diverged
WIDTH_DECADES = 0.15
FROM = {"initialiser": "from the initialiser's filter", "zero": "from zero"}


def curves(path, records, title) -> None:
    """Excess loss, hits and margin against iterations, a row for each start."""
    figure, axes = panels(len(STARTS), 3, (11, 6.4), sharex=True)
    tracked = [r["tracked"] for r in records.values()]
    levels = {
        "hit": np.mean([t["hit"] for t in tracked]),
        "margin": np.median([t["margin"] for t in tracked]),
    }
    for row, start in zip(axes, STARTS, strict=True):
        for index, arm in enumerate(shown_arms(records, start)):
            for axis, field in zip(row, ("excess", "hit", "margin"), strict=True):
                values = stacked(records, start, arm, field)
                middle = np.mean(values, 0) if field == "hit" else np.median(values, 0)
                axis.plot(middle, label=_name(arm), **look(index))
        row[0].set(yscale="log", ylim=(LEAST_EXCESS, MOST_EXCESS))
        row[0].set_ylabel(f"{FROM[start]}\nexcess loss (median)")
        row[1].set(ylabel="hits (mean share of frames)", ylim=(-0.03, 1.03))
        row[2].set(ylabel="margin (median, score)", ylim=_within(row[2], levels["margin"]))
        for axis, field in zip(row[1:], levels, strict=True):
            axis.axhline(levels[field], color="0.5", lw=0.9, ls=":", label="the tracker's filter")
    for axis in axes[-1]:
        axis.set_xlabel("iteration")
    legend_below(figure, axes.flat, 4)
    figure.suptitle(f"{title}, {len(records)} problems")
    figure.savefig(path, dpi=110)


def step_lengths(path, records, title) -> None:
    """Step lengths against iterations, a panel for each start; the medians and all problems."""
    figure, axes = panels(1, len(STARTS), (11, 4), sharey=True)
    for axis, start in zip(axes[0], STARTS, strict=True):
        for index, arm in enumerate(shown_arms(records, start)):
            steps = stacked(records, start, arm, "step_lengths")
            steps = np.where(steps > 0, steps, np.nan)
            axis.plot(steps.T, lw=0.4, alpha=0.35, **look(index))
            axis.plot(np.median(steps, 0), lw=1.8, label=_name(arm), **look(index))
        axis.set(yscale="log", xlabel="iteration", title=FROM[start])
    axes[0, 0].set_ylabel("step length (thin: each problem)")
    legend_below(figure, axes.flat, 4)
    figure.suptitle(f"{title}: step lengths")
    figure.savefig(path, dpi=110)


def spectrum(path, records, spectra_of) -> None:
    """Density and share of the eigenvalues, at the first and at the last iterate."""
    figure, ((left, right),) = panels(1, 2, (11, 3.8))
    ends = [s.values for r in records.values() for i in ("first", "last") for s in spectra_of(r, i)]
    positive = np.concatenate(ends)
    positive = positive[positive > 0]
    grid = np.linspace(np.log10(positive.min()) - 0.4, np.log10(positive.max()) + 0.4, 400)
    for index, iterate in enumerate(("first", "last")):
        each = [density(spectra_of(r, iterate), grid, WIDTH_DECADES) for r in records.values()]
        above = [_share_above(spectra_of(r, iterate), 10**grid) for r in records.values()]
        for axis, lines in ((left, each), (right, above)):
            axis.plot(10**grid, np.transpose(lines), lw=0.4, alpha=0.4, **look(index))
            mean, label = np.mean(lines, 0), f"{iterate} iterate"
            axis.plot(10**grid, mean, lw=1.8, label=label, **look(index))
    regularization = np.median([r["regularization"] for r in records.values()])
    for axis in (left, right):
        axis.axvline(regularization, color="0.5", lw=0.9, ls=":", label="regularisation")
        axis.set(xscale="log", xlabel="eigenvalue of the Gauss-Newton operator")
    left.set_ylabel("share of eigenvalues a decade")
    right.set(ylabel="share of eigenvalues above", yscale="log", ylim=(1e-4, 1.5))
    legend_below(figure, [left], 4)
    figure.savefig(path, dpi=110)


def _share_above(spectra, values):
    above = [(s.values[None] > values[:, None]) @ s.weights for s in spectra]
    return np.mean(above, 0)


def _name(arm):
    return f"{arm} (best fixed)" if arm.startswith("gradient descent") else arm


def _within(axis, level):
    """Limits around what is drawn, without what diverged."""
    drawn = np.concatenate([line.get_ydata() for line in axis.lines] + [[level]])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, (3, 97))
    pad = 0.1 * max(high - low, 0.1)
    return low - pad, high + pad
