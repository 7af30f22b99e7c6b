"""The files of a feature pool: a ring of samples, the newest in the place of the oldest.

DIR/<p>-of-<n>/ of process p among n:
  <part>.npy   [slots, frames, ...] maps; sample k is in slot k mod slots, its train frames first
  boxes.npy    [slots, frames, 4] float32 x, y, w, h in crop pixels
  pool.json    what it was made from, and which samples are there
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np

CHUNK = 16  # samples between two records of which are there
_BOXES = "boxes"


class Ring:
    """Samples `first` to `done - 1`, mapped into memory.

    Raises:
      ValueError: when made: there is a ring made from something else, or the disk is too small.
    """

    def __init__(self, folder: Path, made_from: dict, maps: dict, frames: int, slots: int):
        """`maps`: shape and dtype of the map of one crop, by part."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.made_from, self.slots = folder, made_from, slots
        self.first, self.done = _recorded(folder, made_from)
        each = {**{name: (m.shape, m.dtype) for name, m in maps.items()}, _BOXES: ((4,), "float32")}
        shapes = {name: ((slots, frames, *shape), dtype) for name, (shape, dtype) in each.items()}
        _check_space(folder, shapes, 1 - min(self.done / slots, 1))
        self.maps = {name: _open(folder / f"{name}.npy", *s) for name, s in shapes.items()}
        self.box_xywh = self.maps.pop(_BOXES)

    def holds(self, number: int) -> bool:
        """Whether sample `number` is there or is the next to be made.

        Those that the next chunk overwrites may be damaged, where a process was ended.
        """
        return max(self.first, self.done + CHUNK - self.slots) <= number <= self.done

    def restart(self, number: int):
        """Forgets all samples; `number` is the next."""
        self.first = self.done = number

    def written(self):
        """Records that the next `CHUNK` samples are there."""
        self.done += CHUNK
        for array in (*self.maps.values(), self.box_xywh):
            array.flush()
        partial = self.folder / "pool.json.partial"
        card = {"made_from": self.made_from, "first": self.first, "done": self.done}
        partial.write_text(json.dumps(card, indent=2) + "\n")
        partial.replace(self.folder / "pool.json")


def is_whole(folder: Path, slots: int) -> bool:
    """Whether a ring that keeps its samples has all of them: nobody writes to it any more."""
    path = folder / "pool.json"
    return path.exists() and json.loads(path.read_text())["done"] >= slots


def _recorded(folder, made_from) -> tuple[int, int]:
    """(first, done) of a ring that is there already."""
    path = folder / "pool.json"
    if not path.exists():
        for array in folder.glob("*.npy"):  # of one that recorded nothing yet
            array.unlink()
        return 0, 0
    found = json.loads(path.read_text())
    if found["made_from"] != made_from:
        wrong = sorted(k for k in made_from if found["made_from"].get(k) != made_from[k])
        raise ValueError(
            f"{folder}: features of another {' and '.join(wrong)}: choose another "
            "training.feature_pool.dir, or delete that folder to make them anew"
        )
    return found["first"], found["done"]


def _check_space(folder, shapes, missing: float):
    """Raises ValueError where the missing share would not fit: a full disk kills who maps it."""
    sizes = (math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())
    needed, free = sum(sizes) * missing, shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise ValueError(
            f"{folder}: the features need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: set "
            "training.feature_pool.dir to another disk, or fewer training.feature_pool.samples"
        )


def _open(path, shape, dtype):
    if path.exists():
        return np.load(path, mmap_mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
