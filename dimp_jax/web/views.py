"""A frame as the page shows it: the image with its box, and the window that was searched."""

import numpy as np

from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import draw
from dimp_jax.media.opencv import cv2
from dimp_jax.models.dimp import STRIDE_PX

LONGEST_SIDE_PX = 960  # of the image in the video; larger ones are made smaller
GAP_PX = 4  # between image and window


class WatchedTracker:
    """A tracker whose last step can be looked into: `details`, None after `init`."""

    def __init__(self, tracker):
        self._tracker, self.details = tracker, None

    def init(self, image, box_xywh, seed: int = 0):
        """See `Tracker.init`."""
        self.details = None
        return self._tracker.init(image, box_xywh, seed)

    def step(self, state, image):
        """See `Tracker.step`."""
        state, result, self.details = self._tracker.detailed_step(state, image)
        return state, result


def searched_window(details) -> np.ndarray:
    """The crop in which the target was looked for, with the scores over it: uint8 [P, P, 3]."""
    scores = np.asarray(details.look.scores)
    best = int(scores.max(axis=(1, 2)).argmax())
    crop = np.clip(np.rint(details.crops[best]), 0, 255).astype(np.uint8)
    return draw.heat_map(crop, scores[best], STRIDE_PX)


def picture(frame: one_by_one.Frame, details) -> np.ndarray:
    """The annotated frame; beside it, or below one that is higher than wide, the searched window.

    Every frame of a clip has the same size; in the first one nothing is searched yet.
    """
    height, width = frame.image.shape[:2]
    shrink = LONGEST_SIDE_PX / max(height, width)
    if shrink < 1:
        size_wh = (round(width * shrink), round(height * shrink))
        small = cv2.resize(frame.image, size_wh, interpolation=cv2.INTER_AREA)
        frame = frame._replace(image=small, box=frame.box * shrink)
    image = one_by_one.drawn(frame)
    height, width = image.shape[:2]
    side, axis = (height, 1) if width >= height else (width, 0)
    window = np.zeros((side, side, 3), np.uint8)
    if details is not None:
        window = cv2.resize(searched_window(details), (side, side), interpolation=cv2.INTER_LINEAR)
    gap = np.zeros((height, GAP_PX, 3) if axis else (GAP_PX, width, 3), np.uint8)
    return np.concatenate([image, gap, window], axis=axis)
