"""Which frames of which sequence become one training sample (behaviour 4.1).

The order of the random calls is that of the published sampler: recorded draws are repeated exactly.
Two deviations, both where the published one cannot go on: a base draw that finds no frame widens
the gap like any other failed draw, and every loop ends.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from dimp_jax.config.training import SamplerConfig
from dimp_jax.data.draws import Draws
from dimp_jax.data.source import Source

GAP_GROWTH = 5  # frames, after every attempt
# Uniform draws of a sequence before the next usable one is taken in order, so that a source with
# few usable sequences ends the search too.
MAX_REDRAWS = 1000


class FrameChoice(NamedTuple):
    """One draw: frame ids are 0-based and may repeat."""

    source: int  #: its number in `Sampler.sources`
    sequence: int  #: its number in the source
    train_ids: tuple[int, ...]  #: "causal": the latest first
    test_ids: tuple[int, ...]  #: in the order of the draws


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws frames from weighted sources; holds no state.

    Raises:
      ValueError: when made, for sources and weights that do not belong together, numbers of frames
        or a mode that cannot be, or a source without one usable sequence.
    """

    sources: tuple[Source, ...]  #: where frames come from
    weights: tuple[float, ...]  #: of the sources, in any unit
    config: SamplerConfig  #: which frames make a sample

    def __post_init__(self):
        _check(self)

    def draw(self, draws: Draws) -> FrameChoice:
        """The source by weight, a sequence of it uniformly, then the frames."""
        config = self.config
        index = draws.weighted_index(self.weights)
        source = self.sources[index]
        sequence, visible = _draw_sequence(source, config, draws)
        if not source.is_video:
            train_ids, test_ids = (0,) * config.train_frames, (0,) * config.test_frames
            return FrameChoice(index, sequence, train_ids, test_ids)
        frames = _draw_frames(visible, config, draws)
        if frames is None:
            raise ValueError(
                f"source {source.name!r}, sequence {sequence}: no {config.train_frames} + "
                f"{config.test_frames} frames could be drawn from {int(visible.sum())} visible "
                f"ones of {len(visible)} in mode {config.mode!r}"
            )
        return FrameChoice(index, sequence, *frames)


def is_usable(source: Source, visible, config: SamplerConfig) -> bool:
    """Whether a sequence with these visible frames ([L] bool) can be drawn."""
    visible = np.asarray(visible)
    if not source.is_video:
        # The published sampler does not look; its index of images holds nothing invisible.
        return bool(visible[0])
    needed = 2 * (config.train_frames + config.test_frames)
    return len(visible) >= config.min_length and int(visible.sum()) > needed


def _check(sampler: Sampler):
    config = sampler.config
    if config.mode not in ("causal", "interval"):
        raise ValueError(f"sampler.mode={config.mode!r}: expected 'causal' or 'interval'")
    for name, least in (("train_frames", 1), ("test_frames", 1), ("max_gap", 1), ("min_length", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"sampler.{name}={getattr(config, name)}: expected {least} or more")
    weights = sampler.weights
    if len(sampler.sources) != len(weights) or not weights:
        raise ValueError(
            f"{len(sampler.sources)} sources and {len(weights)} weights: expected one weight a "
            "source, and one source at least"
        )
    if not (all(math.isfinite(w) and w >= 0 for w in weights) and sum(weights) > 0):
        raise ValueError(
            f"weights of the sources {list(weights)}: expected numbers >= 0, one of them positive"
        )
    for source, weight in zip(sampler.sources, weights, strict=True):
        if weight > 0 and _next_usable(source, config, 0) is None:
            raise ValueError(_nothing_usable(source, config))


def _nothing_usable(source, config):
    if not source.is_video:
        return f"source {source.name!r}: none of its {len(source)} images has a usable box"
    needed = 2 * (config.train_frames + config.test_frames)
    return (
        f"source {source.name!r}: none of its {len(source)} sequences can be used; expected at "
        f"least {config.min_length} frames (sampler.min_length), the target visible in more than "
        f"{needed} of them (twice the {config.train_frames} + {config.test_frames} of a sample)"
    )


def _next_usable(source, config, start):
    """The first usable sequence at or after `start`, from the beginning after the last; or None."""
    for offset in range(len(source)):
        sequence = (start + offset) % len(source)
        if is_usable(source, source.visible(sequence), config):
            return sequence
    return None


def _draw_sequence(source, config, draws):
    for _ in range(MAX_REDRAWS):
        sequence = draws.integer(0, len(source) - 1)
        visible = np.asarray(source.visible(sequence))
        if is_usable(source, visible, config):
            return sequence, visible
    sequence = _next_usable(source, config, sequence)
    return sequence, np.asarray(source.visible(sequence))


def _draw_frames(visible, config, draws):
    """(train ids, test ids), or None if the gap has outgrown the sequence often enough."""
    # Once the gap spans the sequence only the base matters, and most bases will do.
    growths = len(visible) // GAP_GROWTH + MAX_REDRAWS
    for growth in range(growths):
        frames = _attempt(visible, config, config.max_gap + GAP_GROWTH * growth, draws)
        if frames is not None:
            return frames
    return None


def _attempt(visible, config, gap, draws):
    """(train ids, test ids) within `gap` of a base, the first train frame; None if there are none.

    "causal": the others to train on are before it, those to test on after it.
    """
    causal = config.mode == "causal"
    first, last = 0, len(visible)
    if causal:
        first, last = config.train_frames - 1, last - config.test_frames
    base = _visible_ids(visible, first, last, 1, draws)
    if base is None:
        return None
    (at,) = base
    low, high = at - gap, at + gap
    others = _visible_ids(visible, low, at if causal else high, config.train_frames - 1, draws)
    if others is None:
        return None
    test = _visible_ids(visible, at + 1 if causal else low, high, config.test_frames, draws)
    return None if test is None else ((at, *others), tuple(test))


def _visible_ids(visible, low, high, count, draws):
    """`count` visible frames of [low, high), with replacement; None if there is none to draw."""
    if count == 0:
        return []
    low = max(low, 0)
    ids = np.flatnonzero(visible[low : max(high, low)]) + low
    if not len(ids):
        return None
    return [int(i) for i in draws.choices(ids, count)]
