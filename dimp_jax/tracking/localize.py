"""Where is the target on the score map, and how sure is that? (behaviour 6.5)"""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Verdict(enum.IntEnum):
    """What a frame's score map says; one that is not finite says NOT_FOUND."""

    NORMAL = 0  #: found
    HARD_NEGATIVE = 1  #: found, beside a distractor: learn from it at once
    UNCERTAIN = 2  #: two equal peaks, or a window that had grown: follow the first, do not learn
    NOT_FOUND = 3  #: the box stays where it was, and nothing is learned

    def __str__(self):
        return self.name

    def __format__(self, spec):
        return format(self.name, spec)


class Localization(NamedTuple):
    """The peak that is followed."""

    verdict: jax.Array  #: int32 []
    translation_yx: jax.Array  #: [2] image pixels from the sample position
    scale_index: jax.Array  #: int32 [], the crop it was found in
    scores: jax.Array  #: [n, S, S] after preprocessing, without the window
    max_score: jax.Array  #: [] maximum of the scores of that crop
    cell: jax.Array  #: int32 [2] (row, column) of the peak


def hann_window(size: int):
    """[size, size] outer product of Hann windows that do not reach zero inside the map."""
    n = jnp.arange(1, size + 1, dtype=jnp.float32)
    along = 0.5 * (1 - jnp.cos(2 * jnp.pi * n / (size + 1)))
    return along[:, None] * along[None, :]


def motion_prior(previous_yx, std_cells, size: int):
    """[size, size] Gaussian of 1 where the target was: [2] cells from the middle of the map."""
    offset = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
    along = jnp.exp(-0.5 * jnp.square((offset[None] - previous_yx[:, None]) / std_cells))
    return along[0][:, None] * along[1][None, :]


def peak_of(scores):
    """Maximum of [S, S] and its (row, column); of equal maxima the smallest column, then row."""
    flat = scores.T.reshape(-1)
    index = jax.lax.argmax(flat, 0, jnp.int32)
    rows = scores.shape[0]
    return flat[index], jnp.stack([index % rows, index // rows])


def subcell_offset_yx(scores, cell):
    """Offset [2], in cells within +-1/2, of the vertex of a parabola through a peak's neighbours.

    Args:
      scores: [S, S]. cell: [2] int (row, column) of a local maximum.
    """
    limit = jnp.asarray(scores.shape, jnp.int32) - 2
    row, col = jnp.clip(cell, 1, limit)
    middle = scores[row, col]
    before = jnp.stack([scores[row - 1, col], scores[row, col - 1]])
    after = jnp.stack([scores[row + 1, col], scores[row, col + 1]])
    bend = before - 2 * middle + after
    curved = bend < 0
    offset = jnp.where(curved, (before - after) / (2 * jnp.where(curved, bend, 1.0)), 0.0)
    at_border = (cell < 1) | (cell > limit)
    return jnp.where(at_border, 0.0, jnp.clip(offset, -0.5, 0.5))


def localize(
    scores, center_yx, size_hw, sample_pos_yx, sample_scale, config, crop_size_px, output_cells
) -> Localization:
    """Finds the target and judges the find.

    Args:
      scores: [n, S, S] of the n crops.
      center_yx, size_hw: [2] present target, image pixels.
      sample_pos_yx: [n, 2] image pixels. sample_scale: [n] image pixels per crop pixel.
      config: `LocalizeConfig`.
      crop_size_px: static. output_cells: static, S - (K + 1) % 2.
    """
    if config.score_preprocess == "softmax":
        flat = scores.reshape(scores.shape[0], -1)
        scores = jax.nn.softmax(flat, axis=-1).reshape(scores.shape)
    if config.score_filter_cells > 1:
        side = config.score_filter_cells
        before, after = side // 2, (side - 1) // 2
        padding = ((0, 0), (before, after), (before, after))
        scores = jax.lax.reduce_window(
            scores, 0.0, jax.lax.add, (1, side, side), (1, 1, 1), padding
        )
    num_cells = scores.shape[-1]
    windowed = scores
    if config.window and config.hard_negative_without_window and config.advanced:
        windowed = scores * hann_window(num_cells)[None]

    cell_px = crop_size_px / output_cells * sample_scale  # [n] image pixels
    if config.motion_prior > 0:
        previous = (center_yx[None] - sample_pos_yx) / cell_px[:, None]
        std = config.motion_prior_sizes * jnp.sqrt(jnp.prod(size_hw)) / cell_px
        prior = jax.vmap(motion_prior, (0, 0, None))(previous, std, num_cells)
        windowed = windowed * (1 - config.motion_prior * (1 - prior))

    peaks, cells = jax.vmap(peak_of)(windowed)
    scale_index = jax.lax.argmax(peaks, 0, jnp.int32)
    peak1, cell1 = peaks[scale_index], cells[scale_index].astype(jnp.float32)
    full = scores[scale_index]
    if config.motion_prior > 0:  # it chooses among peaks; what is found is judged without it
        peak1 = full[cells[scale_index][0], cells[scale_index][1]]
    sample_pos_yx, cell_px = sample_pos_yx[scale_index], cell_px[scale_index]

    middle = (num_cells - 1) / 2
    displacement1 = cell1 - middle
    max_score = full.max()
    # Nothing is learned from a NaN, and the last box stays. The runners end such a sequence.
    judged = lambda verdict: jnp.where(
        jnp.isfinite(scores).all(), verdict, Verdict.NOT_FOUND
    ).astype(jnp.int32)
    if not config.advanced:
        verdict = judged(Verdict.NORMAL)
        return Localization(
            verdict, displacement1 * cell_px, scale_index, scores, max_score, cells[scale_index]
        )

    # Second peak, outside the neighbourhood of the first.
    side = config.neighborhood_scale * (size_hw / sample_scale[scale_index])
    side = side * (output_cells / crop_size_px)
    first = jnp.maximum(jnp.round(cell1 - side / 2), 0)
    stop = jnp.minimum(jnp.round(cell1 + side / 2 + 1), num_cells)
    index = jnp.arange(num_cells, dtype=jnp.float32)
    rows = (index >= first[0]) & (index < stop[0])
    cols = (index >= first[1]) & (index < stop[1])
    peak2, cell2 = peak_of(jnp.where(rows[:, None] & cols[None, :], 0.0, full))
    displacement2 = cell2.astype(jnp.float32) - middle

    # Which of the two is near where the target was?
    previous = (center_yx - sample_pos_yx) / cell_px
    distance1 = jnp.sqrt(jnp.sum((displacement1 - previous) ** 2))
    distance2 = jnp.sqrt(jnp.sum((displacement2 - previous) ** 2))
    limit = config.displacement_scale * num_cells / 2
    only1 = (distance2 > limit) & (distance1 < limit)
    only2 = (distance2 < limit) & (distance1 > limit)

    distractor = peak2 > config.distractor_threshold * peak1
    near_miss = (peak2 > config.hard_negative_threshold * peak1) & (
        peak2 > config.not_found_threshold
    )
    # Later rows win: the tests of the published tracker in reverse order.
    verdict = jnp.where(near_miss, Verdict.HARD_NEGATIVE, Verdict.NORMAL)
    two_peaks = jnp.where(only1 | only2, Verdict.HARD_NEGATIVE, Verdict.UNCERTAIN)
    verdict = jnp.where(distractor, two_peaks, verdict)
    use_second = distractor & only2
    for threshold, outcome in (
        (config.hard_sample_threshold, Verdict.HARD_NEGATIVE),
        (config.uncertain_threshold, Verdict.UNCERTAIN),
        (config.not_found_threshold, Verdict.NOT_FOUND),
    ):
        if threshold is not None:
            below = peak1 < threshold
            if threshold == 0:  # XLA flushes a tiny negative score times the window to -0
                below = below | jnp.signbit(peak1)
            verdict = jnp.where(below, outcome, verdict)
            use_second = use_second & ~below
    displacement = jnp.where(use_second, displacement2, displacement1)
    cell = jnp.where(use_second, cell2, cells[scale_index])
    return Localization(
        judged(verdict), displacement * cell_px, scale_index, scores, max_score, cell
    )
