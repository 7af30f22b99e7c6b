"""Sequences on disk in VOT's layout: reading their lengths, and making them of folders of ours.

list.txt                       names, one a line
<name>/sequence                key=value lines; channels.color=color/%08d.jpg
<name>/color/00000001.jpg ..   frames from 1
<name>/groundtruth.txt         a line a frame: x,y,w,h, or the corners of a polygon
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.host.files import whole
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import load_folder
from dimp_jax.media.text import numbers, read_names, read_text, rows_of

LIST = "list.txt"
SUFFIX = ".jpg"  # of the links: frames are recognised by what is in them


class VotSequence(NamedTuple):
    """What is to be known of a sequence before it is evaluated."""

    name: str
    length: int  # frames
    absent: int = 0  # frames without a region
    first_absent: int | None = None  # counted from 0


def is_vot_layout(folder) -> bool:
    """Whether a folder of sequences has VOT's list of them."""
    return (Path(folder) / LIST).is_file()


def read(folder) -> list[VotSequence]:
    """Counts frames and regions of all sequences in `folder`.

    Raises:
      InputError: no list, a sequence or a frame that is missing, or other numbers of regions.
    """
    folder = Path(folder)
    if not is_vot_layout(folder):
        raise InputError(f"{folder}: no sequences: expected {LIST} with their names")
    return [_read_sequence(folder / name) for name in read_names(folder / LIST, "sequences")]


def convert(source, target):
    """Makes `target`, in VOT's layout, of sequences of ours; frames are linked, not copied.

    Raises:
      InputError: `source` holds no sequences, or one without ground truth; `target` is not empty.
    """
    found = load_folder(source)
    try:
        with whole(target) as building:
            for sequence in found:
                _write_sequence(sequence, building / sequence.name)
            (building / LIST).write_text("".join(f"{s.name}\n" for s in found), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from error


def _write_sequence(sequence, folder):
    if sequence.groundtruth is None:
        raise InputError(f"{sequence.name}: has only a first box: VOT needs one in every frame")
    (folder / "color").mkdir(parents=True)
    for number, path in enumerate(sequence.frames.paths, 1):
        (folder / "color" / f"{number:08d}{SUFFIX}").symlink_to(Path(path).resolve())
    (folder / "groundtruth.txt").write_text(rows_of(sequence.groundtruth))
    values = f"channels.color=color/%08d{SUFFIX}\nformat=default\nfps=30\nname={sequence.name}\n"
    (folder / "sequence").write_text(values, encoding="utf-8")


def _read_sequence(folder):
    files = sorted(folder.glob("groundtruth_*.txt")) or [folder / "groundtruth.txt"]
    if not files[0].is_file():
        raise InputError(f"{folder}: no groundtruth.txt")
    regions = [read_text(path).rstrip().splitlines() for path in files]  # one file an object
    count = _count_frames(folder)
    for path, lines in zip(files, regions, strict=True):
        if len(lines) > count:
            raise InputError(f"{path}: {len(lines)} regions for {count} frames")
    missing = [
        frame
        for frame in range(count)
        if not any(frame < len(lines) and _is_region(lines[frame]) for lines in regions)
    ]
    return VotSequence(folder.name, count, len(missing), missing[0] if missing else None)


def _count_frames(folder):
    """Frames that follow one another from 1, as the toolkit looks for them."""
    described = folder / "sequence"
    pattern = "%08d.jpg"  # beside groundtruth.txt, where nothing else is said
    if described.is_file():
        pairs = (line.partition("=") for line in read_text(described).splitlines())
        values = {key.strip(): value.strip() for key, _, value in pairs}
        pattern = values.get("channels.color", "color/%08d.jpg")
        pattern = pattern if Path(pattern).suffix else f"{pattern.rstrip('/')}/%08d.jpg"
    count = 0
    while (folder / (pattern % (count + 1))).is_file():
        count += 1
    if count == 0:
        raise InputError(f"{folder / (pattern % 1)}: the first frame is missing")
    return count


def _is_region(line):
    """A rectangle, a polygon or a mask; codes of one number stand for no region."""
    if line.startswith("m"):
        return True
    values = numbers(line)
    return len(values) >= 4 and bool(np.isfinite(values).all())
