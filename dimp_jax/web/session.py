"""What the server keeps while it runs: the last clips and jobs, in a folder that goes with it."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from dimp_jax.media.first_box import checked_box
from dimp_jax.media.images import InputError
from dimp_jax.web import clips
from dimp_jax.web.clips import Clip
from dimp_jax.web.jobs import Job, Worker

KEPT = 4  # clips, and as many jobs; older ones are removed


class Busy(Exception):
    """There is room for one at a time."""


class Session:
    """Clips and jobs by their id.

    Its folder is one of the user's alone, in the system's folder for temporary files.
    """

    def __init__(self, worker: Worker, *, limit: int | None = None):
        """limit: only so many first frames of a clip are tracked."""
        self.clips: dict[str, Clip] = {}
        self.jobs: dict[str, Job] = {}
        self._worker, self._limit, self._uploading = worker, limit, False
        self.folder = Path(tempfile.mkdtemp(prefix="dimp-jax-demo-"))

    @property
    def ready(self) -> bool:
        """Whether all is compiled."""
        return self._worker.ready

    @property
    def running(self) -> str | None:
        """Id of the job that has not ended."""
        return next((job.id for job in self.jobs.values() if not job.ended), None)

    def add_demo(self) -> Clip:
        """Raises InputError: the demo clip is not installed."""
        return self._keep(clips.of_demo(self._limit))

    @contextlib.contextmanager
    def upload(self, name: str):
        """Gives the path for a file of that name; what is not `add_upload`-ed there is removed.

        Raises:
          Busy: another upload has not ended.
        """
        if self._uploading:
            raise Busy("another upload is running: try again when it has ended")
        self._uploading, folder = True, Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder / clips.file_name(name)
        finally:
            self._uploading = False
            if all(clip.folder != folder for clip in self.clips.values()):
                shutil.rmtree(folder, ignore_errors=True)

    def add_upload(self, path: Path) -> Clip:
        """Raises InputError: the file cannot be read as a video."""
        return self._keep(clips.of_upload(path, self._limit))

    def start(self, clip_id, box) -> Job:
        """Begins to track.

        Raises:
          KeyError: no such clip. Busy: another one is being tracked. InputError: no usable box.
        """
        clip = self.clips[clip_id]
        if box is None:
            raise InputError("no box: draw one around the target, or type its numbers")
        box = checked_box(box, clip.first.shape[:2])
        job = Job(clip, box, Path(tempfile.mkdtemp(dir=self.folder)))
        if not self._worker.submit(job):
            job.folder.rmdir()
            raise Busy("another clip is being tracked: cancel it, or wait for its end")
        self.jobs[job.id] = job
        _remove_oldest(self.jobs)
        return job

    def close(self):
        """Cancels what runs, and removes the folder."""
        self._worker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, clip):
        self.clips[clip.id] = clip
        _remove_oldest(self.clips)
        return clip


def _remove_oldest(kept):
    while len(kept) > KEPT:
        oldest = kept.pop(next(iter(kept)))
        if oldest.folder is not None:
            shutil.rmtree(oldest.folder, ignore_errors=True)
