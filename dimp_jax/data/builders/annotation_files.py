"""Reads the text files beside the images: boxes, flags and lists of names."""

import re
from pathlib import Path

import numpy as np

from dimp_jax.data.builders.tracking import frames_text
from dimp_jax.data.records_index import Problem
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import natural_key, numbers

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_text(path) -> str:
    """Raises InputError: no such file, or not text."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text ({error.reason})") from error


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
    lines = read_text(path).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path}: no boxes in it")
    boxes = np.full((len(lines), 4), np.nan)
    malformed = []
    for row, line in enumerate(lines):
        values = numbers(line)
        if len(values) == 4:
            boxes[row] = values
        else:
            malformed.append(row)
    absent = np.isnan(boxes).all(axis=1) | (boxes[:, 2:] == 0).all(axis=1)
    present = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    bad = np.flatnonzero(~present & ~absent)
    problems = []
    if malformed:
        text = f"not four numbers x,y,w,h in {frames_text(malformed)}"
        problems.append(Problem("box", str(path), text, len(malformed)))
    if len(bad):
        text = f"a box without a size, or half a box, in {frames_text(bad.tolist())}"
        problems.append(Problem("box", str(path), text, len(bad)))
    return boxes.astype(np.float32), present, problems


def read_flags(path) -> np.ndarray:
    """[L] int of a file of whole numbers, on one line or on many.

    Raises:
      InputError: no such file, or anything else in it.
    """
    words = re.split(r"[,\s]+", read_text(path).strip())
    try:
        return np.array([int(word) for word in words])
    except ValueError as error:
        raise InputError(f"{path}: expected whole numbers ({error})") from error


def read_names(path, what="names") -> tuple[str, ...]:
    """The lines of a list file, without blank ones.

    Raises:
      InputError: no such file, nothing in it, or row numbers instead of names.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise InputError(f"{path}: no {what} in it: expected one a line")
    if all(name.isdecimal() for name in names):
        raise InputError(
            f"{path}: numbers, not {what}: expected one name a line, such as a folder is called"
        )
    return names


def numbered_images(directory, count, pattern, first) -> tuple[list[Path], list[Problem]]:
    """Paths of frames `first`, `first` + 1, ...: a missing file is noticed when it is read.

    Args:
      directory: folder of the images.
      count: number of annotated frames.
      pattern: "{:08d}.jpg".
      first: number of the first frame.

    Returns:
      paths: [count].
      problems: images without an annotation.
    """
    paths = [directory / pattern.format(first + frame) for frame in range(count)]
    extra = count_images(directory) - count
    if extra > 0 and (directory / pattern.format(first + count)).exists():
        text = f"{extra} more images than the {count} annotated frames: left out"
        return paths, [Problem("length", str(directory), text, extra)]
    return paths, []


def count_images(directory) -> int:
    """Number of image files in a folder; 0 if there is no such folder."""
    return len(image_paths(directory, sort=False))


def image_paths(directory, *, sort=True) -> list[Path]:
    """The image files in a folder, frame10 after frame9; none if there is no such folder."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    paths = [p for p in directory.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(paths, key=natural_key) if sort else paths


def agreed_length(where, lengths) -> tuple[int, list[Problem]]:
    """The smallest of some lengths, {what: how many}, and a problem if they differ."""
    shortest = min(lengths.values())
    if len(set(lengths.values())) == 1:
        return shortest, []
    text = ", ".join(f"{count} {what}" for what, count in lengths.items())
    text += f": the first {shortest} frames are used"
    return shortest, [Problem("length", str(where), text, max(lengths.values()) - shortest)]


def require_folder(path, layout) -> Path:
    """The folder itself.

    Raises:
      InputError: no such folder; says the layout that was expected.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder: expected {layout}")
    return path
