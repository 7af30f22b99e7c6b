"""Every option and its default, as frozen dataclasses, and the loading of config files.

A config file is a Python file with `get_config() -> Config`; `load("dimp18")` finds the ones that
ship with the package, `load("path/to/mine.py")` any other.
"""

import dataclasses
import difflib
import runpy
import typing
from pathlib import Path
from typing import Literal

from dimp_jax.predictor_config import PredictorConfig
from dimp_jax.training_config import TrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: backbone, target classifier, IoU network."""

    backbone: Literal["resnet18", "resnet50", "efficientnet_lite0"]
    clf_blocks: int = 0  # residual blocks before the last convolution of the classifier features
    clf_channels: int = 512
    filter_size_cells: int = 4
    iou_channels: int = 256
    # What the filter initialiser's convolution starts from in a training. "zero" (PrDiMP): the
    # first filter is zero until the training moves it.
    filter_init: Literal["normal", "zero"] = "normal"
    predictor: PredictorConfig = PredictorConfig()
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # parameters stay float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Transforms of the first frame, in this order after the identity; dropout comes last."""

    shifts: tuple[tuple[float, float], ...] = ((0.6, 0.6), (-0.6, 0.6), (0.6, -0.6), (-0.6, -0.6))
    flip: bool = True
    blur_sigmas_px: tuple[tuple[float, float], ...] = ((3.0, 1.0), (1.0, 3.0), (2.0, 2.0))
    rotations_deg: tuple[float, ...] = (10.0, -10.0, 45.0, -45.0)
    dropout_samples: int = 2
    dropout_rate: float = 0.2
    expansion_factor: float = 2.0
    random_shift_factor: float = 1 / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The sample memory and the schedule on which the filter learns from it."""

    # How the filter learns after the first frame. "memory": iterations on all stored samples, as
    # published. "moving_average", the paper's comparison: whenever iterations are due, they are run
    # on a filter that is predicted from the frame alone, and it is mixed in; trackers that average
    # do so in every frame, so set train_interval=1. "none": the first frame's filter stays.
    update: Literal["memory", "moving_average", "none"] = "memory"
    average_rate: float = 0.1  # share of the new filter in the moving average; (0, 1]
    size: int = 50
    learning_rate: float = 0.01
    hard_negative_learning_rate: float = 0.02
    init_samples_minimum_weight: float = 0.25  # 0: the first frame's samples may be replaced
    sample_interval: int = 1
    train_interval: int = 20
    init_iterations: int = 10
    update_iterations: int = 2
    hard_negative_iterations: int = 1
    low_score_threshold: float | None = None  # below it, `low_score_iterations` are run
    low_score_iterations: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """How the score map becomes a displacement and a verdict."""

    advanced: bool = True
    score_preprocess: Literal["none", "softmax"] = "none"
    score_filter_cells: int = 1  # side of a box filter over the scores; 1: off
    window: bool = False  # Hann window; only used with `hard_negative_without_window`
    hard_negative_without_window: bool = False
    not_found_threshold: float = 0.25
    uncertain_threshold: float | None = None
    hard_sample_threshold: float | None = None
    distractor_threshold: float = 0.8
    hard_negative_threshold: float = 0.5
    neighborhood_scale: float = 2.2
    displacement_scale: float = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How the box is found around the peak: by the IoU network, or by comparing scales."""

    method: Literal["iou", "iou_relative", "scale_search"] = "iou"
    num_random_boxes: int = 9
    jitter_position: float = 0.1
    jitter_size: float = 0.5
    iterations: int = 5
    step_position: float = 1.0
    step_size: float = 1.0
    step_decay: float = 1.0
    top_k: int = 3
    max_aspect_ratio: float = 6.0
    # Share of the way to the refined size, in the logarithm, that is gone in one frame; 1 as
    # published. Less averages the errors of several frames: for networks that saw few samples.
    size_rate: float = 1.0
    # Standard deviation of log(w / h) around the first frame's, as a prior on top of the network's
    # output; None as published. Meant for "iou_relative", where that output is a log density.
    aspect_prior_std: float | None = None
    # scale_search only: every factor is one more crop through the backbone.
    scale_step: float = 1.03
    scale_penalty: float = 0.97  # a changed scale must beat the present one by this factor
    scale_rate: float = 0.6  # share of the way to the best scale that is gone in one frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """The online tracker."""

    crop_size_px: int = 288
    search_area_scale: float = 5.0
    border_mode: Literal["replicate", "inside", "inside_major"] = "replicate"
    max_scale_change: float | None = None  # inside modes only
    crop_arithmetic: Literal["2019", "2022"] = "2019"
    augment: AugmentConfig = AugmentConfig()
    memory: MemoryConfig = MemoryConfig()
    localize: LocalizeConfig = LocalizeConfig()
    refine: RefineConfig = RefineConfig()
    inside_ratio: float = 0.2  # the centre may leave the image by (0.5 - this) target sizes
    # One search window around all targets of a video, so that the backbone runs once a frame. The
    # farther apart they are, the coarser it is.
    shared_crop: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment: a network, a tracker, its training, and the weights to start from."""

    model: ModelConfig
    tracker: TrackerConfig = TrackerConfig()
    training: TrainingConfig = TrainingConfig()
    # The name of shipped weights ("dimp_lite0"), a .safetensors file, or a checkpoint made by
    # `python -m dimp_jax.convert` or by a training; None: ImageNet weights of the backbone from the
    # `imagenet` extra, with untrained heads.
    checkpoint: str | None = None
    seed: int = 0  # of all randomness: the same seed gives the same boxes, bit for bit


def config_dir() -> Path:
    """The folder of the shipped config files: inside a wheel, or beside the package in its tree."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def shipped_names() -> list[str]:
    """What `load` takes as a name: "dimp18", "ablations/no_label"."""
    files = [path.relative_to(config_dir()) for path in config_dir().rglob("*.py")]
    return sorted(p.with_suffix("").as_posix() for p in files if p.stem != "__init__")


def load(name_or_path: str) -> Config:
    """Loads a shipped config by name ("dimp18", "ablations/no_label") or any file by path.

    Raises:
      FileNotFoundError: neither a shipped name (the near matches are listed) nor a file.
      ValueError: the file has no `get_config`, or it does not return a `Config`.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        path = config_dir() / f"{name_or_path}.py"
    elif not path.is_file() and "configs" in path.parts[:-1]:
        # As written in the README, from anywhere.
        last = len(path.parts) - 1 - path.parts[::-1].index("configs")
        path = config_dir().joinpath(*path.parts[last + 1 :])
    if not path.is_file():
        names = shipped_names()
        wanted = Path(name_or_path).with_suffix("")
        near = [
            *difflib.get_close_matches(wanted.as_posix(), names, n=3),
            *difflib.get_close_matches(wanted.name, names, n=3),
        ]
        near = list(dict.fromkeys(near)) or names
        raise FileNotFoundError(
            f"no config {name_or_path!r}: expected a .py file or one of: {', '.join(near)}"
        )
    module = runpy.run_path(str(path))
    if "get_config" not in module:
        raise ValueError(f"{path}: a config file must define get_config() -> Config")
    config = module["get_config"]()
    if not isinstance(config, Config):
        raise ValueError(f"{path}: get_config() returned {type(config).__name__}, expected Config")
    return config


def to_dict(config) -> dict:
    """The config tree as JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls, values: dict):
    """Rebuilds a config dataclass from `to_dict`'s result, after a trip through JSON.

    Raises:
      ValueError: a field that `cls` does not have, named with its near matches.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        near = difflib.get_close_matches(unknown[0], hints) or sorted(hints)
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; near: {', '.join(near)}")
    fields = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            fields[name] = from_dict(hints[name], value)
        else:
            fields[name] = _tuples(value)
    return cls(**fields)


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
