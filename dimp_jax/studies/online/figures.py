"""The plots of the study: AUC against speed, and each parameter on its own."""

import textwrap

from dimp_jax.studies.online.results import compared, frames_per_second, pareto_front, points_of
from dimp_jax.studies.online.variants import DEFAULT
from dimp_jax.training.figures import panels

TRADE_OFF = """Each point is a variant; the grey line joins those that no other one beats in both
(the Pareto front). Bars: 95 % intervals of the difference to the default."""
PARAMETERS = """Each panel has the variants that differ from the default (*) in that parameter
alone. Blue, left: mean AUC, bars as above. Orange, right: milliseconds of a tracked frame, or of
the first one where the parameter acts there."""

PANELS = (
    ("memory.update_iterations", "iterations of a regular update"),
    ("memory.train_interval", "frames between updates"),
    ("memory.size", "slots of the memory"),
    ("memory.init_iterations", "iterations on the first frame"),
)
LEAST_AUC_RANGE = 0.02  # of an axis: differences below its grid are none


def trade_off(path, records, title: str) -> None:
    """Draws AUC against frames/s with the Pareto front, every point with its name.

    Args:
      path: the PNG file to write.
    """
    points = points_of(records)
    front = pareto_front(points)
    figure, ((axis,),) = panels(1, 1, (11, 7))
    axis.plot(*zip(*(points[name] for name in front), strict=True), "-", color="0.7", zorder=1)
    colors = {name: "C0" if name in front else "0.4" for name in points} | {DEFAULT: "C3"}
    apart = compared(records)
    for record in records:
        axis.errorbar(
            *points[record.name],
            yerr=_error(apart[record.name].difference),
            fmt="*" if record.name == DEFAULT else "o",
            markersize=14 if record.name == DEFAULT else 5,
            color=colors[record.name],
            elinewidth=0.8,
        )
    axis.set(xlabel="frames/s (decoding apart)", ylabel="mean success AUC", title=title)
    axis.set_ylim(_widened(*axis.get_ylim()))
    _label(axis, points, colors)
    figure.savefig(path, dpi=110)


def _error(apart):
    """Lengths of the bar below and above a point; None of the default."""
    if apart is None or apart.low is None:
        return None
    return [[apart.mean - apart.low], [apart.high - apart.mean]]


def _label(axis, points, colors) -> None:
    """Names in a column on the right, in the order of their points, so that none hides another."""
    ordered = sorted(points, key=lambda name: (points[name][1], points[name][0]))
    line = {"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 0, "linewidth": 0.7, "alpha": 0.35}
    for place, name in enumerate(ordered):
        axis.annotate(
            name,
            points[name],
            xytext=(1.04, (place + 0.5) / len(ordered)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=colors[name],
            arrowprops=line | {"color": colors[name]},
        )


def _widened(low, high):
    """The limits of an AUC axis, so far apart that noise does not fill it."""
    more = max(LEAST_AUC_RANGE - (high - low), 0) / 2
    return low - more, high + more


def panel(records, field: str) -> list[tuple]:
    """(value, record) of the variants that differ from the default in `field` alone, by value."""
    changed = [(r.changes[field], r) for r in records if set(r.changes) == {field}]
    default = [(r.default_values[field], records[0]) for _, r in changed[:1]]
    return sorted(changed + default, key=lambda pair: pair[0])


def parameters(path, records, title: str) -> bool:
    """Draws a panel for each parameter that was varied, and one for the ways to update.

    Args:
      path: the PNG file to write; nothing is written if no variant belongs to a panel.

    Returns:
      whether there was something to draw.
    """
    shown = [(label, panel(records, field)) for field, label in PANELS]
    shown = [(label, points) for label, points in shown if points]
    ways = [r for r in records if r.name == DEFAULT or "memory.update" in r.changes]
    if len(ways) > 1:
        shown.append(("way to update", [(textwrap.fill(r.name, 10), r) for r in ways]))
    if not shown:
        return False
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = panels(lines, columns, (4.2 * columns, 3.4 * lines), sharey=True)
    axes = list(axes.flat)
    speeds, apart = frames_per_second(records), compared(records)
    for axis, (label, points) in zip(axes, shown, strict=False):
        first = label == "iterations on the first frame"
        ms = lambda r, first=first: 1e3 * (r.init_s if first else 1 / speeds[r.name])
        about = "ms of the first frame" if first else "ms a frame"
        _draw_panel(axis, label, points, apart, ms, about)
    axes[0].set_ylim(_widened(*axes[0].get_ylim()))  # the same for all
    for axis in axes[::columns]:
        axis.set_ylabel("mean success AUC", color="C0")
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    return True


def _draw_panel(axis, label, points, apart, ms, ms_label) -> None:
    values = [value for value, _ in points]
    named = isinstance(values[0], str)
    places = range(len(values))  # evenly: the values double from one to the next
    axis.plot(places, [record.mean_auc for _, record in points], "o" if named else "o-", color="C0")
    for place, (_, record) in enumerate(points):
        error = _error(apart[record.name].difference)
        axis.errorbar(place, record.mean_auc, yerr=error, color="C0")
        if record.name == DEFAULT:
            axis.plot(place, record.mean_auc, "*", color="C0", markersize=13)
    right = axis.twinx()
    right.plot(places, [ms(record) for _, record in points], "s" if named else "s--", color="C1")
    right.set_ylim(0, 1.2 * max(ms(record) for _, record in points))
    right.set_ylabel(ms_label, color="C1")
    axis.set_xticks(places, values, fontsize=8)
    axis.set_xlabel(label)
