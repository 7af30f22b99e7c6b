"""UAV123: `data_seq/UAV123/<folder>/%06d.jpg`, `anno/UAV123/<name>.txt`; NaN rows: absent.

Several targets are parts of one folder. Names begin with `uav_`. Attributes are read from
`anno/UAV123/att/<name>.txt`.
"""

import numpy as np

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text

LAYOUT = "the folder of UAV123 with data_seq/UAV123/bike1/000001.jpg, anno/UAV123/bike1.txt, ..."
PREFIX = "uav_"
EXPECTED = 123
# In the order of the flags, by the table of the benchmark's authors.
ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")


def inventory(root, name):
    """All 123 targets."""
    del name
    filmed, annotated = root / "data_seq" / "UAV123", root / "anno" / "UAV123"
    for folder in (filmed, annotated):
        text.require_folder(folder, LAYOUT)
    entries = [
        files.Entry(
            PREFIX + row["name"],
            filmed / row["folder"],
            annotated / f"{row['name']}.txt",
            int(row["start"]),
            int(row["stop"]),
        )
        for row in files.read_table("uav123.csv")
    ]
    return files.Inventory(entries, EXPECTED, filmed)


def read(entry, listing):
    """The part of the folder's frames that the table gives."""
    paths, faults = files.take_frames(entry, listing)
    boxes = text.read_rows(entry.boxes)
    doubts = files.without_box(entry, boxes, np.isnan(boxes).all(axis=1))
    frames = entry.last - entry.first + 1
    if len(paths) != frames:
        doubts.append(
            f"{entry.images}: {len(paths)} frames in {entry.first}-{entry.last}, expected {frames}"
        )
    attributes = files.read_attributes(entry.boxes.parent / "att" / entry.boxes.name, ATTRIBUTES)
    return files.annotated(entry, paths, boxes, faults, doubts, attributes=attributes)
