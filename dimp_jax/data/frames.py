"""The frames of one training sample: drawn, read, and changed where they are still images."""

import functools
import logging

import numpy as np

from dimp_jax.data import jitter, mosaic
from dimp_jax.data.source import BrokenFrame

# Sequences with a broken image in a row, after which the data set is taken to be unusable.
MAX_BROKEN_IN_A_ROW = 100

_log = logging.getLogger(__name__)


class BrokenFrames:
    """Counts images that could not be read, and names each of them once in the log."""

    def __init__(self):
        self.counts: dict[str, int] = {}

    def note(self, error: BrokenFrame):
        name = str(error)
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.counts[name] == 1:
            _log.warning("left out, and another sequence drawn: %s", name)


def draw_frames(sampler, draws, broken):
    """(train frames, test frames, source) of the first drawn sequence that can all be read."""
    for _ in range(MAX_BROKEN_IN_A_ROW):
        choice = sampler.draw(draws)
        source = sampler.sources[choice.source]
        wanted = (*choice.train_ids, *choice.test_ids)
        unique = list(dict.fromkeys(wanted))  # every image is decoded once
        try:
            read = getattr(source, "sketch", source.read)
            frames = dict(zip(unique, read(choice.sequence, unique), strict=True))
        except BrokenFrame as error:
            broken.note(error)
            last = error
            continue
        for frame_id, frame in frames.items():
            _check_box(frame.box_xywh, source, choice.sequence, frame_id)
        chosen = ([frames[i] for i in ids] for ids in (choice.train_ids, choice.test_ids))
        return *chosen, source
    raise BrokenFrame(
        f"{MAX_BROKEN_IN_A_ROW} sequences drawn one after the other had an image that cannot be "
        f"read; the last: {last}. `python -m dimp_jax.data.check DIR` lists what is wrong"
    ) from last


def changed_still(frame, source, data, draws, broken):
    """A still image with a part of its box as the target, or among other images of its source."""
    happens = lambda probability: probability > 0 and draws.random() < probability
    if happens(data.part_probability):
        frame = frame._replace(box_xywh=jitter.part_of(frame.box_xywh, draws))
    if happens(data.mosaic_probability):
        around = mosaic.draw_cells(len(source), draws)
        read = functools.partial(_read_or_next, source, broken)
        frame = mosaic.surrounded(frame, around, read)
    return frame


def _read_or_next(source, broken, index):
    """An image of a source of still images: the first from `index` on that can be read."""
    for offset in range(MAX_BROKEN_IN_A_ROW):
        try:
            (frame,) = source.read((index + offset) % len(source), [0])
            return frame.image
        except BrokenFrame as error:
            broken.note(error)
            last = error
    raise BrokenFrame(f"{MAX_BROKEN_IN_A_ROW} images in a row cannot be read; the last: {last}")


def _check_box(box_xywh, source, sequence, frame_id):
    box = np.asarray(box_xywh)
    if not (np.isfinite(box).all() and (box[2:] > 0).all()):
        raise ValueError(
            f"source {source.name!r}, sequence {sequence}, frame {frame_id}: box {box.tolist()} in "
            "a frame that the source calls visible; expected finite numbers, positive sides"
        )
