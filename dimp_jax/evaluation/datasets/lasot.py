"""LaSOT's 280 test sequences (protocol II) and the 150 of its extension.

`<class>/<class>-<n>/{img/%08d.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}`; the
folders may also lie side by side, as in the download of the test set. The flags are one line each.
Attributes are not in the data set; the folder `att` of LaSOT's evaluation toolkit (`annos/att`) is
read if it is put beside the classes.
"""

import numpy as np

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text

LAYOUT = "the folder of LaSOT with airplane/airplane-1/img/00000001.jpg, ..."
EXPECTED = {"lasot": 280, "lasot_ext": 150}
# In the order of the flags in the evaluation toolkit (run_tracker_performance_evaluation.m).
ATTRIBUTES = tuple("IV POC DEF MB CM ROT BC VC SV FOC FM OV LR ARC".split())
# Its boxes end before its frames: the toolkits evaluate what has a box.
SHORTER = "monkey-17"


def inventory(root, name):
    """The sequences of the list; others, of the training split, may be beside them."""
    entries = []
    for sequence in text.read_names(files.own_list(f"{name}.txt")):
        folder = root / sequence
        if not folder.is_dir():
            folder = root / sequence.rpartition("-")[0] / sequence
        entries.append(files.Entry(sequence, folder / "img", folder / "groundtruth.txt"))
    return files.Inventory(entries, EXPECTED[name])


def read(entry, listing):
    """`visible`: neither fully occluded nor out of view.

    Boxes without a size are no fault: so the release marks absence, with a few slips where the
    target is in view.
    """
    paths, faults = files.take_frames(entry, listing)
    boxes = text.read_rows(entry.boxes)
    visible = np.ones(len(boxes), bool)
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        path, is_cut = entry.boxes.with_name(name), entry.name == SHORTER
        flags = files.read_frame_flags(path, boxes, faults, is_cut=is_cut)
        shared = min(len(flags), len(boxes))
        visible[:shared] &= flags[:shared] == 0
    if entry.name == SHORTER:
        paths = paths[: len(boxes)]
    doubts = files.without_box(entry, boxes, ~np.isnan(boxes).any(axis=1))
    attributes = files.read_attributes(_attribute_file(entry), ATTRIBUTES)
    return files.annotated(entry, paths, boxes, faults, doubts, visible, attributes=attributes)


def _attribute_file(entry):
    """`att` beside the classes, or beside the sequence where there are no folders of classes."""
    sequence = entry.boxes.parent
    by_class = sequence.parent.name == entry.name.rpartition("-")[0]
    root = sequence.parent.parent if by_class else sequence.parent
    return root / "att" / f"{entry.name}.txt"
