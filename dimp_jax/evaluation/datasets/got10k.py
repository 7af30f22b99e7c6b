"""GOT-10k's validation and test set: `{val,test}/list.txt`, `{val,test}/<name>/%08d.jpg`.

A sequence of the validation set has `groundtruth.txt`, `cover.label` (eighths of the target that
are visible), `absence.label` and `meta_info.ini`, whose resolution clips the overlaps. One of the
test set has one box; its ground truth is on the benchmark's server.
"""

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text

LAYOUT = "the folder of GOT-10k with {split}/list.txt, {split}/GOT-10k_{title}_000001/, ..."
EXPECTED = 180
SPLITS = {"got10k_val": "val", "got10k_test": "test"}
COVERS = 8


def inventory(root, name):
    """The names of list.txt."""
    split = SPLITS[name]
    folder = root / split
    text.require_folder(folder, LAYOUT.format(split=split, title=split.title()))
    entries = [
        files.Entry(sequence, folder / sequence, folder / sequence / "groundtruth.txt")
        for sequence in text.read_names(folder / "list.txt")
    ]
    return files.Inventory(entries, EXPECTED, folder)


def read(entry, listing):
    """`visible`: cover > 0, as in the official toolkit."""
    if entry.images.parent.name == SPLITS["got10k_test"]:
        return files.first_box_only(entry, listing)
    paths, faults = files.take_frames(entry, listing)
    boxes = text.read_rows(entry.boxes)
    cover = files.read_frame_flags(entry.images / "cover.label", boxes, faults)
    files.read_frame_flags(entry.images / "absence.label", boxes, faults)
    doubts = []
    if (cover < 0).any() or (cover > COVERS).any():
        doubts.append(f"{entry.images / 'cover.label'}: expected whole numbers from 0 to {COVERS}")
    if len(cover) == len(boxes):
        doubts += files.without_box(entry, boxes, cover == 0)
    return files.annotated(
        entry,
        paths,
        boxes,
        faults,
        doubts,
        visible=cover > 0,
        bound_wh=text.read_got10k_size_wh(entry.images / "meta_info.ini"),
    )
