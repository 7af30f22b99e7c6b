"""Reads the text files beside the images: boxes, flags and lists of names."""

from pathlib import Path

import numpy as np

from dimp_jax.data.builders.conversion import frames_text
from dimp_jax.data.builders.tracking import Annotated, Target
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import image_paths


def read_boxes(path) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Boxes, one `x,y,w,h` line a frame (commas, tabs or spaces).

    Returns:
      box_xywh: [L, 4] float32; NaN where the line is no box.
      present: [L] bool: four finite numbers with a size. NaN, or a width and height of 0, is the
        way of saying that the target is absent.
      problems: lines that are neither a box nor say "absent".

    Raises:
      InputError: no such file, not text, or no lines.
    """
    lines = text.read_lines(path)
    boxes = np.full((len(lines), 4), np.nan)
    malformed = []
    for row, line in enumerate(lines):
        values = text.numbers(line)
        if len(values) == 4:
            boxes[row] = values
        else:
            malformed.append(row)
    finite = np.isfinite(boxes).all(axis=1)
    absent = np.isnan(boxes).all(axis=1) | (finite & (boxes[:, 2:] == 0).all(axis=1))
    present = finite & (boxes[:, 2:] > 0).all(axis=1)
    bad = np.flatnonzero(~present & ~absent)
    problems = []
    if malformed:
        why = f"not four numbers x,y,w,h in {frames_text(malformed)}"
        problems.append(Problem("box", str(path), why, len(malformed)))
    if len(bad):
        why = f"a box without a size, or half a box, in {frames_text(bad.tolist())}"
        problems.append(Problem("box", str(path), why, len(bad)))
    return boxes.astype(np.float32), present, problems


def read_names(path, what="names") -> tuple[str, ...]:
    """As `text.read_names`, each once.

    Raises:
      InputError: no such file, nothing in it, or row numbers instead of names.
    """
    names = text.read_names(path, what)
    if all(name.isdecimal() for name in names):
        raise InputError(
            f"{path}: numbers, not {what}: expected one name a line, such as a folder is called"
        )
    return tuple(dict.fromkeys(names))


def numbered_images(directory, count, pattern, first) -> tuple[list[Path], list[Problem]]:
    """Paths of frames `first`, `first` + 1, ...: a missing file is noticed when it is read.

    Args:
      count: number of annotated frames. pattern: "{:08d}.jpg".

    Returns:
      paths: [count]; problems: images without an annotation.
    """
    paths = [directory / pattern.format(first + frame) for frame in range(count)]
    extra = count_images(directory) - count
    if extra > 0 and (directory / pattern.format(first + count)).exists():
        why = f"{extra} more images than the {count} annotated frames: left out"
        return paths, [Problem("length", str(directory), why, extra)]
    return paths, []


def count_images(directory) -> int:
    """Number of image files in a folder; 0 if there is no such folder."""
    return len(image_paths(directory))


def flagged_video(footage, images, shown) -> Annotated:
    """A video of one target, with `groundtruth.txt` in its folder.

    Args:
      images: folder of its frames 00000001.jpg, ...
      shown: {what: [L] bool}; the target is visible where its box has a size and all are True.
    """
    boxes, present, problems = read_boxes(footage.path / "groundtruth.txt")
    lengths = {"boxes": len(boxes)} | {what: len(flags) for what, flags in shown.items()}
    count = min(lengths.values())
    if count < max(lengths.values()):
        why = ", ".join(f"{length} {what}" for what, length in lengths.items())
        why += f": the first {count} frames are used"
        left = max(lengths.values()) - count
        problems.append(Problem("length", str(footage.path), why, left))
    present = np.all([present[:count], *(flags[:count] for flags in shown.values())], axis=0)
    paths, extra = numbered_images(images, count, "{:08d}.jpg", 1)
    return Annotated(paths, [Target(footage.name, boxes[:count], present)], problems + extra)
