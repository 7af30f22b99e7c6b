"""Many sequences through a few lanes: a lane whose sequence ends takes the next one at once."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from dimp_jax.evaluation import results
from dimp_jax.evaluation.jobs import Failed, Options, Tracked, failed
from dimp_jax.evaluation.runners.one_by_one import progress_of_frames, timed_images
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import Sequence


class Entry(NamedTuple):
    """A sequence to track."""

    key: Any  # the caller's name of it
    sequence: Sequence
    seed: int


def track_many(
    lanes,
    entries: Iterable[Entry],
    *,
    prefetch_frames: int = 4,
    on_frame=lambda key, index, image, box, result: None,
) -> Iterator[tuple[Any, Tracked | Failed]]:
    """Tracks all entries, `lanes.size` at a time: yields (key, outcome) of each as it ends.

    An entry that fails (an unreadable frame, a refused box, a box or a score that is not finite)
    ends with its error, and its lane goes on with the next one. What fails for all lanes is raised.

    Args:
      lanes: `tracking.many.lanes.Lanes` or what has its size, empty, init and step; may be shared
        by calls that follow one another.
      entries: of `Entry`, or tuples alike; taken when a lane is free.
      prefetch_frames: decoded ahead, a lane.
      on_frame: called with the entry's key, the frame's index, uint8 RGB image, box [4] and
        `TrackResult` (None in the first frame). Not timed. What it raises is raised.
    """
    entries, runs, states = (Entry(*entry) for entry in entries), {}, lanes.empty()
    try:
        while True:
            images = [None] * lanes.size
            for lane in range(lanes.size):
                while images[lane] is None:  # once more for every entry that ends or cannot start
                    error = None
                    if lane not in runs:
                        entry = next(entries, None)
                        if entry is None:
                            break
                        runs[lane] = _Run(entry, prefetch_frames)
                        states, error = _start(lanes, states, lane, runs[lane], on_frame)
                    if error is None:
                        images[lane], error = runs[lane].next_image()
                    if images[lane] is None:
                        yield runs.pop(lane).ended(error)
            if not runs:
                return
            began = time.perf_counter()
            states, found = _finished(lanes.step(states, images))
            each_s = (time.perf_counter() - began) / len(runs)
            for lane, run in list(runs.items()):
                error = run.add(found[lane], each_s)
                if error is not None:
                    yield runs.pop(lane).ended(error)
                    continue
                on_frame(
                    run.entry.key, len(run.boxes) - 1, images[lane], run.boxes[-1], found[lane]
                )
    finally:
        for run in runs.values():
            run.close()


def at_once(lanes, todo, *, options: Options, console: Console):
    """Tracks the jobs of an evaluation by `track_many`: yields (job, outcome)."""
    named = ((job, job.sequence, options.seed + job.run) for job in todo)
    with progress_of_frames(console) as progress:
        total = sum(job.sequence.frames.count or 0 for job in todo)
        task = progress.add_task(
            f"{len(todo)} sequences, {lanes.size} at once", total=total, fps="-"
        )
        advance = lambda *_: progress.advance(task)
        yield from track_many(lanes, named, on_frame=advance)


def _finished(values):
    """Waits for the device: learning would otherwise be counted in the next frame."""
    import jax  # takes seconds: callers check their input first

    return jax.block_until_ready(values)


def _start(lanes, states, lane, run, on_frame):
    """(the next states, None), or (these states, why the entry cannot start)."""
    sequence = run.entry.sequence
    box = sequence.init_box
    if box is None:
        return states, InputError(f"{sequence.name}: no first box, and none can be drawn here")
    image, error = run.next_image()
    if image is None:
        return states, error or InputError(f"{sequence.name}: no frames")
    began = time.perf_counter()
    try:
        states = _finished(lanes.init(states, lane, image, box, run.entry.seed))
    except ValueError as error:
        refused = InputError(f"{sequence.name}: {error}")
        refused.__cause__ = error
        return states, refused
    except Exception as error:  # whatever it is, the other lanes have no part in it
        return states, error
    run.boxes.append(np.array(box, np.float64))
    run.times_s.append(time.perf_counter() - began)
    run.scores.append(results.GIVEN_SCORE)
    on_frame(run.entry.key, 0, image, run.boxes[0], None)
    return states, None


class _Run:
    """An entry in its lane, what it has given so far, and a thread that decodes ahead."""

    def __init__(self, entry: Entry, prefetch_frames: int):
        self.entry = entry
        self.boxes, self.times_s, self.decode_s, self.scores = [], [], [], []
        self._pool = ThreadPoolExecutor(1, f"frames of {entry.sequence.name}")
        self._images = timed_images(entry.sequence)
        self._ahead = deque()
        for _ in range(prefetch_frames):
            self._decode()

    def _decode(self):
        self._ahead.append(self._pool.submit(next, self._images, (None, None)))

    def next_image(self):
        """(the next frame or None, why it cannot be read or None)."""
        self._decode()
        try:
            image, seconds = self._ahead.popleft().result()
        except Exception as error:  # whatever it is, the other lanes have no part in it
            return None, error
        if image is not None:
            self.decode_s.append(seconds)
        return image, None

    def add(self, result, seconds) -> Exception | None:
        """Stores what a step gave, or returns why it is of no use."""
        if isinstance(result, Exception):
            return result
        box = np.array(result.box_xywh, np.float64)
        try:
            where = f"{self.entry.sequence.name}, frame {len(self.boxes)}"
            results.check_finite(where, box, result.score)
        except FloatingPointError as error:
            return error
        self.boxes.append(box)
        self.times_s.append(seconds)
        self.scores.append(results.score_row(result.score, result.verdict.name))
        return None

    def ended(self, error) -> tuple[Any, Tracked | Failed]:
        """The entry's key, and what it has come to."""
        self.close()
        if error is not None:
            return self.entry.key, failed(error)
        arrays = (
            np.array(values) for values in (self.boxes, self.times_s, self.decode_s, self.scores)
        )
        return self.entry.key, Tracked(*arrays)

    def close(self):
        """Ends the thread, whether or not all frames were taken."""
        self._pool.shutdown(cancel_futures=True)
