"""What a sequence is known by, so that results are taken for those of no other input."""

import hashlib
from pathlib import Path

SAMPLED_FILES = 256  # of a folder of images: their contents are looked into, the others' sizes only
_END_BYTES = 4096


def of(sequence) -> dict | None:
    """First box, number of frames, and a digest of the files, as JSON types; None of a camera.

    The digest is of names, sizes, first and last bytes: not of times, which every copy changes, and
    not of all bytes, which would take as long as decoding them.
    """
    frames = sequence.frames
    if frames.live:
        return None
    box = sequence.init_box
    return {
        "first_box": None if box is None else [float(value) for value in box],
        "frames": frames.count,
        "files": _digest(getattr(frames, "paths", None) or [frames.source]),
    }


def change(then: dict | None, now: dict | None) -> str | None:
    """How two identities differ, for people; None if they do not."""
    if then == now:
        return None
    if then is None or now is None:
        return "it was not recorded what they are of"
    found = []
    if then["first_box"] != now["first_box"]:
        found.append(f"first box {_box(then['first_box'])}, now {_box(now['first_box'])}")
    if then["frames"] != now["frames"]:
        found.append(f"{then['frames']} frames, now {now['frames']}")
    elif then["files"] != now["files"]:
        found.append("other image or video files")
    return ", ".join(found)


def _box(values) -> str:
    return "drawn" if values is None else ",".join(f"{value:g}" for value in values)


def _digest(paths) -> str:
    digest, step = hashlib.sha256(), -(-len(paths) // SAMPLED_FILES)
    for index, path in enumerate(map(Path, paths)):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        if index % step == 0 or index == len(paths) - 1:
            with path.open("rb") as stream:
                digest.update(stream.read(_END_BYTES))
                stream.seek(max(0, size - _END_BYTES))
                digest.update(stream.read(_END_BYTES))
    return digest.hexdigest()
