"""The search window: around the last position, and larger while the target is lost.

The published one never grows, and a target that has left it is not found again.
"""

import dataclasses

import numpy as np

from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.state import Pose


def sides(config) -> tuple[float, ...]:
    """Sides of the search window after 0, 1, 2, ... frames without a find; the last one stays."""
    return (1.0, *config.search_growth)


def growth(config, frames_lost: int) -> float:
    """Side of the search window in sides of the usual one.

    Args:
      config: `LocalizeConfig`.
      frames_lost: frames in a row in which the target was not found.
    """
    table = sides(config)
    return table[min(frames_lost, len(table) - 1)]


def search_window(config, pose: Pose, frames_lost: int) -> Pose:
    """The pose whose centre and scale are those of the window; other arguments as in `growth`."""
    return dataclasses.replace(pose, scale=pose.scale * np.float32(growth(config, frames_lost)))


def judged(config, frames_lost: int, verdict: Verdict) -> Verdict:
    """The verdict on a find: UNCERTAIN in a window that has grown, so that nothing is learned.

    The features there are coarser than those that the filter learns from. Other arguments as in
    `growth`.
    """
    if verdict != Verdict.NOT_FOUND and growth(config, frames_lost) != 1:
        return Verdict.UNCERTAIN
    return verdict


def check_growth(config) -> None:
    """Raises ValueError for a `LocalizeConfig` whose window would shrink or never end."""
    if not all(1 <= factor < np.inf for factor in config.search_growth):
        given = ", ".join(f"{factor:g}" for factor in config.search_growth)
        raise ValueError(
            f"localize.search_growth=({given}): sides of the search window in usual ones, expected "
            "finite and 1 or more"
        )
