"""TrackingNet's test set: `TEST/frames/<id>/<k>.jpg`, `TEST/anno/<id>.txt` with one box.

Frames are numbered from 0, without leading zeros. The ground truth is on the benchmark's server.
"""

from dimp_jax.evaluation.datasets import files
from dimp_jax.media import text
from dimp_jax.media.folders import listed

LAYOUT = "the folder of TrackingNet with TEST/frames/<id>/0.jpg, TEST/anno/<id>.txt, ..."
EXPECTED = 511


def inventory(root, name):
    """What is there: the names are those of the annotations and of the folders."""
    del name
    test = root / "TEST" if (root / "TEST").is_dir() else root
    for folder in (test / "frames", test / "anno"):
        text.require_folder(folder, LAYOUT)
    names = {path.stem for path in listed(test / "anno", "*.txt")}
    names |= {path.name for path in files.subfolders(test / "frames")}
    entries = [
        files.Entry(name, test / "frames" / name, test / "anno" / f"{name}.txt", first=0)
        for name in sorted(names)
    ]
    return files.Inventory(entries, EXPECTED)


def read(entry, listing):
    """Frames and the first box."""
    return files.first_box_only(entry, listing)
