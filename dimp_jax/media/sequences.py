"""Sequences to track: a lazy source of frames, the first box and, where known, the ground truth.

A sequence is a folder with `img/*.jpg|png` and `groundtruth.txt` (one `x,y,w,h` line a frame,
0-based pixels, top-left corner, `nan` where the target is absent).
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dimp_jax.media.first_box import checked_box, share_inside
from dimp_jax.media.folders import listed
from dimp_jax.media.images import ImageFrames, InputError, tell_once
from dimp_jax.media.text import numbers, read_rows
from dimp_jax.media.video import VideoFrames

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """One video to track."""

    name: str  #: of its files in a results folder
    frames: ImageFrames | VideoFrames  #: iterates over (name for messages, uint8 RGB [H, W, 3])
    groundtruth: np.ndarray | None  #: [N, 4] x, y, w, h; NaN, or without an area, where absent
    init_box: np.ndarray | None  #: [4]; None: to be drawn in the window
    visible: np.ndarray | None = None  #: [N] bool: the data set's own flags; None: it has none
    attributes: tuple[str, ...] = ()  #: the data set's names of what makes it hard
    bound_wh: tuple[float, float] | None = None  #: image size, where overlaps are clipped to it

    def images(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (name for messages, uint8 RGB [H, W, 3]) of one size.

        Raises:
          InputError: a frame cannot be read, or has another size than the first one.
        """
        first = None
        for label, image in self.frames:
            first = first or image.shape
            if image.shape != first:
                raise InputError(
                    f"{label}: {image.shape[1]} x {image.shape[0]} px, but the sequence began with "
                    f"{first[1]} x {first[0]} px"
                )
            yield label, image


def load_folder(directory, *, limit=None, box=None) -> list[Sequence]:
    """The sequence in `directory`, or all sequences in its subfolders, sorted by name.

    Args:
      directory: has `img/`, or folders that have it.
      limit: only the first `limit` frames of each are used.
      box: [4] first box, for one sequence without `groundtruth.txt`.

    Raises:
      InputError: nothing usable there, or what `load_sequence` raises.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    if is_sequence(directory):
        return [load_sequence(directory, limit=limit, box=box)]
    children = sorted(filter(is_sequence, listed(directory)), key=natural_key)
    if not children:
        raise InputError(
            f"{directory}: no frames: expected img/*.jpg or img/*.png in it, or in its subfolders"
        )
    if box is not None:
        raise InputError(f"--box is for one sequence, and {directory} holds {len(children)}")
    return [load_sequence(child, limit=limit) for child in children]


def load_sequence(directory, *, limit=None, box=None) -> Sequence:
    """Reads one sequence folder; decodes only its first frame.

    A `groundtruth.txt` with a single line for several frames gives the first box only.

    Raises:
      InputError: no frames, an unreadable first frame, ground truth of the wrong length or form, or
        a first box that cannot be tracked.
    """
    directory = Path(directory).resolve()
    paths = frame_paths(directory / "img")
    if not paths:
        raise InputError(f"{directory}: no frames: expected img/*.jpg or img/*.png")
    frames = ImageFrames(tuple(paths[:limit]))
    annotation = directory / "groundtruth.txt"
    groundtruth = None
    if annotation.is_file():
        groundtruth = read_groundtruth(annotation)
        if len(groundtruth) not in (1, len(paths)):
            raise InputError(
                f"{annotation}: {len(groundtruth)} boxes for {len(paths)} frames: expected one a "
                "frame, or only the first one"
            )
        box = groundtruth[0] if box is None else box
        groundtruth = groundtruth[:limit] if len(groundtruth) == len(paths) else None
    elif box is None:
        raise InputError(f"{annotation}: no such file: the first box is needed there or as --box")
    return checked(Sequence(directory.name, frames, groundtruth, box))


def load_video(source, *, limit=None, box=None) -> Sequence:
    """A video file, or a camera if `source` is an int. Without `box` it must be drawn.

    Raises:
      InputError: the video cannot be opened, or a box that cannot be tracked.
    """
    name = f"camera{source}" if isinstance(source, int) else Path(source).stem
    return checked(Sequence(name, VideoFrames(source, stop=limit), None, box))


def checked(sequence: Sequence) -> Sequence:
    """The sequence itself, once its first frame was decoded and its first box is inside it.

    A camera is not opened for this; the tracker checks the box when it starts.
    """
    if not sequence.frames.live:
        _, image = next(sequence.images())
        if sequence.init_box is not None:
            what = f"{sequence.name}: first box"
            box = checked_box(sequence.init_box, image.shape[:2], what)
            inside = share_inside(box, image.shape[:2])
            if inside < 0.5:
                given = ",".join(f"{value:g}" for value in box)
                size = f"{image.shape[1]} x {image.shape[0]} pixels"
                tell_once(f"{what} {given}: only {inside:.0%} of it are in the image of {size}")
    return sequence


def parse_box(text) -> np.ndarray:
    """ "10,20,30,40" as [4] floats.

    Raises:
      InputError: not four numbers.
    """
    values = numbers(text)
    if len(values) != 4:
        raise InputError(f"--box {text!r}: expected four numbers X,Y,W,H")
    return np.array(values)


def read_groundtruth(path) -> np.ndarray:
    """Reads boxes [N, 4] separated by commas, tabs or spaces.

    Rows without an area (some benchmarks mark absence by 0,0,0,0) become NaN, but for the first:
    it is the box to start with, and must be judged as it is.

    Raises:
      InputError: not text, no rows, or a row that is neither four finite numbers nor four NaN.
    """
    boxes = read_rows(path)
    half = ~np.isfinite(boxes).all(axis=1) & ~np.isnan(boxes).all(axis=1)
    if half.any():
        raise InputError(
            f"{path}, line {half.argmax() + 1}: expected four finite numbers x,y,w,h, or nan four "
            "times where the target is absent"
        )
    boxes[1:][~present(boxes[1:])] = np.nan
    return boxes


def present(boxes):
    """[N] bool: the box is finite and has an area."""
    return np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)


def natural_key(path):
    """Sorts `frame10` after `frame9`."""
    parts = re.split(r"(\d+)", Path(path).name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def image_paths(folder) -> list[Path]:
    """The image files in a folder, frame10 after frame9; none if there is no such folder."""
    paths = [path for path in listed(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(paths, key=lambda path: (natural_key(path.stem), path.suffix))


def frame_paths(folder) -> list[Path]:
    """`image_paths` of the frames of a sequence.

    Raises:
      InputError: two images of the same numbers, also where one has more of them at its end, one
        without a number among others, or images of two kinds: masks, depth or copies among them.
    """
    paths = image_paths(folder)
    kinds = {path.suffix.lower().replace("jpeg", "jpg"): path for path in paths}
    clash = list(kinds.values()) if len(kinds) > 1 else None
    numbered = sorted((_frame_numbers(path), path) for path in paths)
    if numbered and numbered[-1][0]:  # else no name has a number
        for (one, path), (two, other) in itertools.pairwise(numbered):
            # `1`, `1_mask` and `1 copy`; with more behind `1 (2)`; none in `mask`
            clash = clash or ((path, other) if two[: len(one)] == one else None)
    if clash:
        raise InputError(
            f"{folder}: {clash[0].name} beside {clash[1].name}: expected one image a frame, each "
            "with a number of its own, all .jpg or all .png: move masks, depth and copies to "
            "another folder"
        )
    return paths


def _frame_numbers(path):
    """The numbers in the name of a frame, with their decimals."""
    found = re.findall(r"(\d+)(?:\.(\d+))?", path.stem)
    return [(int(whole), decimals) for whole, decimals in found]


def is_sequence(directory) -> bool:
    """Whether a folder is laid out as a sequence."""
    return (directory / "img").is_dir() or (directory / "groundtruth.txt").is_file()
