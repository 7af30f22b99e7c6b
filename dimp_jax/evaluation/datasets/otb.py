"""OTB-100 and OTB-50: `<Folder>/img/%04d.jpg`, `<Folder>/groundtruth_rect.txt`.

Boxes are used as they stand there, as all toolkits do. `Tiger1` begins with its 6th frame, as in
the toolkit of the benchmark's authors (and in the published tracker's); the got10k and VOT toolkits
leave nothing out, so their numbers for this sequence differ. Names are those of the published
tracker's results: `Jogging_1`, `Jogging_2`, `Skating2_1`, `Skating2_2`, `Human4_2`.
"""

import functools

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text
from dimp_jax.media.images import InputError

LAYOUT = "the folder of OTB with Basketball/img/0001.jpg, Basketball/groundtruth_rect.txt, ..."
EXPECTED = {"otb100": 100, "otb50": 50}


@functools.cache
def _table():
    """{name of the target: its row of otb.csv}."""
    return {row["name"]: row for row in files.read_table("otb.csv")}


def inventory(root, name):
    """The targets of "otb100" or "otb50", in the order of their names."""
    rows = [row for row in _table().values() if name == "otb100" or row["otb50"] == "1"]
    # A copy of OTB-100 holds the folders of OTB-50, and others.
    parent = root if name == "otb100" else None
    return files.Inventory([_entry(root, row) for row in rows], EXPECTED[name], parent)


def _entry(root, row):
    """Copies for pysot have a folder for each target, `Jogging-1`."""
    folder = root / row["folder"]
    files_of_target = ["groundtruth_rect.txt"]
    if row["target"]:
        own = root / f"{row['folder']}-{row['target']}"
        folder = own if own.is_dir() and not folder.is_dir() else folder
        files_of_target.insert(0, f"groundtruth_rect.{row['target']}.txt")
    # Human4 has an empty groundtruth_rect.1.txt beside the one that counts.
    there = [
        p for p in map(folder.joinpath, files_of_target) if p.is_file() and p.read_bytes().strip()
    ]
    return files.Entry(
        row["name"],
        folder / "img",
        there[0] if there else folder / files_of_target[0],
        int(row["start"]),
        int(row["stop"]),
    )


def read(entry, listing):
    """The frames that the benchmark evaluates; David, for example, begins with frame 300."""
    paths, faults = files.take_frames(entry, listing)
    boxes = text.read_rows(entry.boxes)
    row = _table()[entry.name]
    lines = range(1, len(boxes) + 1)
    doubts = files.without_box(entry, boxes, [str(line) == row["no_box"] for line in lines])
    frames = entry.last - entry.first + 1
    if len(paths) != frames:
        doubts.append(f"{entry.images}: {len(paths)} frames, expected {frames}")
    omit = int(row["omit"]) if len(paths) == len(boxes) else 0
    if len(paths) <= omit:
        raise InputError(f"{entry.images}: {len(paths)} frames: {entry.name} begins after {omit}")
    attributes = tuple(row["attributes"].split())
    return files.annotated(entry, paths[omit:], boxes[omit:], faults, doubts, attributes=attributes)
