"""Every option of the online tracker and its default; they are `Config.tracker`."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Transforms of the first frame, in this order after the identity; dropout comes last."""

    #: Shifts of the content (y, x), in halves of the crop.
    shifts: tuple[tuple[float, float], ...] = ((0.6, 0.6), (-0.6, 0.6), (0.6, -0.6), (-0.6, -0.6))
    flip: bool = True  #: Add the mirrored frame.
    #: Standard deviations (y, x) of Gaussian blurs.
    blur_sigmas_px: tuple[tuple[float, float], ...] = ((3.0, 1.0), (1.0, 3.0), (2.0, 2.0))
    #: Rotations, positive counter-clockwise.
    rotations_deg: tuple[float, ...] = (10.0, -10.0, 45.0, -45.0)
    dropout_samples: int = 2  #: Samples with some channels of their features set to 0.
    dropout_rate: float = 0.2  #: Share of these channels.
    expansion_factor: float = 2.0  #: Side of the patch that is transformed, in sides of the crop.
    #: Range of the random shifts of flip, blurs and rotations, in sides of the crop.
    random_shift_factor: float = 1 / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The sample memory and the schedule on which the filter learns from it."""

    #: How the filter learns after the first frame. "memory": iterations on all stored samples, as
    #: published. "moving_average", the paper's comparison: whenever iterations are due, they are
    #: run on a filter that is predicted from the frame alone, and it is mixed in; trackers that
    #: average do so in every frame, so set train_interval=1. "none": the first frame's filter
    #: stays.
    update: Literal["memory", "moving_average", "none"] = "memory"
    average_rate: float = 0.1  #: Share of the new filter in the moving average; (0, 1].
    size: int = 50  #: Samples that the memory holds.
    learning_rate: float = 0.01  #: Weight of a new sample; the older ones share the rest.
    hard_negative_learning_rate: float = 0.02  #: The same for a frame with a distractor.
    #: Weight that the first frame's samples keep; 0: they may be replaced.
    init_samples_minimum_weight: float = 0.25
    sample_interval: int = 1  #: Frames from one stored sample to the next.
    train_interval: int = 20  #: Frames from one update of the filter to the next.
    init_iterations: int = 10  #: Iterations on the first frame.
    update_iterations: int = 2  #: Iterations of an update.
    hard_negative_iterations: int = 1  #: Iterations after a frame with a distractor, at once.
    #: Score below which `low_score_iterations` are run, at once; None: never.
    low_score_threshold: float | None = None
    low_score_iterations: int = 0  #: Iterations after a frame with a low score.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """How the score map becomes a displacement and a verdict."""

    #: Look for distractors and judge the find; without it, the highest score is the target.
    advanced: bool = True
    score_preprocess: Literal["none", "softmax"] = "none"  #: What is done to the scores first.
    score_filter_cells: int = 1  #: Side of a box filter over the scores; 1: off.
    #: Multiply scores by a Hann window; only used with `hard_negative_without_window`.
    window: bool = False
    #: Look for the second peak on the scores without the window.
    hard_negative_without_window: bool = False
    #: Share of its score that a peak far from the last position loses when peaks are compared; 0 as
    #: published.
    motion_prior: float = 0.0
    #: Standard deviation of that prior, a Gaussian, in target sizes.
    motion_prior_sizes: float = 1.0
    #: Sides of the search window after 1, 2, ... frames in a row in which the target was not found,
    #: in usual ones; the last one stays. (): it never grows, as published.
    search_growth: tuple[float, ...] = ()
    #: Where the highest score is below this, the target counts as not found.
    not_found_threshold: float = 0.25
    #: Where it is below this, nothing is learned; None: off.
    uncertain_threshold: float | None = None
    #: Where it is below this, the filter learns at once; None: off.
    hard_sample_threshold: float | None = None
    #: A second peak above this share of the first one is a distractor.
    distractor_threshold: float = 0.8
    #: A second peak above this share of the first one makes the filter learn at once.
    hard_negative_threshold: float = 0.5
    #: Side of the region around the first peak that is no second one, in target sizes.
    neighborhood_scale: float = 2.2
    #: Distance from the last position within which a peak is near, in halves of the score map.
    displacement_scale: float = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How the box is found around the peak: by the IoU network, or by comparing scales."""

    #: "iou" and "iou_relative" ascend the IoU network's output, in pixels or relative to the
    #: target's size; "scale_search" compares crops of three scales.
    method: Literal["iou", "iou_relative", "scale_search"] = "iou"
    #: Random boxes around the target that are refined beside the box itself.
    num_random_boxes: int = 9
    jitter_position: float = 0.1  #: Range of their centres, in target sizes.
    jitter_size: float = 0.5  #: Range of their sides, in target sizes.
    iterations: int = 5  #: Steps of the ascent.
    step_position: float = 1.0  #: Step length of the centre.
    step_size: float = 1.0  #: Step length of the size.
    step_decay: float = 1.0  #: Factor on both after each step.
    top_k: int = 3  #: The box is the mean of this many of the best.
    max_aspect_ratio: float = 6.0  #: Boxes that are more elongated are left out.
    #: Share of the way to the refined size, in the logarithm, that is gone in one frame; 1 as
    #: published. Less averages the errors of several frames: for networks that saw few samples.
    size_rate: float = 1.0
    #: Zoomed, shifted and mirrored copies of the first frame on which the network's modulation is
    #: fitted to the target, whose box is known there; 0 as published. "iou_relative" only.
    modulation_samples: int = 0
    modulation_iterations: int = 20  #: Steps of Adam of that fit.
    modulation_rate: float = 0.03  #: Their length; the modulation is scaled by factors near 1.
    modulation_penalty: float = 30.0  #: Of the mean square of these factors less 1.
    #: Standard deviation of log(w / h) around the first frame's, as a prior on top of the network's
    #: output; None as published. Meant for "iou_relative", where that output is a log density.
    aspect_prior_std: float | None = None
    #: Degrees of freedom of Student's t in its place; None: the prior is normal.
    aspect_prior_dof: float | None = None
    #: Ratio of the three scales; "scale_search" only, where each is one more crop through the
    #: backbone.
    scale_step: float = 1.03
    scale_penalty: float = 0.97  #: A changed scale must beat the present one by this factor.
    scale_rate: float = 0.6  #: Share of the way to the best scale that is gone in one frame.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """The online tracker."""

    crop_size_px: int = 288  #: Side of the crop that the network sees.
    search_area_scale: float = 5.0  #: Side of the search area, in target sizes.
    #: What happens at the image's border: its pixels are repeated, or the search area is shrunk and
    #: moved until it fits ("inside") or fits along one axis ("inside_major").
    border_mode: Literal["replicate", "inside", "inside_major"] = "replicate"
    #: Limit of that shrinking, a factor; None: no limit. Inside modes only.
    max_scale_change: float | None = None
    #: Rounding of the published code of that year.
    crop_arithmetic: Literal["2019", "2022"] = "2019"
    augment: AugmentConfig = AugmentConfig()  #: Transforms of the first frame.
    memory: MemoryConfig = MemoryConfig()  #: What the filter learns from, and when.
    localize: LocalizeConfig = LocalizeConfig()  #: From the score map to a position and a verdict.
    refine: RefineConfig = RefineConfig()  #: From the position to a box.
    inside_ratio: float = 0.2  #: The centre may leave the image by (0.5 - this) target sizes.
    #: One search window around all targets of a video, so that the backbone runs once a frame. The
    #: farther apart they are, the coarser it is.
    shared_crop: bool = False
