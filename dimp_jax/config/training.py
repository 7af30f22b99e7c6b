"""Every option of training and its default; `config.Config.training` is the root.

Rates, losses and schedule are those of the published DiMP training where a field has one
(behaviour 5 of the specification; paper, section 4.1).
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Which frames of which sequence become one sample."""

    mode: Literal["causal", "interval"] = "causal"
    train_frames: int = 3  # the filter is fitted to these
    test_frames: int = 3  # the losses are taken on these
    max_gap: int = 30  # frames between the base frame and the others
    min_length: int = 20  # shorter videos are not used


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How a frame is cut around its jittered box, and how it is changed."""

    size_px: int = 288
    search_area_scale: float = 5.0
    arithmetic: Literal["2019", "2020"] = "2019"
    border_mode: Literal["replicate", "inside", "inside_major"] = "replicate"  # "2020" only
    max_scale_change: float | None = None  # inside modes only
    # Jitter (center, log size) of the boxes that place the crops.
    train_center_jitter: float = 3.0
    train_scale_jitter: float = 0.25
    test_center_jitter: float = 4.5
    test_scale_jitter: float = 0.5
    grayscale_probability: float = 0.05  # of a whole sample
    flip_probability: float = 0.0  # of a whole sample, then of every frame (super_dimp: 0.5)
    brightness_jitter: float = 0.2  # factor in 1 +- this
    # Log of how much wider than high a frame is stretched, standard deviation. Not published: for
    # little data, whose targets hardly change their shape.
    aspect_jitter: float = 0.0
    # Of single frames in training, none of it published; see data/degrade.py.
    blur_probability: float = 0.0  # motion blur
    coarse_probability: float = 0.0  # a small picture, enlarged
    contrast_jitter: float = 0.0  # standard deviation of the log of the contrast


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """Boxes on the test frames from which the IoU network learns."""

    kind: Literal["perturb", "gaussian_mixture"] = "perturb"
    count: int = 8  # a test frame; 128 with the Gaussian mixture as published
    min_iou: float = 0.1  # perturb
    sigmas: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.3)  # perturb
    # Gaussian mixture: standard deviations (position, size) of its components, in relative space.
    mixture_stds: tuple[tuple[float, float], ...] = ((0.05, 0.05), (0.5, 0.5))
    true_std: tuple[float, float] = (0.05, 0.05)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompositeConfig:
    """The source "composite": cut-out objects moved over real backgrounds and videos."""

    cutouts_dir: str | None = None  # images with alpha; None: DATA_DIR/composite/cutouts
    backgrounds_dir: str | None = None  # images; None: DATA_DIR/composite/backgrounds
    objects_from: tuple[str, ...] = ()  # built data sets with masks: more objects to cut out
    videos_from: tuple[str, ...] = ()  # built data sets whose videos serve as moving backgrounds
    num_sequences: int = 100_000  # virtual: sequence i is a function of i alone
    length: int = 60  # frames of a sequence
    size_hw_px: tuple[int, int] = (270, 360)
    max_distractors: int = 3  # objects of the same kind
    occluder_probability: float = 0.5
    part_probability: float = 0.0  # of the target being a part of an object, as a face is


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """The source "synthetic": procedural textures and shapes; no files."""

    num_sequences: int = 1000
    length: int = 40
    size_hw_px: tuple[int, int] = (180, 240)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where samples come from and how they are loaded."""

    # Folder of built data sets; None: $TFDS_DATA_DIR.
    data_dir: str | None = None
    # (name, weight). A name is "synthetic", "composite" or a built data set, "got10k" or
    # "got10k:val" for another split than "train".
    sources: tuple[tuple[str, float], ...] = (("synthetic", 1.0),)
    validation_sources: tuple[tuple[str, float], ...] = ()
    sampler: SamplerConfig = SamplerConfig()
    crop: CropConfig = CropConfig()
    proposals: ProposalConfig = ProposalConfig()
    composite: CompositeConfig = CompositeConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    min_box_px: float = 2.0  # sides below this count as not visible, when the index is read
    part_probability: float = 0.0  # of still images: a part of the annotated box is the target
    mosaic_probability: float = 0.0  # of still images: other ones of the source around them
    num_workers: int = 0  # processes; 0: threads of this one
    prefetch_batches: int = 2  # on the device


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms (behaviour 5)."""

    box_regression: Literal["iou", "kl"] = "iou"  # "kl" needs Gaussian-mixture proposals
    # Of the scores: DiMP's hinge on a Gaussian label, or PrDiMP's divergence from a label density.
    classification: Literal["hinge", "kl"] = "hinge"
    iou: float = 1.0  # of the box regression; with "kl" 0.01 in super_dimp, 0.0025 in prdimp
    final: float = 100.0  # these three of the scores; 0.25, 0.25, 1 in prdimp
    initial: float = 100.0
    iterates: float = 400.0
    hinge_threshold: float = 0.05  # "hinge"
    label_threshold: float = 0.0  # "kl": densities up to it are 0
    label_sigma_cells: float = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam with a rate for each module.

    Modules are named by their path in the parameters: "backbone", "backbone/layer3_0", "clf",
    "filter_init", "predictor", "predictor/label", "iou". The longest match counts.
    """

    # "default" is for what no other entry names.
    learning_rates: tuple[tuple[str, float], ...] = (("default", 5e-5),)
    frozen: tuple[str, ...] = ()  # no gradient, no update, running statistics
    running_norms: tuple[str, ...] = ()  # trained, but their batch norms use running statistics
    decay_every_steps: int = 15_000
    decay_factor: float = 0.2
    warmup_steps: int = 0  # linear
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    adam_eps: float = 1e-8
    clip_norm: float | None = None  # of the gradient of all trained parameters together
    accumulate: int = 1  # micro-batches a step, one after the other; the global batch is divided


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Over devices and in memory."""

    backend: Literal["pmap", "shard_map"] = "pmap"
    # Batch statistics in training: of each device's share, of the whole batch, or the running ones.
    batch_norm: Literal["per_device", "cross_replica", "frozen"] = "per_device"
    remat_solver: bool = False  # recompute the predictor's iterations in the backward pass
    remat_backbone: bool = False  # recompute the backbone's blocks in the backward pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturePoolConfig:
    """Features of a backbone that is frozen up to some part, made once and used again and again.

    Proposals are drawn anew whenever a pooled sample is used, and so is which of its frames are the
    train and the test frames, and which of them the target modulates through.
    """

    samples: int = 0  # in use at a time, shared by the processes of a run; 0: no pool
    # How often a sample is used, on average, before a new one takes its place. None: the samples
    # that the run begins with are kept.
    uses: float | None = None
    train_frames: int = 3  # crops of a pooled sample, at least `sampler.train_frames`
    test_frames: int = 3
    dtype: Literal["float16", "float32"] = "float16"
    dir: str | None = None  # may be shared by runs of the same data, backbone and seed
    # None: WORKDIR/feature_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingValidationConfig:
    """Success AUC on a folder of sequences (img/, groundtruth.txt)."""

    sequences_dir: str | None = None  # None: not run
    frames: int | None = 100  # of each sequence; None: all
    every_steps: int = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    total_steps: int = 1000
    global_batch: int = 8  # sequences a step, over all devices and hosts
    # The weights to start from: those of `checkpoint`, or the backbone's ImageNet weights where it
    # is None; the latter in any case; or random numbers everywhere.
    start: Literal["checkpoint", "imagenet", "random"] = "checkpoint"
    log_every: int = 10
    save_every: int = 500
    keep_last: int = 2  # checkpoints, beside the best one
    validate_every: int = 500  # loss on `validation_sources`
    validation_batches: int = 8
    tensorboard: bool = False  # event files beside metrics.jsonl (extra: tensorboard)
    data: DataConfig = DataConfig()
    feature_pool: FeaturePoolConfig = FeaturePoolConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    parallel: ParallelConfig = ParallelConfig()
    tracking: TrackingValidationConfig = TrackingValidationConfig()
