"""Text files beside the images: rows of numbers, flags, lists of names."""

import re
from pathlib import Path

import numpy as np

from dimp_jax.media.images import InputError


def read_text(path) -> str:
    """Raises InputError: no such file, or not text."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise InputError(f"{path}: cannot be read as text ({reason})") from error


def read_lines(path, what="boxes") -> list[str]:
    """All lines up to the last one that is not blank. Raises InputError: unreadable, or none."""
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        raise InputError(f"{path}: no {what} in it")
    return lines


def read_names(path, what="names") -> list[str]:
    """The lines of a list, without blank ones and `#` comments.

    Raises:
      InputError: it cannot be read, or there are none.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputError(f"{path}: no {what} in it: expected one a line")
    return names


def read_rows(path, *, width=4, form="x,y,w,h", finite=False) -> np.ndarray:
    """[N, width] numbers as they stand there (NaN, zeros), separated by commas, tabs or spaces.

    Raises:
      InputError: not text, no rows, a row of anything else, or one that is not `finite`.
    """
    lines = read_lines(path)
    rows = [numbers(line) for line in lines]
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        if len(row) != width or (finite and not np.isfinite(row).all()):
            kind = "finite numbers" if finite else "numbers"
            raise InputError(
                f"{path}, line {number}: {line[:60]!r}: expected {width} {kind} {form}"
            )
    return np.array(rows, np.float64)


def read_flags(path) -> np.ndarray:
    """[N] int: whole numbers on one line or on many. Raises InputError: anything else in it."""
    words = re.split(r"[,\s]+", read_text(path).strip(" ,\t\r\n"))
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"{path}: expected whole numbers ({error})") from error
    if not all(value.is_integer() for value in values):
        raise InputError(f"{path}: expected whole numbers")
    return np.array(values, int)


def read_got10k_size_wh(path) -> tuple[int, int]:
    """Image size by GOT-10k's `meta_info.ini`.

    Raises:
      InputError: no such file, or no `resolution: (W, H)` in it.
    """
    match = re.search(r"^resolution:\s*\((\d+),\s*(\d+)\)", read_text(path), re.MULTILINE)
    if match is None:
        raise InputError(f"{path}: expected a line such as 'resolution: (1920, 1080)'")
    return int(match[1]), int(match[2])


def numbers(text) -> list[float]:
    """The numbers of a line, separated by commas, tabs or spaces; none if any is not a number."""
    if "_" in text:  # Python's own: "1_0" is 10
        return []
    try:
        return [float(v) for v in re.split(r"\s*[,\s]\s*", text.strip())]
    except ValueError:
        return []


def require_utf8(name, where="") -> None:
    """Raises InputError: a name of a file or folder that text cannot hold; `where` begins it."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}{name!r} is not UTF-8: rename it") from error


def rows_of(boxes) -> str:
    """Boxes [N, 4] as lines `x,y,w,h` with four decimals."""
    return "".join(",".join(f"{value:.4f}" for value in box) + "\n" for box in boxes)


def require_folder(path, layout) -> Path:
    """The folder itself. Raises InputError, with the layout that was expected, if it is none."""
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder: expected {layout}")
    return path


def first_names(names, most=5) -> str:
    """The first of some names; "..." for the others."""
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)
