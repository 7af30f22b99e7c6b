"""Footage and its annotation to records: images checked, boxes judged, problems gathered."""

from collections.abc import Iterator

import numpy as np

from dimp_jax.data import encoded, records_index
from dimp_jax.data.records_index import Problem, SequenceIndex
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media import text
from dimp_jax.media.first_box import is_share
from dimp_jax.media.images import InputError


class Conversion:
    """Turns footage into records, and gathers what is known once they were all made."""

    def __init__(self, problems: list[Problem]):
        """`problems`: those found already."""
        self.problems = problems
        self.absent = 0  # frames without a box
        self._parts: list[SequenceIndex] = []

    @property
    def index(self) -> SequenceIndex:
        """Of the sequences converted so far."""
        return records_index.concatenate(self._parts)

    def records(self, read_footage, footage, on_frames) -> Iterator[dict]:
        """Yields the records of all footage; what cannot be used becomes a problem.

        Args:
          read_footage: Footage -> Annotated, raising InputError if it cannot be used.
          footage: iterable of Footage.
          on_frames: called with the number of frames done since the last call.
        """
        for item in footage:
            try:
                text.require_utf8(item.name)
                annotated = read_footage(item)
            except InputError as error:
                count = max(item.num_frames, 1)
                self.problems.append(Problem("other", item.name, f"left out: {error}", count))
                on_frames(item.num_frames)
                continue
            self.problems += annotated.problems
            images = _Images(annotated.image_paths, annotated.sizes_hw)
            for number, target in enumerate(annotated.targets):
                visible = []
                for record in _records(target, images, number):
                    visible.append(record["visible"])
                    yield record
                    if number == 0:
                        on_frames(1)
                self._parts.append(_index_of(target, visible))
                self.problems += _box_problems(target, images.sizes_hw)
                self.absent += int(_absent(target.box_xywh).sum())
            self.problems += images.problems


class _Images:
    """The images of one footage: read once, checked, their sizes kept."""

    def __init__(self, paths, annotated_hw):
        self._paths = paths
        self._annotated_hw = annotated_hw or [None] * len(paths)
        self.sizes_hw = [None] * len(paths)  # None: broken, or not what the annotation means
        self.problems = []

    def __len__(self):
        return len(self._paths)

    def read(self, frame) -> bytes:
        """The bytes of the file; none if it cannot be used, which becomes a problem."""
        path = self._paths[frame]
        try:
            data = path.read_bytes()
            size_hw = encoded.checked_size_hw(data, str(path))
            if self._annotated_hw[frame] is not None:
                encoded.check_annotated_size(data, size_hw, self._annotated_hw[frame], str(path))
            self.sizes_hw[frame] = size_hw
        except (OSError, BrokenFrame) as error:
            self.problems.append(Problem("image", str(path), unreadable(error, path)))
            return b""
        return data

    def mask(self, target, frame) -> bytes:
        """The target's mask; none, and a problem, if it does not decode to the image's size."""
        if target.mask is None or self.sizes_hw[frame] is None:
            return b""
        where = f"mask of {target.name}, frame {frame}"
        try:
            data = target.mask(frame)
            if not data:
                return b""
            size_hw = encoded.checked_size_hw(data, where)
        except (BrokenFrame, OSError) as error:
            self.problems.append(Problem("mask", where, unreadable(error, where)))
            return b""
        if size_hw != self.sizes_hw[frame]:
            sizes = "{1} x {0} px, the image {3} x {2} px".format(*size_hw, *self.sizes_hw[frame])
            self.problems.append(Problem("mask", where, sizes))
            return b""
        return data


def _records(target, images, number) -> Iterator[dict]:
    name = target.name.encode()
    for frame in range(len(images)):
        image = images.read(frame) if number == 0 else b""
        size_hw = images.sizes_hw[frame]
        box = np.asarray(target.box_xywh[frame], np.float32)
        present = bool(target.present[frame])
        yield {
            "image": image,
            "image_back": 0 if number == 0 else number * len(images),
            "box_xywh": box,
            "visible": present and size_hw is not None and bool(_usable(box, size_hw)),
            "sequence": name,
            "frame": frame,
            "mask": images.mask(target, frame),
        }


def _usable(box_xywh, size_hw) -> bool:
    """Finite, with a size, in pixels, and partly inside the image."""
    (x, y, width, height), (rows, columns) = box_xywh, size_hw
    sized = np.isfinite(box_xywh).all() and width > 0 and height > 0 and not is_share(box_xywh)
    return sized and x < columns and y < rows and x + width > 0 and y + height > 0


def _index_of(target, visible) -> SequenceIndex:
    visible = np.array(visible, bool)
    codes = records_index.side_codes(np.asarray(target.box_xywh, np.float32), visible)
    return SequenceIndex(
        (target.name,), np.array([len(visible)]), codes, np.array([target.mask is not None])
    )


def _absent(box_xywh):
    return np.isnan(box_xywh).any(axis=1) | (box_xywh[:, 2:] == 0).any(axis=1)


def _box_problems(target, sizes_hw) -> list[Problem]:
    """Boxes that are said to be there and are not in the image."""
    outside = [
        frame
        for frame, (box, size_hw) in enumerate(zip(target.box_xywh, sizes_hw, strict=True))
        if target.present[frame] and size_hw is not None and not _usable(box, size_hw)
    ]
    shares = [frame for frame in outside if is_share(target.box_xywh[frame])]
    outside = [frame for frame in outside if frame not in shares]
    return [
        Problem(kind, target.name, f"{why} in {frames_text(frames)}", len(frames))
        for kind, why, frames in (
            ("outside", "the box is outside the image", outside),
            ("box", "all values are within 0..1, not pixels,", shares),
        )
        if frames
    ]


def unreadable(error: OSError | BrokenFrame, where) -> str:
    """Why a file cannot be used, without its name."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return str(error).removeprefix(f"{where}: ")


def frames_text(frames) -> str:
    """ "frames 0, 4, 5 and 17 more"."""
    shown = ", ".join(str(frame) for frame in frames[:8])
    more = f" and {len(frames) - 8} more" if len(frames) > 8 else ""
    return f"frame{'s' if len(frames) > 1 else ''} {shown}{more}"
