"""Still images with boxes: `boxes.csv` (`file,x,y,w,h[,has_mask]`) and, for some, masks.

The mask of `x/1.jpg` is `mask/x/1.png`, or `mask/1.png`, if that is of no other image.
"""

import collections
import csv
from pathlib import Path

import numpy as np

from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.images import InputError

SHOWN = 80  # characters of a line in a message
LAYOUT = "a folder with boxes.csv, whose first line is file,x,y,w,h or file,x,y,w,h,has_mask"


class ImageFolder(TrackingBuilder):
    """Every boxed object is a sequence of one frame; the objects of an image share its bytes."""

    IS_VIDEO = False

    @staticmethod
    def list_footage(request):
        source = text.require_folder(request.source, LAYOUT)
        table, problems = read_table(source / "boxes.csv")
        with_mask = [name for name, rows in table.items() if any(mask for _, mask in rows)]
        claims = collections.Counter(_mask_path(source, name) for name in with_mask)
        for name in with_mask:
            path = _mask_path(source, name)
            if claims[path] > 1:
                why = f"{claims[path]} images would have {path.relative_to(source)}: mask left out"
                problems.append(Problem("mask", name, why))
                table[name] = [(box, False) for box, _ in table[name]]
        return [Footage(name, source, 1, tuple(rows)) for name, rows in table.items()], problems

    @staticmethod
    def read_footage(footage):
        image, rows = footage.path / footage.name, footage.detail
        problems = []
        with_mask = [number for number, (_, has_mask) in enumerate(rows) if has_mask]
        if len(with_mask) > 1:  # one file cannot say which object is which
            why = f"has_mask is 1 in {len(with_mask)} rows, for one mask: masks left out"
            problems.append(Problem("mask", footage.name, why))
            with_mask = []
        mask_path = _mask_path(footage.path, footage.name)
        if with_mask and not mask_path.is_file():
            problems.append(Problem("mask", str(mask_path), "no such file, but has_mask is 1"))
            with_mask = []
        targets = []
        for number, (box, _) in enumerate(rows):
            name = footage.name if len(rows) == 1 else f"{footage.name}#{number}"
            present = bool(np.isfinite(box).all() and min(box[2:]) > 0)
            if not present:
                problems.append(Problem("box", name, "the box has no size"))
            mask = (lambda frame: mask_path.read_bytes()) if number in with_mask else None
            targets.append(Target(name, np.float32([box]), np.array([present]), mask))
        return Annotated([image], targets, problems)


def _mask_path(source, name):
    """mask/x/1.png of the image x/1.jpg; where there is none, mask/1.png."""
    place, file = Path(name).parent, f"{Path(name).stem}.png"
    outside = place.is_absolute() or ".." in place.parts
    path = source / "mask" / place / file
    return path if path.is_file() and not outside else source / "mask" / file


def read_table(path) -> tuple[dict[str, list], list[Problem]]:
    """Rows of boxes.csv by file, in the order of the table.

    Returns:
      table: {file: [((x, y, w, h), has_mask), ...]}.
      problems: lines that are no such row, left out.

    Raises:
      InputError: no such file, another header, or no rows.
    """
    lines = text.read_text(path).splitlines()
    header = [word.strip() for word in next(csv.reader(lines[:1]), [])]
    if header[:5] != ["file", "x", "y", "w", "h"] or header[5:] not in ([], ["has_mask"]):
        raise InputError(f"{path}: its first line is {','.join(header)!r}: expected {LAYOUT}")
    table, problems = {}, []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            (row,) = csv.reader([line], strict=True)  # by itself: a stray quote would take others
            name, *box = row[:5]
            box = tuple(float(value) for value in box)
            has_mask = len(header) == 6 and {"0": False, "1": True}[row[5].strip()]
            if len(row) != len(header) or not name:
                raise ValueError
        except (ValueError, KeyError, IndexError, csv.Error):
            why = f"{line[:SHOWN]!r}: expected {','.join(header)}: left out"
            problems.append(Problem("box", f"{path}, line {number}", why))
            continue
        table.setdefault(name, []).append((box, has_mask))
    if not table:
        raise InputError(f"{path}: no rows that can be used")
    return table, problems
