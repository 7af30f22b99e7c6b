"""What the composite source chooses from: objects and backgrounds, without their images."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError, read_image

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Origin(NamedTuple):
    """Where an image is: a file, or a frame of one of the opened data sets."""

    path: str | None
    data_set: int | None = None
    sequence: int | None = None
    frame: int | None = None  # None: any frame of the sequence


class ObjectEntry(NamedTuple):
    """What is known of an object without its image."""

    origin: Origin
    outline: np.ndarray  # [P, 2] float32 x, y in sprite units, see `sprites`
    color: np.ndarray  # [3] float32 mean RGB
    gray_std: float  # standard deviation of its brightness
    size_hw: tuple[int, int]  # of the image of it
    place: int = 0  # of the image in the `ObjectFile`

    @property
    def unit_px(self) -> float:
        return float(np.sqrt(self.size_hw[0] * self.size_hw[1]))


class BackgroundEntry(NamedTuple):
    """A background, and how much larger than the frame it can be without being blurred."""

    origin: Origin
    canvas_scale: float  # sides in units of those of the frame


class Stock(NamedTuple):
    """Things to choose from, in groups (folders, data sets) of very different size."""

    entries: tuple  # of all groups, one after the other
    cumulative: np.ndarray  # [n] float64 up to 1, probabilities added up
    features: np.ndarray | None = None  # [n, 4] of objects: what makes them look alike

    def pick(self, rng):
        """A random index: a group by the square root of its size, any member of it."""
        found = np.searchsorted(self.cumulative, rng.random(), side="right")
        return int(min(found, len(self.entries) - 1))


def stock(groups):
    """The `Stock` of non-empty groups of `ObjectEntry` or `BackgroundEntry`."""
    entries = tuple(entry for group in groups for entry in group)
    weights = np.concatenate([np.full(len(group), len(group) ** -0.5) for group in groups])
    features = None
    if isinstance(entries[0], ObjectEntry):
        features = np.stack([_features(entry) for entry in entries])
    return Stock(entries, np.cumsum(weights) / weights.sum(), features)


def _features(entry):
    width, height = np.ptp(entry.outline, axis=0)
    return np.append(entry.color / 40, 2 * np.log(width / height))


def list_images(directory, what):
    """The image files of a folder, sorted. Raises InputError: no such folder, or no image in it."""
    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of {what}")
    paths = [path for path in listed(folder) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise InputError(f"{folder}: no image in it; expected {what} ({', '.join(SUFFIXES)})")
    return [str(path) for path in paths]


def file_backgrounds(paths, size_hw_px, what):
    """[BackgroundEntry] of the files that decode; the others are named in a warning.

    Raises:
      InputError: none decodes.
    """
    entries = []
    for path in paths:
        try:
            entries.append(
                BackgroundEntry(Origin(path), canvas_scale(read_image(path), size_hw_px))
            )
        except InputError as error:
            log.warning("left out: %s", error)
    if not entries:
        raise InputError(f"{what}: none of its {len(paths)} images can be decoded")
    return entries


def data_set_backgrounds(data_set, source, size_hw_px, what):
    """[BackgroundEntry] of all sequences; the first readable image's size stands for all.

    Raises:
      InputError: no sequence, or none that begins with a readable image.
    """
    for sequence in range(len(source)):
        try:
            (frame,) = source.read(sequence, [0])
        except BrokenFrame as error:
            log.warning("%s", error)
            continue
        scale = canvas_scale(frame.image, size_hw_px)
        return [BackgroundEntry(Origin(None, data_set, s), scale) for s in range(len(source))]
    raise InputError(f"{what}: no readable image in its {len(source)} sequences")


def canvas_scale(image, size_hw_px):
    """1.15 to 1.6: the larger the image is compared with the frame, the more room to pan."""
    fits = min(have / need for have, need in zip(image.shape[:2], size_hw_px, strict=True))
    return float(np.clip(0.8 * fits, 1.15, 1.6))
