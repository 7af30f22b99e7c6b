"""Pictures of what the loss has learned."""

from pathlib import Path

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def learned_loss(path, params, initial, config, title: str) -> None:
    """Draws label, target mask and spatial weight over the distance to the target centre.

    Args:
      path: the PNG file to write.
      params, initial: dicts with `label`, `mask`, `weight` [num_bins], now and at the start.
      config: `PredictorConfig`.
    """
    import matplotlib

    matplotlib.use("agg")  # no window, on any machine
    from matplotlib import pyplot

    distance = np.arange(config.num_bins) * config.bin_width_cells
    masked = sigmoid if config.mask_activation == "sigmoid" else lambda x: x
    shown = (
        ("label", "target label y", lambda x: x),
        ("mask", "target mask m", masked),
        ("weight", "spatial weight v", lambda x: x),
    )
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, (name, label, function) in zip(axes, shown, strict=True):
        axis.plot(distance, function(np.asarray(initial[name])), "--", color="0.6", label="initial")
        axis.plot(distance, function(np.asarray(params[name])), color="C0", label="learned")
        axis.set_xlabel("distance to the target centre (cells)")
        axis.set_title(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(title)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def curves(path, records, panels, title: str) -> None:
    """Draws metrics over steps, one panel a group.

    Args:
      path: the PNG file to write.
      records: list of the objects of metrics.jsonl.
      panels: list of (title, names of metrics); names that never occur are left out.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3.2), layout="constrained", squeeze=False
    )
    for axis, (label, names) in zip(axes[0], panels, strict=True):
        for name in names:
            points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=name)
        axis.set_xlabel("step")
        axis.set_title(label)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
