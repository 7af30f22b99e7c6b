"""Tracking for the page: one clip at a time, in a thread of its own."""

import dataclasses
import logging
import secrets
import threading
import time
from pathlib import Path

import numpy as np

from dimp_jax.evaluation import results
from dimp_jax.evaluation.exchange import formats
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import images
from dimp_jax.media.images import InputError
from dimp_jax.media.video_writer import video_writer
from dimp_jax.web import views
from dimp_jax.web.clips import Clip

WAITING, TRACKING, DONE, CANCELLED, FAILED = "waiting", "tracking", "done", "cancelled", "failed"
_log = logging.getLogger(__name__)


class Job:
    """A clip that is tracked: written by the tracking thread, read by the server's."""

    def __init__(self, clip: Clip, box, folder: Path):
        """box: [4] x, y, w, h in the first frame. folder: for the video; made by the caller."""
        self.id, self.clip, self.box, self.folder = secrets.token_urlsafe(8), clip, box, folder
        self.state, self.cancelled = WAITING, threading.Event()
        self.error: str | None = None
        self.boxes: list[np.ndarray] = []  # [4] a frame
        self.scores: list[tuple[float, float]] = []  # `results.score_row` of each
        self.notes: list[str] = []  # what the reader of the video had to say
        self.latest: np.ndarray | None = None  # uint8 RGB, as the last frame is shown
        self.began_s = self.seconds = 0.0

    @property
    def ended(self) -> bool:
        return self.state in (DONE, CANCELLED, FAILED)

    @property
    def video(self) -> Path:
        """Where the tracked video is, once the job has ended without an error."""
        return self.folder / f"{self.clip.sequence.name}.mp4"

    def progress(self) -> dict:
        """What the page shows meanwhile, as JSON types."""
        frames, total = len(self.boxes), self.clip.sequence.frames.count
        return {
            "state": self.state,
            "error": self.error,
            "notes": list(self.notes),
            "frames": frames,
            "total": frames if self.ended else total,
            "frames_per_second": round(frames / self.seconds, 1) if self.seconds else None,
            "scores": None if not self.ended else [round(float(row[0]), 4) for row in self.scores],
            "found": None if not self.ended else [bool(row[1]) for row in self.scores],
        }

    def files(self, name: str) -> tuple[str, str]:
        """(file name, text) of the boxes in a format of `formats.FORMATS`."""
        boxes, scores = np.array(self.boxes), np.array(self.scores)
        height, width = self.clip.first.shape[:2]
        sequence = self.clip.sequence
        target = {1: formats.Target(boxes, scores)}
        made = formats.FORMATS[name]([formats.Video(sequence.name, target, False, (width, height))])
        ((_, text),) = made.items()
        suffix = {"otb": "otb.txt", "mot": "mot.txt", "coco": "coco.json", "csv": "csv"}[name]
        return f"{sequence.name}.{suffix}", text

    def run(self, tracker, seed: int) -> None:
        """Tracks; what goes wrong is told on the page."""
        self.state, self.began_s = TRACKING, time.monotonic()
        images.tell_once.cache_clear()  # once a job
        notes = _Notes(self)
        logging.getLogger(images.__name__).addHandler(notes)
        try:
            self._track(views.WatchedTracker(tracker), seed)
            self.state = CANCELLED if self.cancelled.is_set() else DONE
        except (InputError, FloatingPointError, OSError) as error:
            self._fail(self.clip.told(error))
        except Exception as error:  # whatever it is, the page goes on with the next job
            _log.exception("%s", self.clip.sequence.name)
            self._fail(f"{type(error).__name__}: {error}: more of it where dimp-jax demo runs")
        finally:
            logging.getLogger(images.__name__).removeHandler(notes)

    def _track(self, watched, seed):
        sequence = dataclasses.replace(
            self.clip.sequence, init_box=np.asarray(self.box, float), groundtruth=None
        )

        def observe(frame):
            self.scores.append(results.score_row(frame.score, frame.verdict))
            self.latest = views.picture(frame, watched.details)
            write(self.latest)
            self.seconds = time.monotonic() - self.began_s
            self.boxes.append(frame.box)  # last: it counts the frames
            if self.cancelled.is_set():
                raise one_by_one.Stopped

        rate = sequence.frames.frame_rate or one_by_one.DEFAULT_FRAME_RATE
        with video_writer(self.video, rate) as write:
            try:
                one_by_one.track(watched, sequence, seed=seed, observe=observe)
            except one_by_one.Stopped:
                pass  # what was tracked until then is kept

    def _fail(self, text):
        self.error, self.state = " ".join(text.split()), FAILED


class _Notes(logging.Handler):
    """Hands what `images.tell_once` says on to the page; the terminal has it, too."""

    def __init__(self, job: Job):
        super().__init__()
        self._job = job

    def emit(self, record):
        self._job.notes.append(self._job.clip.told(record.getMessage()))


class Worker:
    """The thread in which everything is compiled and tracked."""

    def __init__(self, tracker, seed: int):
        self._tracker, self._seed = tracker, seed
        self._job: Job | None = None
        self._change = threading.Condition()
        self.ready = False  # compiled
        # A daemon: a program that is being compiled must not keep the process from ending.
        threading.Thread(target=self._work, name="tracking", daemon=True).start()

    def submit(self, job: Job) -> bool:
        """Hands over a job; False, and nothing done, while another one runs."""
        with self._change:
            if self._job is not None and not self._job.ended:
                return False
            self._job = job
            self._change.notify()
            return True

    def stop(self):
        """Cancels what runs."""
        if self._job is not None:
            self._job.cancelled.set()

    def _work(self):
        try:
            self._tracker.warmup()
        except Exception:  # of any kind: a job will meet the same, and tell the page
            _log.exception("compiling")
        self.ready = True
        while True:
            with self._change:
                self._change.wait_for(lambda: self._job is not None and not self._job.ended)
                job = self._job
            job.run(self._tracker, self._seed)
