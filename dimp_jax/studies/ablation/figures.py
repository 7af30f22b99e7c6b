"""The figures of the ablations."""

import numpy as np

from dimp_jax.training.figures import panels

TOLD, NOT_TOLD, PUBLISHED = "C0", "0.45", "C1"


def draw_differences(path, results, title: str) -> None:
    """Each arm's difference to the base with its interval, seeds and what was published.

    Args:
      path: the PNG file to write. results: `results.Result`s without the base's.
    """
    figure, ((axis,),) = panels(1, 1, (9, 0.34 * len(results) + 1.6))
    places = np.arange(len(results))[::-1]
    for place, result in zip(places, results, strict=True):
        apart = result.difference
        tone = TOLD if apart.told else NOT_TOLD
        axis.plot(result.of_seeds, [place] * len(result.of_seeds), "|", color=tone, markersize=9)
        axis.plot([apart.mean], [place], "o", color=tone, markersize=6)
        text = f"{apart.mean:+.3f}"
        if apart.low is not None:
            axis.plot([apart.low, apart.high], [place, place], color=tone, linewidth=2)
            text += f" [{apart.low:+.3f}, {apart.high:+.3f}]"
        axis.annotate(
            text,
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            color=tone,
        )
        if result.published is not None:
            axis.plot([result.published], [place], "D", color=PUBLISHED, mfc="none", markersize=7)
    axis.axvline(0.0, color="0.2", linewidth=1)
    axis.set_yticks(places, [result.arm for result in results])
    axis.set(xlabel="AUC less that of steepest descent, same seed and sequence", title=title)
    figure.text(
        0.01,
        0.005,
        "dot and line: mean, 95 % interval; blue: 0 is outside; ticks: seeds; ",
        fontsize="x-small",
    )
    figure.text(0.99, 0.005, "diamond: published", color=PUBLISHED, fontsize="x-small", ha="right")
    figure.savefig(path, dpi=110)
