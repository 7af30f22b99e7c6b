"""Runs a tracker over sequences: plain loops, timed per frame, with progress."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.console import Console

from dimp_jax.evaluation import jobs, results
from dimp_jax.evaluation.jobs import Options, Tracked
from dimp_jax.host import terminal
from dimp_jax.media import draw, window
from dimp_jax.media.images import InputError
from dimp_jax.media.video_writer import video_writer

DEFAULT_FRAME_RATE = 25.0  # of annotated videos made from image folders
FPS_SMOOTHING = 0.9  # of the frame rate on screen


class Tracker(Protocol):
    """What is asked of a tracker: `dimp_jax.tracking.tracker.Tracker`, or anything like it."""

    def init(self, image, box_xywh, seed: int = 0) -> Any:
        """Starts on the first frame (uint8 RGB [H, W, 3]); ValueError if the box cannot be used."""

    def step(self, state, image) -> tuple[Any, Any]:
        """Tracks one frame: the next state, and a result with `box_xywh`, `score`, `verdict`."""


class Frame(NamedTuple):
    """One finished frame, as `track` hands it to its observer."""

    index: int
    image: np.ndarray  # uint8 RGB [H, W, 3]
    box: np.ndarray  # [4]
    verdict: str  # its name, or draw.GIVEN
    score: float | None
    fps: float | None  # smoothed
    groundtruth: np.ndarray | None  # [4]
    decode_s: float  # seconds of reading and decoding the image


class Stopped(Exception):
    """The person ended the run in the window."""


def track(tracker: Tracker, sequence, *, seed=0, observe=lambda frame: None):
    """Tracks one sequence from its first box.

    Args:
      sequence: a `Sequence`; without `init_box` the person is asked in the window.
      observe: called with a `Frame` after each one; not timed, as decoding is not.

    Returns:
      boxes [N, 4] and seconds [N]; the first are the given box and the initialisation's time.

    Raises:
      InputError: a frame cannot be read, or the tracker refuses the first box.
      FloatingPointError: a box or a score that is not finite.
    """
    import jax  # not before all input was checked: it takes seconds

    boxes, times_s, state, fps = [], [], None, None
    for index, (image, decode_s) in enumerate(timed_images(sequence)):
        verdict, score = draw.GIVEN, None
        if index == 0:
            box = sequence.init_box
            box = window.draw_box(image) if box is None else np.asarray(box, np.float64)
            started = time.perf_counter()
            try:
                state = jax.block_until_ready(tracker.init(image, box, seed=seed))
            except ValueError as error:
                raise InputError(f"{sequence.name}: {error}") from error
            times_s.append(time.perf_counter() - started)
        else:
            started = time.perf_counter()
            state, result = tracker.step(state, image)
            # Learning may still run: unless waited for, decoding would hide it from the clock.
            state = jax.block_until_ready(state)
            box = np.asarray(result.box_xywh, np.float64)
            times_s.append(time.perf_counter() - started)
            verdict, score = result.verdict.name, float(result.score)
            results.check_finite(f"{sequence.name}, frame {index}", box, score)
        if index > results.WARM_UP_FRAMES:
            rate = 1.0 / max(times_s[-1], 1e-9)
            fps = rate if fps is None else FPS_SMOOTHING * fps + (1 - FPS_SMOOTHING) * rate
        boxes.append(box)
        truth = None if sequence.groundtruth is None else sequence.groundtruth[index]
        try:
            observe(Frame(index, image, box, verdict, score, fps, truth, decode_s))
        except Stopped:
            if not sequence.frames.live:
                raise
            break  # how a camera's sequence ends
    return np.array(boxes), np.array(times_s)


def timed_images(sequence) -> Iterator[tuple[np.ndarray, float]]:
    """The images of a sequence, each with the seconds of reading and decoding it."""
    started = time.perf_counter()
    for _, image in sequence.images():
        yield image, time.perf_counter() - started
        started = time.perf_counter()


def run(tracker: Tracker, sequences, out, *, options=None, console=None) -> dict:
    """Tracks one by one the sequences whose results are not yet in `out` (`jobs.run_jobs`).

    Raises:
      InputError: of the only sequence there is.
      Stopped: the person ended the run.
    """
    options, console, out = options or Options(), console or Console(), Path(out)
    track_jobs = lambda todo: one_by_one(tracker, todo, out, options=options, console=console)
    return jobs.run_jobs(track_jobs, sequences, out, options=options, console=console)


def one_by_one(tracker: Tracker, todo, out, *, options: Options, console: Console):
    """Tracks jobs in turn, with video and window: yields (job, outcome).

    Raises:
      Stopped: the person ended the run.
    """
    with contextlib.ExitStack() as stack:
        if options.show:
            stack.callback(window.close)
        progress = stack.enter_context(progress_of_frames(console))
        for number, job in enumerate(todo, 1):
            name = job.sequence.name if options.runs == 1 else f"{job.sequence.name}, run {job.run}"
            task = progress.add_task(
                f"{name} ({number}/{len(todo)})", total=job.sequence.frames.count, fps="-"
            )
            try:
                outcome = _track_and_draw(tracker, job, out, options, progress, task)
            except Stopped:
                raise
            except Exception as error:  # told at the end: hours of other sequences go on
                outcome = jobs.failed(error)
            yield job, outcome


def _track_and_draw(tracker, job, out, options, progress, task):
    path = results.video_of(results.run_folder(out, job.run), job.sequence.name)
    with drawn_frames(options, path, job.sequence.frames.frame_rate) as show:

        def observe(frame):
            fps = "-" if frame.fps is None else f"{frame.fps:.1f}"
            progress.update(task, completed=frame.index + 1, fps=fps)
            show(lambda: drawn(frame))

        tracked = track_job(tracker, job.sequence, options.seed + job.run, observe)
    progress.update(task, total=len(tracked.boxes))  # a video's header may count otherwise
    return tracked


def track_job(tracker, sequence, seed, observe=lambda frame: None) -> Tracked:
    """`track`, with the times of decoding and the scores."""
    decode_s, scores = [], []

    def noted(frame):
        decode_s.append(frame.decode_s)
        scores.append(results.score_row(frame.score, frame.verdict))
        observe(frame)

    boxes, times_s = track(tracker, sequence, seed=seed, observe=noted)
    return Tracked(boxes, times_s, np.array(decode_s), np.array(scores))


def drawn(frame: Frame) -> np.ndarray:
    """The frame with its boxes and texts."""
    shown = {key: getattr(frame, key) for key in ("verdict", "score", "groundtruth", "fps")}
    return draw.annotate(frame.image, frame.box, frame=frame.index, **shown)


@contextlib.contextmanager
def drawn_frames(options: Options, path, frame_rate: float | None):
    """Gives `show(draw)`, which calls `draw()` if somebody wants to see its frame.

    The frames are shown in the window, where any key to stop raises `Stopped`, and written to the
    video `path`, as the options say.
    """
    with contextlib.ExitStack() as stack:
        write = None
        if options.save_video:
            write = stack.enter_context(video_writer(path, frame_rate or DEFAULT_FRAME_RATE))

        def show(draw_frame):
            if write is None and not options.show:
                return
            image = draw_frame()
            if write is not None:
                write(image)
            if options.show and window.show(image):
                raise Stopped

        yield show


def progress_of_frames(console):
    """A progress display whose tasks have a total and a field `fps`."""
    return terminal.Progress("{task.fields[fps]} fps", console=console)
