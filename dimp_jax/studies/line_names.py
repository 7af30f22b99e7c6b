"""Lines of a figure that are named where they end, in place of a legend."""

import numpy as np

GAP = 0.075  # between names, of the height of a panel
FONT = 9


def name_ends(axis) -> None:
    """Writes every labelled line's label to the right of the panel, at the height of its end."""
    lines = [line for line in axis.lines if not line.get_label().startswith("_")]
    axis.get_xlim(), axis.get_ylim()  # else the transforms know of no data yet
    ends = [_height(axis, line) for line in lines]
    for line, end, height in zip(lines, ends, spread(ends, GAP), strict=True):
        axis.annotate(
            line.get_label(),
            (1.0, min(max(end, 0.0), 1.0)),
            xytext=(1.05, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=line.get_color(),
            size=FONT,
            arrowprops={
                "arrowstyle": "-",
                "color": line.get_color(),
                "lw": 0.7,
                "relpos": (0, 0.5),
            },
        )


def _height(axis, line) -> float:
    """Of the line's last point that is there, as a fraction of the axis' height."""
    points = [at for at in zip(*line.get_data(), strict=True) if np.isfinite(at).all()]
    return (axis.transScale + axis.transLimits).transform(points[-1])[1] if points else 1.0


def spread(heights, gap: float):
    """The heights in [0, 1], moved so that neighbours are `gap` apart; their order stays."""
    order = np.argsort(heights, kind="stable")
    placed = np.nan_to_num(np.asarray(heights, float), nan=1.0, posinf=1.0).clip(0, 1)
    for before, now in zip(order, order[1:], strict=False):
        placed[now] = max(placed[now], placed[before] + gap)
    limit = 1.0
    for now in order[::-1]:
        placed[now] = min(placed[now], limit)
        limit = placed[now] - gap
    return placed
