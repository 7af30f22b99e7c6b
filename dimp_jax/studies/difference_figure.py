"""The figure of differences to a base."""

import numpy as np

from dimp_jax.training.figures import panels

TOLD, NOT_TOLD, PUBLISHED = "C0", "0.45", "C1"


def draw(path, columns: dict, published: dict) -> None:
    """Each arm's difference to the base with its interval and seeds, a panel a measure.

    Args:
      path: the PNG file to write.
      columns: {title of a panel: {arm: `paired.Measured`}}, without the base.
      published: {arm: difference}, for the first panel.
    """
    arms = list(dict.fromkeys(arm for of in columns.values() for arm in of))
    places = dict(zip(arms, np.arange(len(arms))[::-1], strict=True))
    size = (1.5 + 4.8 * len(columns), 0.36 * len(arms) + 1.3)
    figure, (axes,) = panels(1, len(columns), size, sharey=True)
    for axis, (title, of) in zip(axes, columns.items(), strict=True):
        for arm, result in of.items():
            _draw_one(axis, places[arm], result)
        if axis is axes[0]:
            for arm in set(published) & set(of):
                axis.plot(published[arm], places[arm], "D", color=PUBLISHED, mfc="none", ms=8)
        axis.axvline(0.0, color="0.2", linewidth=1)
        axis.set_title(title, fontsize="medium")
        axis.set_ylim(-0.6, len(arms) - 0.3)
    axes[0].set_yticks(list(places.values()), arms)
    paper = "; diamonds: the paper" if published else ""
    figure.supxlabel(f"bar: 95 % interval, blue: without 0; ticks: seeds{paper}", size=9)
    figure.savefig(path, dpi=110)


def _draw_one(axis, place, result) -> None:
    apart = result.difference
    tone = TOLD if apart.told else NOT_TOLD
    axis.plot(result.of_seeds, [place] * len(result.of_seeds), "|", color=tone, markersize=9)
    axis.plot(apart.mean, place, "o", color=tone, markersize=6)
    if apart.low is not None:
        axis.plot([apart.low, apart.high], [place, place], color=tone, linewidth=2)
    axis.annotate(
        f"{apart.mean:+.3f}",
        (apart.mean, place),
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        fontsize="x-small",
        color=tone,
    )
