"""NFS at 30 frames a second, in two packs.

The original one is `<seq>/30/<seq>/%05d.jpg` and `<seq>/30/<seq>.txt` with a track number, then
xmin, ymin, xmax, ymax and more; where that file has the boxes of the 240 frames a second, every 8th
one is taken. The converted one is `sequences/<seq>/%05d.jpg` and `anno/nfs_<seq>.txt` with x, y, w,
h. In ten sequences the last frame has no box: it is left out. Names begin with `nfs_`.
"""

import numpy as np

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError

LAYOUT = (
    "the folder of NFS with airboard_1/30/airboard_1/00001.jpg, airboard_1/30/airboard_1.txt, ..., "
    "or with sequences/airboard_1/00001.jpg, anno/nfs_airboard_1.txt, ..."
)
PREFIX = "nfs_"
EXPECTED = 100
FRAMES_PER_STEP = 8  # of the 240 a second, in one of the 30 a second


def inventory(root, name):
    """What is there: the names are those of the folders."""
    del name
    if (root / "anno").is_dir() and (root / "sequences").is_dir():
        annotated = {p.stem.removeprefix(PREFIX) for p in listed(root / "anno", f"{PREFIX}*.txt")}
        filmed = {p.name for p in files.subfolders(root / "sequences")}
        entries = [
            _entry(name, root / "sequences" / name, root / "anno" / f"{PREFIX}{name}.txt")
            for name in sorted(annotated | filmed)
        ]
        return files.Inventory(entries, EXPECTED)
    entries = []
    for folder in files.subfolders(root):
        if (folder / "30").is_dir() or (folder / "240").is_dir():
            base = folder / "30"
            entries.append(_entry(folder.name, base / folder.name, base / f"{folder.name}.txt"))
    if not entries:
        raise InputError(f"{root}: no sequences in it: expected {LAYOUT}")
    return files.Inventory(entries, EXPECTED, root)


def _entry(name, images, boxes):
    return files.Entry(PREFIX + name, images, boxes, first=None)


def read(entry, listing):
    """One box a frame, from either form of file."""
    paths, faults = files.take_frames(entry, listing)
    boxes = _read_boxes(entry.boxes)
    if abs(len(boxes) / len(paths) - FRAMES_PER_STEP) < 1:
        boxes = boxes[::FRAMES_PER_STEP]
    if abs(len(boxes) - len(paths)) == 1 and not faults:
        shared = min(len(boxes), len(paths))
        paths, boxes = paths[:shared], boxes[:shared]
    return files.annotated(entry, paths, boxes, faults, files.without_box(entry, boxes))


def _read_boxes(path):
    """[N, 4] x, y, w, h."""
    boxes = []
    for number, line in enumerate(text.read_lines(path), 1):
        values = text.numbers(line)
        if len(values) != 4:
            # A label, which is no number, may follow the corners.
            corners = text.numbers(" ".join(line.split()[1:5]))
            if len(corners) != 4:
                raise InputError(
                    f"{path}, line {number}: {line[:60]!r}: expected x y w h, or a track number "
                    "and xmin ymin xmax ymax"
                )
            left, top, right, bottom = corners
            values = [left, top, right - left, bottom - top]
        boxes.append(values)
    return np.array(boxes, np.float64)
