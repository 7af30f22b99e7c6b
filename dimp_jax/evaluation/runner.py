"""Runs a tracker over sequences: a plain loop, timed per frame, with progress and results."""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dimp_jax.evaluation import draw, results, window
from dimp_jax.evaluation.images import InputError
from dimp_jax.evaluation.video import video_writer

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


class Stopped(Exception):
    """The person ended the run in the window."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How `run` behaves."""

    seed: int = 0
    save_video: bool = False
    show: bool = False


def track(tracker: Tracker, sequence, *, seed=0, observe=lambda frame: None):
    """Tracks one sequence from its first box.

    Args:
      sequence: a `Sequence`; without `init_box` the person is asked in the window.
      observe: called with a `Frame` after each one; not timed, as decoding is not.

    Returns:
      boxes [N, 4] and seconds [N]; the first are the given box and the initialisation's time.

    Raises:
      InputError: a frame cannot be read, or the tracker refuses the first box.
    """
    import jax  # not before all input was checked: it takes seconds

    boxes, times_s, state, fps = [], [], None, None
    for index, (_, image) in enumerate(sequence.images()):
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
            if not np.isfinite(box).all():
                raise FloatingPointError(
                    f"{sequence.name}, frame {index}: the tracker returned the box {box.tolist()}"
                )
        if index > results.WARM_UP_FRAMES:
            rate = 1.0 / max(times_s[-1], 1e-9)
            fps = rate if fps is None else FPS_SMOOTHING * fps + (1 - FPS_SMOOTHING) * rate
        boxes.append(box)
        truth = None if sequence.groundtruth is None else sequence.groundtruth[index]
        try:
            observe(Frame(index, image, box, verdict, score, fps, truth))
        except Stopped:
            if not sequence.frames.live:
                raise
            break  # how a camera's sequence ends
    return np.array(boxes), np.array(times_s)


def run(tracker: Tracker, sequences, out, *, options=None, console=None) -> dict:
    """Tracks the sequences whose results are not yet in `out`, and writes the summary.

    A sequence's files appear when it is finished, and not otherwise. `out` was made by
    `results.make_folder`.

    Returns:
      `results.summarize`'s summary.

    Raises:
      InputError: from a sequence's frames or first box; results of those before it stay.
      Stopped: the person ended the run.
    """
    options, console, out = options or Options(), console or Console(), Path(out)
    todo = [s for s in sequences if not results.is_done(out, s, with_video=options.save_video)]
    if len(todo) < len(sequences):
        console.print(f"{len(sequences) - len(todo)} of {len(sequences)} sequences are done")
    with contextlib.ExitStack() as stack:
        if options.show:
            stack.callback(window.close)
        progress = stack.enter_context(_progress(console)) if todo else None
        for number, sequence in enumerate(todo, 1):
            task = progress.add_task(
                f"{sequence.name} ({number}/{len(todo)})", total=sequence.frames.count, fps="-"
            )
            _track_and_write(tracker, sequence, out, options, progress, task)
    return results.summarize(out, sequences)


def table(summary) -> Table:
    """The summary as a table for the terminal."""
    shown = Table(
        caption="fps: tracked frames / sum of their times, without decoding and without the first "
        f"{results.WARM_UP_FRAMES}; frames without ground truth are left out of the scores"
    )
    shown.add_column("sequence", overflow="fold")
    for heading in ("AUC", "prec. 20 px", "norm. 0.20", "frames", "fps"):
        shown.add_column(heading, justify="right", no_wrap=True)
    rows = list(summary["sequences"].items())
    for name, values in rows:
        shown.add_row(name, *_cells(values), end_section=name == rows[-1][0])
    shown.add_row("mean", *_cells(summary["mean"]), style="bold")
    return shown


def _cells(values):
    formats = dict.fromkeys(results.METRICS, "{:.3f}") | {"frames": "{:.6g}", "fps": "{:.2f}"}
    return [
        "-" if values[key] is None else formats[key].format(values[key]) for key in results.KEYS
    ]


def _track_and_write(tracker, sequence, out, options, progress, task):
    with contextlib.ExitStack() as stack:
        write = None
        if options.save_video:
            rate = sequence.frames.frame_rate or DEFAULT_FRAME_RATE
            write = stack.enter_context(video_writer(out / f"{sequence.name}.mp4", rate))

        def observe(frame):
            fps = "-" if frame.fps is None else f"{frame.fps:.1f}"
            progress.update(task, completed=frame.index + 1, fps=fps)
            if write is None and not options.show:
                return
            drawn = draw.annotate(
                frame.image,
                frame.box,
                verdict=frame.verdict,
                score=frame.score,
                frame=frame.index,
                groundtruth=frame.groundtruth,
                fps=frame.fps,
            )
            if write is not None:
                write(drawn)
            if options.show and window.show(drawn):
                raise Stopped

        boxes, times_s = track(tracker, sequence, seed=options.seed, observe=observe)
    results.write_sequence(out, sequence.name, boxes, times_s)


def _progress(console):
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]} fps"),
        TimeRemainingColumn(),
        console=console,
    )
