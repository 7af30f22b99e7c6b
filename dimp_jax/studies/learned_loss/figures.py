"""Plots of the study learned_loss."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure  # no pyplot: no window, and no state

from dimp_jax.models.dimp import STRIDE_PX
from dimp_jax.studies.learned_loss.functions import distances, last_iteration, own_arrays
from dimp_jax.training.figures import draw_functions, legend, legend_below, loss_functions, panels

DPI = 110
LOGGED = {"predictor/step_length": "step length", "predictor/regularization": "lambda"}
MAP_TITLES = ("label y", "$v^2$: scores above 0", "$(m v)^2$: scores below 0")


def functions(path, losses, *, along_training: bool, title: str) -> None:
    """Draws the functions of several losses over their initial ones.

    Args:
      losses: `Loss`es with functions. along_training: they are steps of one training, in order.
    """
    colors = [f"C{index % 10}" for index in range(len(losses))]
    if along_training:
        colors = list(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(losses))))
    text = lambda loss: f"step {loss.step}" if along_training else loss.title
    figure, (axes,) = panels(1, 3, (11, 3.8))
    first = losses[0]
    initial = loss_functions(first.initial, first.config)
    series = [(text(loss), c, loss.functions) for loss, c in zip(losses, colors, strict=True)]
    draw_functions(axes, initial, series)
    for axis in axes:
        scale = (lambda cells: cells * STRIDE_PX, lambda px: px / STRIDE_PX)
        axis.secondary_xaxis("top", functions=scale).set_xlabel("crop px", fontsize="small")
    figure.suptitle(title)
    legend_below(figure, axes[:1], 3)
    figure.savefig(path, dpi=DPI)


def maps(path, rows) -> None:
    """Draws the loss of every cell around the target.

    Args:
      rows: (title, `LossMaps`); one colour scale a column.
    """
    figure = Figure(figsize=(9, 2.3 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for column, title in enumerate(MAP_TITLES):
        low = min(0.0, *(values[column].min() for _, values in rows))
        high = max(values[column].max() for _, values in rows)
        for row, (name, values) in enumerate(rows):
            axis, half = axes[row, column], values[column].shape[0] / 2
            shown = axis.imshow(
                values[column], vmin=low, vmax=high, extent=(-half, half, half, -half)
            )
            axis.set_title(title if row == 0 else "", fontsize="medium")
            axis.set_ylabel(f"{name}\ncells" if column == 0 else "", fontsize="small")
        figure.colorbar(shown, ax=axes[:, column])
    figure.savefig(path, dpi=DPI)


def own(path, loss) -> None:
    """Draws the learned arrays of one's own: one axis as a curve, two as the change in colours."""
    names = own_arrays(loss.config)
    figure, (axes,) = panels(1, len(names), (3.7 * len(names), 3.4))
    for axis, name in zip(axes, names, strict=True):
        value, initial = last_iteration(loss.config, loss.params, name), loss.initial[name]
        axis.set_title(name)
        if value.ndim == 1:
            cells = distances(loss, name)
            places = range(len(value)) if cells is None else cells
            axis.plot(places, initial, "--", color="0.6", label="initial")
            axis.plot(places, value, color="C0", label="learned")
            axis.set_xlabel("index" if cells is None else "distance to the target centre (cells)")
            continue
        change = (value - initial).reshape(-1, value.shape[-1])
        most = np.abs(change).max() or 1.0
        axis.grid(False)
        shown = axis.imshow(change, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        figure.colorbar(shown, ax=axis, label="learned less initial")
    legend(axes[0], axes)
    figure.savefig(path, dpi=DPI)


def along(path, records, initial: dict, title: str) -> bool:
    """Draws what a training logged of step length and lambda; False if it logged nothing.

    Args:
      records: the objects of its metrics.jsonl.
      initial: `scalars` of the initial parameters.
    """
    series = {key: [(r["step"], r[key]) for r in records if r.get(key)] for key in LOGGED}
    if not all(series.values()):
        return False
    figure, (axes,) = panels(1, 2, (8, 3))
    for axis, (key, points), value in zip(axes, series.items(), initial, strict=True):
        axis.axhline(value, linestyle="--", color="0.6", label="initial")
        axis.plot(*zip(*points, strict=True), color="C0", label=LOGGED[key])
        axis.set(xlabel="step", title=LOGGED[key])
    legend(axes[0], axes[:1])
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI)
    return True


def score_maps(path, by_arm: dict, title: str) -> None:
    """Draws score maps [S, S] side by side on one colour scale."""
    figure = Figure(figsize=(1.9 * len(by_arm) + 0.6, 2.5), layout="constrained")
    axes = figure.subplots(1, len(by_arm), squeeze=False)[0]
    low = min(scores.min() for scores in by_arm.values())
    high = max(scores.max() for scores in by_arm.values())
    for axis, (arm, scores) in zip(axes, by_arm.items(), strict=True):
        shown = axis.imshow(scores, vmin=low, vmax=high)
        axis.set_title(arm, fontsize="small")
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=DPI)
