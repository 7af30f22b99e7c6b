"""The index of a built data set: what sampling needs to know without reading a record.

It is kept in the TFDS metadata (`metadata.json`). Records are in the order of the index: frame t of
sequence s is record ``starts[s] + t``.
"""

import base64
import dataclasses
import json
import math
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

# A side is kept in steps of 1/8 px, rounded down; 0: the target is not there, or has no usable box.
STEPS_PER_PX = 8
_LARGEST_CODE = np.iinfo(np.uint16).max


Kind = Literal["image", "box", "outside", "length", "mask", "other"]


class Problem(NamedTuple):
    """Something in the source of a data set that could not be used."""

    kind: Kind
    where: str  # file, folder or sequence
    why: str
    count: int = 1  # frames


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceIndex:
    """Names, lengths and visibility of the S sequences of a split, R frames together."""

    names: tuple[str, ...]  # S
    lengths: np.ndarray  # [S] int64
    side_codes: np.ndarray  # [R] uint16: smaller side of the box, 1/8 px; 0: not visible
    masked: np.ndarray  # [S] bool: some frame has a mask

    @property
    def starts(self) -> np.ndarray:
        """[S] int64, record of each sequence's first frame."""
        return np.cumsum(self.lengths) - self.lengths

    def visible(self, min_box_px: float) -> np.ndarray:
        """[R] bool: visible, with both sides >= `min_box_px` (which is rounded up to 1/8 px)."""
        return self.side_codes >= max(1, math.ceil(min_box_px * STEPS_PER_PX))


def side_codes(box_xywh, visible) -> np.ndarray:
    """The codes [L] uint16 of boxes [L, 4] that are visible [L]; any box may be NaN elsewhere."""
    side_px = np.where(visible, np.min(box_xywh[:, 2:], axis=1), 0.0)
    return np.clip(np.floor(side_px * STEPS_PER_PX), 0, _LARGEST_CODE).astype(np.uint16)


def to_metadata(index: SequenceIndex) -> dict:
    """JSON values; `from_metadata` is the inverse."""
    codes = index.side_codes.astype("<u2").tobytes()
    return {
        "names": list(index.names),
        "lengths": index.lengths.tolist(),
        "side_codes": base64.b64encode(zlib.compress(codes)).decode("ascii"),
        "masked": np.packbits(index.masked).tobytes().hex(),
    }


def from_metadata(metadata) -> SequenceIndex:
    """Raises ValueError, KeyError: not what `to_metadata` writes."""
    lengths = np.asarray(metadata["lengths"], np.int64)
    codes = np.frombuffer(zlib.decompress(base64.b64decode(metadata["side_codes"])), "<u2")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(metadata["masked"]), np.uint8))
    index = SequenceIndex(
        tuple(metadata["names"]), lengths, codes, bits[: len(lengths)].astype(bool)
    )
    if not len(index.names) == len(lengths) == len(index.masked) or lengths.sum() != len(codes):
        raise ValueError("the index does not agree with itself")
    return index


def concatenate(indices) -> SequenceIndex:
    """One index of the parts of a split; an empty one of none."""
    empty = SequenceIndex((), np.zeros(0, int), np.zeros(0, np.uint16), np.zeros(0, bool))
    indices = [empty, *indices]
    return SequenceIndex(
        sum((index.names for index in indices), ()),
        np.concatenate([index.lengths for index in indices]),
        np.concatenate([index.side_codes for index in indices]),
        np.concatenate([index.masked for index in indices]),
    )


def read_metadata(directory) -> dict:
    """The metadata of a built split; `directory` has `metadata.json`."""
    return json.loads((Path(directory) / "metadata.json").read_text(encoding="utf-8"))


def split_directory(data_dir, name, split) -> Path | None:
    """Folder of the records of a built split (DATA_DIR/name/split/version), or None."""
    found = sorted((Path(data_dir) / name / split).glob("[0-9]*.[0-9]*.[0-9]*/dataset_info.json"))
    return found[-1].parent if found else None


def built_splits(data_dir) -> list[str]:
    """All built splits under a data folder, as "name:split", sorted."""
    found = Path(data_dir).glob("*/*/[0-9]*.[0-9]*.[0-9]*/dataset_info.json")
    return sorted({f"{p.parts[-4]}:{p.parts[-3]}" for p in found})


def read_problems(directory) -> list[Problem]:
    """What a build had to leave out; `directory` as for `read_metadata`."""
    path = Path(directory) / "problems.json"
    if path.exists():
        return [Problem(**problem) for problem in json.loads(path.read_text(encoding="utf-8"))]
    # The TFDS builder alone, without our build command, keeps them in the metadata.
    return [Problem(*problem) for problem in read_metadata(directory)["problems"]]
