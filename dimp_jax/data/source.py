"""What a source of frames is, and what a training sample is."""

from typing import NamedTuple, Protocol

import numpy as np

from dimp_jax.models.feature_maps import FeatureMaps


class Sketch(Protocol):
    """An image that is drawn where it is looked at."""

    shape: tuple[int, int, int]  #: height, width, 3

    def within(self, low_xy, high_xy) -> np.ndarray:
        """[H, W, 3] uint8 RGB, of which the pixels from `low_xy` up to `high_xy` are drawn."""


class Frame(NamedTuple):
    """One decoded frame."""

    image: np.ndarray | Sketch  #: [H, W, 3] uint8 RGB
    box_xywh: np.ndarray  #: [4] float32, 0-based image pixels


class Source(Protocol):
    """Random access to the frames of many sequences; picklable, and the same in every process.

    Several threads may ask at once. A source that draws its frames may have a method `sketch`: as
    `read`, with a `Sketch` for the image of each frame.
    """

    name: str  #: for people
    is_video: bool  #: False: every sequence is one still image

    def __len__(self) -> int:
        """The number of sequences."""

    def visible(self, sequence: int) -> np.ndarray:
        """[L] bool: the target is there, with a box that can be used. Reads no image."""

    def read(self, sequence: int, frame_ids) -> list[Frame]:
        """The frames `frame_ids` (with repetitions, in any order) of a sequence.

        Raises:
          BrokenFrame: an image cannot be read; names the file or record.
        """


class BrokenFrame(ValueError):
    """An image of a source that cannot be decoded, named for the person who can mend it."""


def check_index(kind: str, index: int, count: int) -> int:
    """The index of a `kind` of thing as an int. Raises IndexError: there is no such one."""
    if not 0 <= index < count:
        raise IndexError(f"{kind} {index}: expected 0 to {count - 1}")
    return int(index)


class Sample(NamedTuple):
    """One training sample: N train and T test crops of one target, numpy, fixed shapes.

    A batch is the same with a leading [B]. `brightness` is applied on the device, before the
    normalisation: ``clip(crop * brightness, 0, 255)``. In a sample of a feature pool the crops are
    `FeatureMaps` of the frozen part of the backbone, of crops with the brightness applied.
    """

    train_crops: np.ndarray | FeatureMaps  #: [N, S, S, 3] uint8 RGB
    train_box: np.ndarray  #: [N, 4] float32 x, y, w, h in crop pixels
    train_brightness: np.ndarray  #: [N] float32
    test_crops: np.ndarray | FeatureMaps  #: [T, S, S, 3] uint8 RGB
    test_box: np.ndarray  #: [T, 4] float32
    test_brightness: np.ndarray  #: [T] float32
    proposals: np.ndarray  #: [T, P, 4] float32 x, y, w, h in crop pixels
    #: [T, P] float32. "perturb": overlap of each proposal with `test_box`, 0..1.
    #: "gaussian_mixture": log of its density under the sampling mixture.
    proposal_value: np.ndarray
    #: [T, P] float32. "gaussian_mixture": density under the distribution around the true box; else
    #: zeros.
    proposal_target: np.ndarray
