"""Curves of trackers as figures: SVG for the page, PNG and PDF for a paper."""

import html
import io
import re
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure  # no pyplot: no window, and no state

# Okabe and Ito's colours that can be told apart on white and on black, and by most eyes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)))  # told apart in gray, too
INK = "#010203"  # becomes the colour of the page's text
SETTINGS = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dimp_jax",  # the same figure gives the same file
    "pdf.fonttype": 42,
    "text.parse_math": False,  # names may hold dollars
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}


class Curves(NamedTuple):
    """What one figure shows."""

    key: str  # of files: "success", "precision" or "norm_precision"
    title: str
    x_label: str
    thresholds: np.ndarray  # [T]
    by_tracker: dict[str, np.ndarray]  # [runs, T]
    value_by_tracker: dict[str, float]  # ranks the legend
    value_name: str


def color(index: int) -> str:
    """The colour of a tracker, by its place among those given."""
    return COLORS[index % len(COLORS)]


def style(index: int):
    """The line style of a tracker: neighbours differ, and so do trackers of the same colour."""
    return STYLES[(index % len(COLORS) + index // len(COLORS)) % len(STYLES)]


def curves_of(comparison, means, standings) -> list[Curves]:
    """The figures that the rule has.

    Args:
      means: `statistics.mean_curves`. standings: `statistics.ranking`.
    """
    rule = comparison.rule
    px, sizes = "centre error threshold (px)", "centre error threshold (target sizes)"
    found = []
    for key, title, x_label, thresholds in (
        ("success", "Success", "overlap threshold", rule.success_thresholds),
        ("precision", "Precision", px, rule.precision_thresholds_px),
        ("norm_precision", "Normalised precision", sizes, rule.norm_thresholds),
    ):
        place = _metric_of(rule, key)
        if thresholds is None or place is None:
            continue
        curves = {name: np.array([getattr(s, key) for s in runs]) for name, runs in means.items()}
        values = {standing.name: standing.values[place] for standing in standings}
        name = rule.metrics[place][1]
        found.append(Curves(key, title, x_label, np.asarray(thresholds), curves, values, name))
    return found


def draw_curves(curves: Curves) -> Figure:
    """Draws one figure; a band is the mean of several runs +- their standard deviation."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6, 3.7), layout="constrained")
        axis = figure.subplots()
        lines = {}
        for index, (name, runs) in enumerate(curves.by_tracker.items()):
            mean = runs.mean(axis=0)
            (lines[name],) = axis.plot(
                curves.thresholds, mean, color=color(index), linestyle=style(index), linewidth=1.8
            )
            if len(runs) > 1:
                spread = runs.std(axis=0, ddof=1)
                low, high = mean - spread, mean + spread
                axis.fill_between(
                    curves.thresholds, low, high, color=color(index), alpha=0.2, linewidth=0
                )
        ranked = sorted(curves.value_by_tracker, key=lambda name: -curves.value_by_tracker[name])
        axis.legend(
            [lines[name] for name in ranked],
            [f"{curves.value_by_tracker[name]:.3f}  {name}" for name in ranked],
            title=curves.value_name,
            loc="lower left" if curves.key == "success" else "lower right",
            fontsize="small",
            title_fontsize="small",
            alignment="left",
            facecolor="none",
            edgecolor="none",
            handlelength=2.6,
        )
        axis.set(
            xlabel=curves.x_label, ylabel="share of frames", title=curves.title, ylim=(0, 1.01)
        )
        axis.set_xlim(curves.thresholds[0], curves.thresholds[-1])
        axis.grid(color=INK, alpha=0.15, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        return figure


def draw_overlaps(overlaps, shown) -> Figure:
    """Draws overlaps over the frames of one sequence.

    Args:
      overlaps: for each tracker [N]; NaN where it is not known.
      shown: indices of frames that are marked.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(12, 1.7), layout="constrained")
        axis = figure.subplots()
        for frame in shown:
            axis.axvline(frame, color=INK, alpha=0.25, linewidth=0.6)
        for index, values in enumerate(overlaps.values()):
            axis.plot(values, color=color(index), linestyle=style(index), linewidth=1.2)
        count = max(len(values) for values in overlaps.values())
        axis.set(xlabel="frame", ylabel="overlap", ylim=(-0.03, 1.03), xlim=(0, max(count - 1, 1)))
        axis.spines[["top", "right"]].set_visible(False)
        return figure


def to_svg(figure, label: str) -> str:
    """The figure for inlining: as wide as its place, in the colour of the text around it.

    Args:
      label: what it shows, for those who cannot see it; plain text.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(stream, format="svg", transparent=True, metadata=_no_metadata("svg"))
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)  # would be there again in the next figure
    head, body = text.split(">", 1)
    view_box = head[head.index("viewBox") :].split('"')[1]
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="{view_box}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">' + body
    )


def save(figure, stem) -> list:
    """Writes `stem`.png and `stem`.pdf, and returns their paths."""
    paths = []
    for suffix in ("png", "pdf"):
        path = stem.with_name(f"{stem.name}.{suffix}")
        with matplotlib.rc_context(SETTINGS):
            figure.savefig(path, dpi=200, metadata=_no_metadata(suffix))
        paths.append(path)
    return paths


def _metric_of(rule, curve) -> int | None:
    """The place of the first metric that is read off a curve."""
    prefixes = {"success": ("auc", "ao", "sr_", "op_")}.get(curve, (f"{curve}_",))
    for place, (key, _) in enumerate(rule.metrics):
        if key.startswith(prefixes):
            return place
    return None


def _no_metadata(form):
    """Nothing that changes from day to day."""
    names = {"svg": ("Date", "Creator"), "pdf": ("CreationDate", "Producer"), "png": ("Software",)}
    return dict.fromkeys(names[form])
