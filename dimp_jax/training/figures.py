"""Pictures of a run: what the loss has learned, and how the metrics went."""

import numpy as np
from matplotlib.figure import Figure  # no pyplot: no window, and no state


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def learned_loss(path, params, initial, config, title: str) -> None:
    """Draws label, target mask and spatial weight over the distance to the target centre.

    Args:
      path: the PNG file to write.
      params, initial: dicts with `label`, `mask`, `weight` [num_bins], now and at the start.
      config: `PredictorConfig`.
    """
    distance = np.arange(config.num_bins) * config.bin_width_cells
    masked = sigmoid if config.mask_activation == "sigmoid" else lambda x: x
    shown = (
        ("label", "target label y", lambda x: x),
        ("mask", "target mask m", masked),
        ("weight", "spatial weight v", lambda x: x),
    )
    figure = Figure(figsize=(10, 3), layout="tight")
    axes = figure.subplots(1, 3)
    for axis, (name, label, function) in zip(axes, shown, strict=True):
        axis.plot(distance, function(np.asarray(initial[name])), "--", color="0.6", label="initial")
        axis.plot(distance, function(np.asarray(params[name])), color="C0", label="learned")
        axis.set_xlabel("distance to the target centre (cells)")
        axis.set_title(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
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
    panels = [(title, names) for title, names in PANELS if points(names[0])]
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="tight")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, names) in zip(axes[0], panels, strict=True):
        for name in names:
            few = "o-" if name.startswith("validation/") else "-"
            if points(name):
                axis.plot(*zip(*points(name), strict=True), few, markersize=3, label=name)
        axis.set_xlabel("step")
        axis.set_title(title)
        if axis.dataLim.ymin >= 0:  # the Gaussian mixture's loss becomes negative
            axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
