"""Every option of the online tracker and its default; they are `Config.tracker`."""

import dataclasses
from typing import Literal


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
    # Share of its score that a peak far from the last position loses when peaks are compared; 0 as
    # published. The prior is a Gaussian of this many target sizes.
    motion_prior: float = 0.0
    motion_prior_sizes: float = 1.0
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
    aspect_prior_dof: float | None = None  # of Student's t in its place; None: the prior is normal
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
