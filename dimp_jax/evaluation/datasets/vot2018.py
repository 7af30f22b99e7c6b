"""VOT2018's short-term set: `list.txt`, `<name>/color/%08d.jpg`, `<name>/groundtruth.txt`.

For quick unsupervised runs, from the first frame to the last without resets: the challenge's own
numbers come from its toolkit (`python -m dimp_jax.evaluation.vot`). Polygons become boxes of the
same area (`curves.polygon_to_box`). A sequence has an attribute if any of its frames has the tag.
"""

import numpy as np

from dimp_jax.evaluation.datasets import files
from dimp_jax.evaluation.metrics import curves
from dimp_jax.media import text
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError

LAYOUT = "the folder of VOT2018 with list.txt, ants1/color/00000001.jpg, ants1/groundtruth.txt, ..."
EXPECTED = 60


def inventory(root, name):
    """The names of list.txt. Older copies have the frames beside the ground truth."""
    del name
    path = root / "list.txt"
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected {LAYOUT}")
    entries = []
    for sequence in text.read_names(path):
        folder = root / sequence
        images = folder / "color"
        if not images.is_dir() and listed(folder, "*.jpg"):
            images = folder
        entries.append(files.Entry(sequence, images, folder / "groundtruth.txt"))
    return files.Inventory(entries, EXPECTED, root)


def read(entry, listing):
    """One box a frame."""
    paths, faults = files.take_frames(entry, listing)
    polygons = text.read_rows(entry.boxes, width=8, form="x1,y1,..,x4,y4")
    corners = polygons.reshape(-1, 4, 2)
    flat = ~(np.ptp(corners, axis=1) > 0).all(axis=1)  # NaN too
    if flat.any():
        where = files.spans(np.flatnonzero(flat) + 1)
        raise InputError(f"{entry.boxes}: no area in line {where}")
    boxes = curves.polygon_to_box(polygons)
    tags = listed(entry.boxes.parent, "*.tag")  # a file of flags each; it may end before
    attributes = tuple(path.stem for path in tags if text.read_flags(path).any())
    return files.annotated(entry, paths, boxes, faults, attributes=attributes)
