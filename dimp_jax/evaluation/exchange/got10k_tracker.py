"""Our tracker as the GOT-10k toolkit (and what copies its interface) drives one.

from got10k.experiments import ExperimentGOT10k
from dimp_jax.evaluation.exchange.got10k_tracker import Got10kTracker

experiment = ExperimentGOT10k("data/GOT-10k", subset="val")
experiment.run(Got10kTracker("dimp_lite0"))
experiment.report(["dimp_lite0"])

The toolkit is not imported here: it only asks for the methods below.
"""

from pathlib import Path

import numpy as np

from dimp_jax.evaluation import results
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import images, window
from dimp_jax.media.sequences import Sequence


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
        self._state = self._tracker.init(
            _pixels(image), np.asarray(box, np.float64), seed=self.seed
        )

    def update(self, image) -> np.ndarray:
        """Tracks one frame: its box [4].

        Raises:
          RuntimeError: `init` was not called.
          FloatingPointError: a score that is not finite.
        """
        if self._state is None:
            raise RuntimeError("update: call init with the first frame and its box before")
        self._state, result = self._tracker.step(self._state, _pixels(image))
        results.check_finite(self.name, result.box_xywh, result.score)
        return np.asarray(result.box_xywh, np.float64)

    def track(self, img_files, box, visualize=False):
        """Tracks a sequence of image files.

        Args:
          img_files: N paths.
          box: [4] of the first frame.
          visualize: show every frame in a window; escape or q stops.

        Returns:
          (boxes [N, 4], of which the first is `box`; seconds [N] without decoding, the first one
          of `init`).

        Raises:
          InputError: a file cannot be read, the tracker refuses the box, or there is no display.
          ValueError: no files.
          one_by_one.Stopped: the person stopped in the window.
        """
        if len(img_files) == 0:
            raise ValueError("img_files is empty: expected the paths of at least one frame")
        repetition = self._repetitions.get(str(img_files[0]), 0)
        self._repetitions[str(img_files[0])] = repetition + 1
        frames = images.ImageFrames(tuple(map(Path, img_files)))
        sequence = Sequence(frames.paths[0].parent.name, frames, None, np.asarray(box, np.float64))
        observe = _open_window() if visualize else lambda frame: None
        return one_by_one.track(
            self._tracker, sequence, seed=self.seed + repetition, observe=observe
        )

    forward_test = track


def _pixels(image):
    """uint8 RGB [H, W, 3] of a PIL image, or of an array that is one."""
    if hasattr(image, "convert"):
        image = image.convert("RGB")
    return np.asarray(image)


def _open_window():
    """Checks the display; returns an observer that shows each frame with its box."""
    window.check_display()

    def show(frame):
        if window.show(one_by_one.drawn(frame)):
            window.close()
            raise one_by_one.Stopped

    return show
