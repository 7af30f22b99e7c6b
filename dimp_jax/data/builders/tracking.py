"""What all builders share: requests, footage, targets, and the builder itself."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from dimp_jax.data import records_index
from dimp_jax.data.builders.conversion import Conversion
from dimp_jax.data.records_index import Problem, SequenceIndex


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
