"""Tracks several objects in one video: the loop of `one_by_one.track` for N boxes."""

import contextlib
import dataclasses
import time

import numpy as np
from rich.console import Console

from dimp_jax.evaluation import jobs, results
from dimp_jax.evaluation.jobs import Options, Tracked
from dimp_jax.evaluation.runners.one_by_one import Stopped, drawn_frames, progress_of_frames
from dimp_jax.media import draw, window
from dimp_jax.media.images import InputError


def track_objects(
    tracker, sequence, boxes, *, seed: int = 0, observe=lambda index, image, boxes, results: None
):
    """Tracks several objects through one sequence, whose frames are decoded once.

    Each has its own search window, or all share one: `config.tracker.shared_crop`, see
    `dimp_jax.tracking.many.objects`. Object k has the seed `seed + k`.

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
      FloatingPointError: a box or a score that is not finite.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise InputError(f"boxes of shape {boxes.shape}: expected one or more of x, y, w, h")
    import jax  # not before all input was checked: it takes seconds

    from dimp_jax.tracking.many.objects import Objects

    objects, states, found, times_s = Objects(tracker, len(boxes)), None, [], []
    for index, (_, image) in enumerate(sequence.images()):
        began = time.perf_counter()
        if index == 0:
            try:
                states = objects.init(image, boxes, seed)
            except ValueError as error:
                raise InputError(f"{sequence.name}: {error}") from error
            seen, now = [None] * len(boxes), boxes
        else:
            states, seen = objects.step(states, image)
            for number, result in enumerate(seen, 1):
                if isinstance(result, Exception):
                    raise result
                where = f"{sequence.name}, frame {index}, object {number}"
                results.check_finite(where, result.box_xywh, result.score)
            now = np.array([result.box_xywh for result in seen])
        states = jax.block_until_ready(states)
        times_s.append(time.perf_counter() - began)
        found.append(now)
        observe(index, image, now, seen)
    return np.stack(found, axis=1), np.array(times_s)


def targets_of_one_video(tracker, todo, out, *, options: Options, console: Console):
    """Tracks several targets in the video that they share: yields (job, outcome).

    All jobs of a run belong together, and fail together. With `options.save_video` the boxes are
    drawn in one OUT/<video>.mp4; the time of a frame is divided among them.

    Raises:
      InputError: a frame cannot be read, or the tracker refuses one of the boxes.
      Stopped: the person ended the run.
    """
    for run in sorted({job.run for job in todo}):
        mine = [job for job in todo if job.run == run]
        try:
            outcomes = _track_and_draw(tracker, mine, out, options, console)
        except (Stopped, InputError):
            raise
        except Exception as error:  # told at the end: the other runs go on
            outcomes = [jobs.failed(error)] * len(mine)
        yield from zip(mine, outcomes, strict=True)


def _track_and_draw(tracker, mine, out, options, console) -> list[Tracked]:
    """The targets of one run."""
    sequence, run, scores = mine[0].sequence, mine[0].run, []  # a frame, a target
    with contextlib.ExitStack() as stack:
        if options.show:
            stack.callback(window.close)
        progress = stack.enter_context(progress_of_frames(console))
        task = progress.add_task(f"{len(mine)} targets", total=sequence.frames.count, fps="-")
        path = results.video_of_targets(results.run_folder(out, run), sequence.name)
        show = stack.enter_context(drawn_frames(options, path, sequence.frames.frame_rate))

        def observe(index, image, boxes, found):
            progress.update(task, completed=index + 1)
            scores.append([_score_row(one) for one in found])
            verdicts = [draw.GIVEN if one is None else one.verdict.name for one in found]
            show(lambda: draw.annotate_objects(image, boxes, verdicts=verdicts, frame=index))

        boxes, times_s = track_objects(
            tracker,
            sequence,
            [job.sequence.init_box for job in mine],
            seed=options.seed + run,
            observe=observe,
        )
    each_scores = np.array(scores).transpose(1, 0, 2)
    return [
        Tracked(its_boxes, times_s / len(mine), None, its_scores)
        for its_boxes, its_scores in zip(boxes, each_scores, strict=True)
    ]


def _score_row(result):
    if result is None:
        return results.GIVEN_SCORE
    return results.score_row(result.score, result.verdict.name)


def are_targets_done(out, sequences, run: int, *, options: Options) -> bool:
    """Whether a run of `targets_of_one_video` has all its files."""
    one_each = dataclasses.replace(options, save_video=False)
    video = results.video_of_targets(results.run_folder(out, run), sequences[0].name)
    return all(
        jobs.has_results(out, jobs.Job(sequence, run), one_each) for sequence in sequences
    ) and (not options.save_video or video.is_file())
