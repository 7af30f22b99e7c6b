"""Our tracker as the GOT-10k toolkit (and what copies its interface) drives one.

from got10k.experiments import ExperimentGOT10k
from dimp_jax.evaluation.got10k_tracker import Got10kTracker

experiment = ExperimentGOT10k("data/GOT-10k", subset="val")
experiment.run(Got10kTracker("dimp_lite0"))
experiment.report(["dimp_lite0"])

The toolkit is not imported here: it only asks for the methods below.
"""

import time
from pathlib import Path

import numpy as np

from dimp_jax.evaluation import images


class Got10kTracker:
    """One tracker behind the methods of the toolkit's `Tracker` class.

    `track` is what release 0.1.3 calls and `forward_test` the same under its later name. Both read
    the files as `evaluate.py` does, so that boxes and times are those of a run of ours; `init` and
    `update` take decoded frames, for harnesses with a loop of their own. Boxes are x, y, w, h in
    the pixels of the data set's own annotation.

    The toolkit repeats a sequence three times. A repetition draws from the next seed: the k-th call
    of `track` with the same first frame, counted from 0 in this object, uses `seed` + k. A process
    that goes on with an interrupted experiment counts from 0 again: give it another `seed` there.

    Attributes:
      name: names the toolkit's folder of results.
      is_deterministic: True makes the toolkit stop after one repetition. The same seed does give
        the same boxes; the server of the test set wants three runs all the same.
    """

    def __init__(self, tracker, name=None, *, seed=0, is_deterministic=False):
        """Takes a tracker as it is, or loads and compiles one.

        Args:
          tracker: has `init` and `step` as `dimp_jax.tracking.tracker.Tracker`; or a string or path
            that `dimp_jax.load` takes.
          name: default: the stem of that string or path. Needed with a tracker.
          seed: of the first repetition.

        Raises:
          ValueError: a tracker without a name; what `dimp_jax.load` raises.
          FileNotFoundError: no such config or checkpoint.
        """
        loaded = isinstance(tracker, str | Path)
        if name is None and not loaded:
            raise ValueError("name: needed, since the tracker was given as an object")
        self.name = Path(tracker).stem if name is None else name
        self.is_deterministic = is_deterministic
        self.seed = seed
        if loaded:
            import dimp_jax

            tracker = dimp_jax.load(tracker)
            tracker.warmup()
        self._tracker = tracker
        self._state = None
        self._repetitions = {}  # by first frame

    def init(self, image, box):
        """Starts on a frame (a PIL image, or uint8 RGB [H, W, 3]) and its box [4]."""
        self._start(_pixels(image), box, self.seed)

    def update(self, image) -> np.ndarray:
        """Tracks one frame: its box [4].

        Raises:
          RuntimeError: `init` was not called.
        """
        if self._state is None:
            raise RuntimeError("update: call init with the first frame and its box before")
        return _box(self._advance(_pixels(image)))

    def track(self, img_files, box, visualize=False):
        """Tracks a sequence of image files.

        Args:
          img_files: N paths.
          box: [4] of the first frame.
          visualize: show every frame in a window; escape or q stops.

        Returns:
          boxes [N, 4], the first is `box`; seconds [N], without decoding, the first: `init`.

        Raises:
          InputError: a file cannot be read, or there is no display to show it on.
          ValueError: no files, or a box that the tracker refuses.
          runner.Stopped: the person stopped in the window.
        """
        if len(img_files) == 0:
            raise ValueError("img_files is empty: expected the paths of at least one frame")
        repetition = self._repetitions.get(str(img_files[0]), 0)
        self._repetitions[str(img_files[0])] = repetition + 1
        show = _open_window() if visualize else None
        boxes, times_s = np.empty((len(img_files), 4)), np.empty(len(img_files))
        for index, path in enumerate(img_files):
            image = images.read_image(path)
            started = time.perf_counter()
            if index == 0:
                self._start(image, box, self.seed + repetition)
                boxes[0], result = box, None
            else:
                result = self._advance(image)
                boxes[index] = _box(result)
            times_s[index] = time.perf_counter() - started
            if show is not None:
                show(image, boxes[index], index, result)
        return boxes, times_s

    forward_test = track

    def _start(self, image, box, seed):
        import jax

        box = np.asarray(box, np.float64)
        self._state = jax.block_until_ready(self._tracker.init(image, box, seed=seed))

    def _advance(self, image):
        import jax

        state, result = self._tracker.step(self._state, image)
        # Learning may still run: unless waited for, decoding would hide it from the clock.
        self._state = jax.block_until_ready(state)
        return result


def _box(result):
    return np.asarray(result.box_xywh, np.float64)


def _pixels(image):
    """uint8 RGB [H, W, 3] of a PIL image, or of an array that is one."""
    if hasattr(image, "convert"):
        image = image.convert("RGB")
    return np.asarray(image)


def _open_window():
    """Checks the display; returns the function that shows a frame with its box."""
    from dimp_jax.evaluation import draw, runner, window

    window.check_display()

    def show(image, box, index, result):
        verdict = draw.GIVEN if result is None else result.verdict.name
        score = None if result is None else float(result.score)
        if window.show(draw.annotate(image, box, verdict=verdict, score=score, frame=index)):
            window.close()
            raise runner.Stopped

    return show
