"""What all builders share: requests, footage, and its conversion to records."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from dimp_jax.data import encoded, records_index
from dimp_jax.data.records_index import Problem, SequenceIndex
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.first_box import is_share
from dimp_jax.media.images import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Which part of which data set on disk is wanted."""

    source: Path
    split: str = "train"
    exclude: tuple[str, ...] | None = None  # names to leave out; None: no list was given
    split_file: Path | None = None  # LaSOT: names of the test sequences


class Footage(NamedTuple):
    """One video, or one still image, before its annotation is read; picklable and small."""

    name: str
    path: Path
    num_frames: int
    detail: Any = None  # what the builder has to know beside the path


class Target(NamedTuple):
    """One object in a footage of L frames: one sequence of the data set."""

    name: str
    box_xywh: np.ndarray  # [L, 4] float32, 0-based pixels; NaN where there is none
    present: np.ndarray  # [L] bool, by the rule of the data set
    mask: Callable[[int], bytes] | None = None  # frame -> encoded 0/255 image, empty for none


class Annotated(NamedTuple):
    """A footage with its annotation."""

    image_paths: list[Path]  # L
    targets: list[Target]
    problems: list[Problem] = []  # never changed
    # L of (height, width) that the annotation says its images have, or None; empty: it says nothing
    sizes_hw: Sequence[tuple[int, int] | None] = ()


class TrackingBuilder(tfds.core.GeneratorBasedBuilder):
    """One record a frame, in the order of sequences and frames, and an index of the sequences.

    Several objects of one video share its images: the records of all but the first hold no image
    bytes and say by `image_back` how many records before them the image is.
    """

    VERSION = tfds.core.Version("1.0.0")
    IS_VIDEO: bool  # False: every sequence is one still image

    def __init__(self, *, request: Request, footage=None, on_frames=None, **kwargs):
        """A builder of one split, or of a part of it.

        Args:
          request: source and split.
          footage: the part to build; None: all of the split (held in memory: use
            `python -m dimp_jax.data.build` for large data sets).
          on_frames: called with the number of frames done since the last call.
          **kwargs: of `tfds.core.GeneratorBasedBuilder`, `data_dir` among them.
        """
        self._request = request
        self._footage = footage
        self._on_frames = on_frames or (lambda count: None)
        config = tfds.core.BuilderConfig(name=request.split, version=self.VERSION)
        super().__init__(config=config, file_format="array_record", **kwargs)

    @staticmethod
    @abc.abstractmethod
    def list_footage(request: Request) -> tuple[list[Footage], list[Problem]]:
        """All footage of the split, in a fixed order; opens no image.

        Raises:
          InputError: the source does not have the layout of the data set, or no such split.
        """

    @staticmethod
    def names_to_exclude(request: Request, footage) -> set[str]:
        """The names that a list of names to leave out may have."""
        del request
        return {item.name for item in footage}

    @staticmethod
    @abc.abstractmethod
    def read_footage(footage: Footage) -> Annotated:
        """The annotation of one footage. Raises InputError: it cannot be used at all."""

    def _info(self):
        binary = tfds.features.Tensor(shape=(), dtype=np.object_)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name} for training trackers: one record a frame, in order.",
            features=tfds.features.FeaturesDict(
                {
                    "image": binary,  # file bytes; empty: broken, or see image_back
                    "image_back": np.int32,
                    "box_xywh": tfds.features.Tensor(shape=(4,), dtype=np.float32),
                    "visible": np.bool_,
                    "sequence": binary,  # name, UTF-8
                    "frame": np.int32,
                    "mask": binary,  # PNG of 0/255; empty for none
                }
            ),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,  # record numbers are frame numbers
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # the data are on disk
        footage, problems = self._footage, []
        if footage is None:
            footage, problems = self.list_footage(self._request)
        return {self._request.split: self._generate_examples(footage, problems)}

    def _generate_examples(self, footage, problems):
        """Yields (record number, record); leaves the index in the metadata."""
        conversion = Conversion(list(problems))
        yield from enumerate(conversion.records(self.read_footage, footage, self._on_frames))
        self.info.metadata.update(split_metadata(self, conversion.index, conversion.problems))


def split_metadata(builder, index: SequenceIndex, problems) -> dict:
    """What `metadata.json` of a split, or of a part of it, holds."""
    listed = [list(problem) for problem in problems]
    return {"is_video": builder.IS_VIDEO, "problems": listed, **records_index.to_metadata(index)}


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
