"""Pictures of a run: what the loss has learned, and how the metrics went."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dimp_jax.evaluation.report.plots import color, style

TITLES = {"label": "target label y", "mask": "target mask m", "weight": "spatial weight v"}
FAINTEST = 0.35  # opacity of the first of several iterations


class LossFunctions(NamedTuple):
    """The functions of the distance to the target that the loss is made of.

    The first axis of each has one entry, or one for every iteration.
    """

    distance_cells: np.ndarray  # [D]
    label: np.ndarray  # [I, D]
    mask: np.ndarray  # [I, D] after its activation
    weight: np.ndarray  # [I, D]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def loss_functions(params, config) -> LossFunctions | None:
    """The learned functions of `params`; None for an objective without any (L2, KL).

    Args:
      params: dict with `label`, `mask`, `weight` [num_bins] or, per iteration, [I, num_bins].
      config: `PredictorConfig`.
    """
    if not set(TITLES) <= set(params):
        return None
    label, mask, weight = (np.atleast_2d(np.asarray(params[n], np.float64)) for n in TITLES)
    if config.mask_activation == "sigmoid":
        mask = sigmoid(mask)
    return LossFunctions(np.arange(config.num_bins) * config.bin_width_cells, label, mask, weight)


def draw_functions(axes, initial: LossFunctions, series) -> None:
    """Draws label, mask and weight into three axes, dashed as they were initially.

    Args:
      series: (text of the legend, colour, `LossFunctions`); of several iterations the last one is
        the darkest.
    """
    for axis, (name, title) in zip(axes, TITLES.items(), strict=True):
        for curve in getattr(initial, name):
            axis.plot(initial.distance_cells, curve, "--", color="0.6", label="initial")
        for text, tone, functions in series:
            curves = getattr(functions, name)
            faint = np.linspace(FAINTEST, 1, len(curves)) if len(curves) > 1 else [1.0]
            for alpha, curve in zip(faint, curves, strict=True):
                axis.plot(functions.distance_cells, curve, color=tone, alpha=alpha, label=text)
        axis.set(xlabel="distance to the target centre (cells)", title=title)


def panels(rows: int, columns: int, size_inches, **options):
    """(figure, axes [rows, columns]) with a grid in each; `options` are those of `subplots`."""
    figure = Figure(figsize=size_inches, layout="constrained")  # no pyplot: no window, no state
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    return figure, axes


def look(index: int) -> dict:
    """Colour and style of a line, by its place."""
    return {"color": color(index), "ls": style(index)}


def legend(owner, axes, **options):
    """A legend of `owner`, an axis or a figure, that names every text of the axes once."""
    once = {}
    for axis in axes:
        handles, texts = axis.get_legend_handles_labels()
        once |= dict(zip(texts, handles, strict=True))
    return owner.legend(once.values(), once, **options)


def legend_below(figure, axes, columns: int) -> None:
    """The same below all panels."""
    legend(figure, axes, loc="outside lower center", ncols=columns, fontsize="small")


def learned_loss(path, params, initial, config, title: str) -> None:
    """Draws label, target mask and spatial weight over the distance to the target centre.

    Writes nothing for an objective without them.

    Args:
      path: the PNG file to write.
      params, initial: as for `loss_functions`, now and at the start.
      config: `PredictorConfig`.
    """
    learned, before = (loss_functions(p, config) for p in (params, initial))
    if learned is None or before is None:
        return
    figure, (axes,) = panels(1, 3, (10, 3))
    draw_functions(axes, before, [("learned", "C0", learned)])
    legend(axes[0], axes[:1])
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


PANELS = (
    ("classification loss", ("loss/final", "loss/initial", "loss/iterates")),
    ("box loss", ("loss/iou", "validation/loss/iou")),
    ("held out", ("validation/loss", "loss")),
    ("tracking, success AUC", ("validation/auc",)),
    ("gradient norm", ("grad_norm",)),
)


def curves(path, records) -> None:
    """Draws the metrics over the steps; panels of what was not measured are left out.

    Args:
      path: the PNG file to write.
      records: the objects of metrics.jsonl.
    """
    points = lambda name: [(r["step"], r[name]) for r in records if r.get(name) is not None]
    shown = [(title, names) for title, names in PANELS if points(names[0])]
    figure, (axes,) = panels(1, len(shown), (3.6 * len(shown), 3.2))
    for axis, (title, names) in zip(axes, shown, strict=True):
        for name in names:
            few = "o-" if name.startswith("validation/") else "-"
            if points(name):
                axis.plot(*zip(*points(name), strict=True), few, markersize=3, label=name)
        axis.set(xlabel="step", title=title)
        if axis.dataLim.ymin >= 0:  # the Gaussian mixture's loss becomes negative
            axis.set_ylim(bottom=0)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
