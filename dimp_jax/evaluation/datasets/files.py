"""What the readers of the benchmarks share: lists, numbered frames, rows of numbers, lengths.

A reader is a module with `LAYOUT` (words for messages), `inventory(root, name)`, which says what a
copy should hold, and `read(entry, listing)`, which reads one sequence without decoding an image.
Both raise InputError for what makes that impossible; `read` returns what else is wrong.
"""

import csv
import dataclasses
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.media import text
from dimp_jax.media.folders import listed
from dimp_jax.media.images import ImageFrames, InputError
from dimp_jax.media.sequences import IMAGE_SUFFIXES, Sequence, present


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one target of a benchmark lies; it may be missing on disk."""

    name: str
    images: Path  # folder of its frames
    boxes: Path
    first: int | None = 1  # number in the name of the first frame; None: the smallest there is
    last: int | None = None  # no frame after it belongs to the sequence; None: all do


class Inventory(NamedTuple):
    """What a copy should hold."""

    entries: list[Entry]
    expected: int  # sequences of a complete copy
    parent: Path | None = None  # each of its folders belongs to an entry; None: others may be there


class Reading(NamedTuple):
    """One sequence, and what is wrong with it."""

    sequence: Sequence
    faults: list[str]  # must not be evaluated like this
    doubts: list[str]  # differs from the official files


Listing = Callable[[Path], dict[int, str]]


def own_list(name) -> Path:
    """A name list that comes with the package."""
    return Path(__file__).parent / name


def read_table(name) -> list[dict[str, str]]:
    """The rows of a table that comes with the package, by column."""
    return list(csv.DictReader(text.read_names(own_list(name))))


def read_attributes(path, names) -> tuple[str, ...]:
    """Those of `names` whose flag is 1; none if there is no such file.

    Raises:
      InputError: not one flag for each name.
    """
    if not Path(path).is_file():
        return ()
    flags = text.read_flags(path)
    if len(flags) != len(names):
        raise InputError(f"{path}: {len(flags)} flags: expected {len(names)} ({' '.join(names)})")
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag > 0)


def read_frame_flags(path, boxes, faults, *, is_cut=False) -> np.ndarray:
    """[L] int flags of the frames that have `boxes` [N, 4]; another L becomes one of `faults`.

    With `is_cut`, the flags that go on after the boxes are left out.
    """
    flags = text.read_flags(path)
    if is_cut:
        flags = flags[: len(boxes)]
    if len(flags) != len(boxes):
        faults.append(f"{path}: {len(flags)} flags for {len(boxes)} boxes")
    return flags


def list_frames(folder) -> dict[int, str]:
    """{number: file name} of the images named by a number, with or without leading zeros.

    Raises:
      InputError: the folder cannot be listed, or two images have one number.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    frames = {}
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if stem.isdecimal() and (dot + suffix).lower() in IMAGE_SUFFIXES:
            other = frames.setdefault(int(stem), name)
            if other != name:
                pair = " and ".join(sorted((other, name)))
                raise InputError(f"{folder}: {pair} are the same frame: remove one of them")
    return frames


def take_frames(entry, listing: Listing) -> tuple[list[Path], list[str]]:
    """Paths of the frames of an entry in order, and which numbers are missing between them.

    Raises:
      InputError: there are none.
    """
    found = listing(entry.images)
    last = math.inf if entry.last is None else entry.last
    first = min(found, default=0) if entry.first is None else entry.first
    chosen = sorted(number for number in found if first <= number <= last)
    if not chosen:
        span = f" from {first}" if entry.last is None else f" in {first}-{last}"
        raise InputError(f"{entry.images}: no frames: expected *.jpg or *.png with numbers{span}")
    absent = [number for number in range(first, chosen[-1]) if number not in found]
    faults = [f"{entry.images}: missing: frame {spans(absent)}"] if absent else []
    return [entry.images / found[number] for number in chosen], faults


def annotated(entry, paths, boxes, faults, doubts=(), visible=None, **fields) -> Reading:
    """A sequence with a box for each frame.

    Args:
      entry: where it is.
      paths: N frames.
      boxes: [N, 4]; any other length is a fault.
      faults: what is known already; as `doubts`.
      visible: [N] bool or None.
      fields: more fields of the Sequence.
    """
    faults = list(faults)
    if len(boxes) != len(paths):
        faults.append(
            f"{entry.boxes}: {len(boxes)} boxes for {len(paths)} frames in {entry.images}"
        )
    count = min(len(boxes), len(paths))
    sequence = Sequence(
        entry.name,
        ImageFrames(tuple(paths[:count])),
        boxes[:count],
        boxes[0],
        visible=None if visible is None else visible[:count],
        **fields,
    )
    return Reading(sequence, faults, list(doubts))


def first_box_only(entry, listing: Listing, **fields) -> Reading:
    """A sequence of a test set: one line with the box to start with."""
    paths, faults = take_frames(entry, listing)
    boxes = text.read_rows(entry.boxes)
    if len(boxes) != 1:
        faults.append(f"{entry.boxes}: {len(boxes)} boxes: expected one, in a test set")
    frames = ImageFrames(tuple(paths))
    return Reading(Sequence(entry.name, frames, None, boxes[0], **fields), faults, [])


def without_box(entry, boxes, allowed=False) -> list[str]:
    """A line on the rows of `boxes` [N, 4] that are no box, `allowed` [N] or one bool aside."""
    rows = np.flatnonzero(~present(boxes) & ~np.asarray(allowed)) + 1
    return [f"{entry.boxes}: no box (NaN, or no size) in line {spans(rows)}"] if len(rows) else []


def spans(values: Iterable[int], most=6) -> str:
    """ "3, 7-9" of ascending numbers; "..." after the first `most` spans."""
    found = []
    for value in values:
        if found and value == found[-1][1] + 1:
            found[-1][1] = value
        else:
            found.append([value, value])
    shown = [f"{low}" if low == high else f"{low}-{high}" for low, high in found[:most]]
    return ", ".join(shown + ["..."] * (len(found) > most))


def subfolders(folder) -> list[Path]:
    """Folders in a folder, sorted, without hidden ones."""
    return [path for path in listed(folder) if path.is_dir()]
