"""Tracks several objects in one video: the plain loop of `runner.track`, for boxes of N objects."""

import time

import numpy as np

from dimp_jax.evaluation.images import InputError


def track_objects(
    tracker, sequence, boxes, *, seed: int = 0, observe=lambda index, image, boxes, results: None
):
    """Tracks several objects through one sequence, whose frames are decoded once.

    Each has its own search window, or all share one: `config.tracker.shared_crop`, see
    `dimp_jax.tracking.objects`. Object k has the seed `seed + k`.

    Args:
      tracker: `dimp_jax.tracking.tracker.Tracker`.
      sequence: a `Sequence`; its own first box is not used.
      boxes: [K, 4] in the first frame, pixels.
      observe: called after each frame with its index, the image, boxes [K, 4] and K of
        `TrackResult` (None for the first frame); not timed, as decoding is not.

    Returns:
      boxes [K, N, 4] and seconds [N] of a frame of all objects; the first are the given boxes and
      the initialisation's time.

    Raises:
      InputError: no boxes, a frame cannot be read, or the tracker refuses one of the boxes.
      FloatingPointError: a box that is not finite.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise InputError(f"boxes of shape {boxes.shape}: expected one or more of x, y, w, h")
    import jax  # not before all input was checked: it takes seconds

    from dimp_jax.tracking.objects import Objects

    objects, states, found, times_s = Objects(tracker, len(boxes)), None, [], []
    for index, (_, image) in enumerate(sequence.images()):
        began = time.perf_counter()
        if index == 0:
            try:
                states = objects.init(image, boxes, seed)
            except ValueError as error:
                raise InputError(f"{sequence.name}: {error}") from error
            results, now = [None] * len(boxes), boxes
        else:
            states, results = objects.step(states, image)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            now = np.array([result.box_xywh for result in results])
        states = jax.block_until_ready(states)
        times_s.append(time.perf_counter() - began)
        if not np.isfinite(now).all():
            bad = int(np.argmin(np.isfinite(now).all(1)))
            where = f"{sequence.name}, frame {index}, object {bad + 1}"
            raise FloatingPointError(f"{where}: the tracker returned the box {now[bad].tolist()}")
        found.append(now)
        observe(index, image, now, results)
    return np.stack(found, axis=1), np.array(times_s)
