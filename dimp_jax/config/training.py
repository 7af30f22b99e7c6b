"""Every option of training and its default; `config.Config.training` is the root.

Rates, losses and schedule are those of the published DiMP training where a field has one
(behaviour 5 of the specification; paper, "Offline Training").
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Which frames of which sequence become one sample."""

    #: "causal": the test frames come after the base frame; "interval": on both sides of it.
    mode: Literal["causal", "interval"] = "causal"
    train_frames: int = 3  #: The filter is fitted to these.
    test_frames: int = 3  #: The losses are taken on these.
    max_gap: int = 30  #: Frames between the base frame and the others, at most.
    min_length: int = 20  #: Shorter videos are not used.


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How a frame is cut around its jittered box, and how it is changed."""

    size_px: int = 288  #: Side of a crop.
    search_area_scale: float = 5.0  #: Side of the region that is cut out, in target sizes.
    arithmetic: Literal["2019", "2020"] = "2019"  #: Rounding of the published code of that year.
    #: As in `TrackerConfig`; "2020" only.
    border_mode: Literal["replicate", "inside", "inside_major"] = "replicate"
    max_scale_change: float | None = None  #: As in `TrackerConfig`; inside modes only.
    #: Range of the centres around which train frames are cut, in target sizes.
    train_center_jitter: float = 3.0
    #: Standard deviation of the logarithm of the size that places these crops.
    train_scale_jitter: float = 0.25
    test_center_jitter: float = 4.5  #: The same for test frames.
    test_scale_jitter: float = 0.5  #: The same for test frames.
    grayscale_probability: float = 0.05  #: Of a whole sample.
    flip_probability: float = 0.0  #: Of a whole sample, then of every frame (super_dimp: 0.5).
    brightness_jitter: float = 0.2  #: Brightness is a factor in 1 +- this.
    #: Standard deviation of the logarithm of how much wider than high a frame is stretched. Not
    #: published: for little data, whose targets hardly change their shape.
    aspect_jitter: float = 0.0
    #: Motion blur of a single frame in training; not published, as the next two (data/degrade.py).
    blur_probability: float = 0.0
    coarse_probability: float = 0.0  #: A single frame becomes a small picture, enlarged.
    #: Standard deviation of the logarithm of a single frame's contrast.
    contrast_jitter: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """Boxes on the test frames from which the IoU network learns."""

    #: "perturb": DiMP's boxes and their overlaps; "gaussian_mixture": PrDiMP's, with densities.
    kind: Literal["perturb", "gaussian_mixture"] = "perturb"
    count: int = 8  #: Boxes on a test frame; 128 with the Gaussian mixture as published.
    min_iou: float = 0.1  #: Overlap above which a box is taken; "perturb" only.
    #: Noise of a box in target sizes, one of these each; "perturb" only.
    sigmas: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.3)
    #: Standard deviations (position, size) of the mixture's components, in relative space.
    mixture_stds: tuple[tuple[float, float], ...] = ((0.05, 0.05), (0.5, 0.5))
    #: Those of the distribution that stands for the true box.
    true_std: tuple[float, float] = (0.05, 0.05)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompositeConfig:
    """The source "composite": cut-out objects moved over real backgrounds and videos."""

    cutouts_dir: str | None = None  #: Images with alpha; None: DATA_DIR/composite/cutouts.
    backgrounds_dir: str | None = None  #: Images; None: DATA_DIR/composite/backgrounds.
    objects_from: tuple[str, ...] = ()  #: Built data sets with masks: more objects to cut out.
    videos_from: tuple[str, ...] = ()  #: Built data sets whose videos serve as moving backgrounds.
    num_sequences: int = 100_000  #: Virtual: sequence i is a function of i alone.
    length: int = 60  #: Frames of a sequence.
    size_hw_px: tuple[int, int] = (270, 360)  #: Height and width of a frame.
    max_distractors: int = 3  #: Objects of the same kind, at most.
    occluder_probability: float = 0.5  #: Of something in front of the target.
    part_probability: float = 0.0  #: Of the target being a part of an object, as a face is.


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """The source "synthetic": procedural textures and shapes; no files."""

    num_sequences: int = 1000  #: Virtual: sequence i is a function of i alone.
    length: int = 40  #: Frames of a sequence.
    size_hw_px: tuple[int, int] = (180, 240)  #: Height and width of a frame.


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where samples come from and how they are loaded."""

    data_dir: str | None = None  #: Folder of built data sets; None: $TFDS_DATA_DIR.
    #: (name, weight). A name is "synthetic", "composite" or a built data set, "got10k" or
    #: "got10k:val" for another split than "train".
    sources: tuple[tuple[str, float], ...] = (("synthetic", 1.0),)
    #: The same for the validation loss; none: there is no such loss.
    validation_sources: tuple[tuple[str, float], ...] = ()
    sampler: SamplerConfig = SamplerConfig()  #: Which frames become a sample.
    crop: CropConfig = CropConfig()  #: How frames are cut and changed.
    proposals: ProposalConfig = ProposalConfig()  #: Boxes for the IoU network.
    composite: CompositeConfig = CompositeConfig()  #: Options of the source "composite".
    synthetic: SyntheticConfig = SyntheticConfig()  #: Options of the source "synthetic".
    min_box_px: float = 2.0  #: Sides below this count as not visible, when the index is read.
    part_probability: float = 0.0  #: Of still images: a part of the annotated box is the target.
    mosaic_probability: float = 0.0  #: Of still images: other ones of the source around them.
    num_workers: int = 0  #: Processes that decode and crop; 0: threads of this one.
    prefetch_batches: int = 2  #: Batches that wait on the device.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms."""

    #: Of the boxes: the error of the overlap, or a divergence, which needs Gaussian-mixture
    #: proposals.
    box_regression: Literal["iou", "kl"] = "iou"
    #: Of the scores: DiMP's hinge on a Gaussian label, or PrDiMP's divergence from a label density.
    classification: Literal["hinge", "kl"] = "hinge"
    #: Weight of the box regression; with "kl" 0.01 in super_dimp, 0.0025 in prdimp.
    iou: float = 1.0
    final: float = 100.0  #: Weight of the last filter's scores; 0.25 in prdimp.
    initial: float = 100.0  #: Weight of the first filter's scores; 0.25 in prdimp.
    iterates: float = 400.0  #: Weight of all filters between; 1 in prdimp.
    hinge_threshold: float = 0.05  #: Label below which only positive scores count; "hinge" only.
    label_threshold: float = 0.0  #: Label densities up to this are 0; "kl" only.
    label_sigma_cells: float = 0.9  #: Standard deviation of the label.


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam with a rate for each module.

    Modules are named by their path in the parameters: "backbone", "backbone/layer3_0", "clf",
    "filter_init", "predictor", "predictor/label", "iou". The longest match counts.
    """

    #: (module, rate); "default" is for what no other entry names.
    learning_rates: tuple[tuple[str, float], ...] = (("default", 5e-5),)
    frozen: tuple[str, ...] = ()  #: Modules without gradient and update, with running statistics.
    #: Trained modules whose batch norms use running statistics.
    running_norms: tuple[str, ...] = ()
    decay_every_steps: int = 15_000  #: Steps from one decay of all rates to the next.
    decay_factor: float = 0.2  #: Factor on all rates at a decay.
    warmup_steps: int = 0  #: Steps in which the rates rise linearly from 0.
    adam_b1: float = 0.9  #: Decay of the mean of gradients.
    adam_b2: float = 0.999  #: Decay of the mean of their squares.
    adam_eps: float = 1e-8  #: Added to the root of that.
    #: Largest norm of the gradient of all trained parameters together; None: no limit.
    clip_norm: float | None = None
    accumulate: int = 1  #: Micro-batches a step, one after the other; the global batch is divided.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Over devices and in memory."""

    #: How a step is spread over the devices; both give the same parameters.
    backend: Literal["pmap", "shard_map"] = "pmap"
    #: Batch statistics in training: of each device's share, of the whole batch, or the running
    #: ones.
    batch_norm: Literal["per_device", "cross_replica", "frozen"] = "per_device"
    remat_solver: bool = False  #: Compute the predictor's iterations again in the backward pass.
    remat_backbone: bool = False  #: Compute the backbone's blocks again in the backward pass.


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturePoolConfig:
    """Features of a backbone that is frozen up to some part, made once and used again and again.

    Proposals are drawn anew whenever a pooled sample is used, and so is which of its frames are the
    train and the test frames, and which of them the target modulates through.
    """

    samples: int = 0  #: In use at a time, shared by the processes of a run; 0: no pool.
    #: How often a sample is used, on average, before a new one takes its place. None: the samples
    #: that the run begins with are kept.
    uses: float | None = None
    train_frames: int = 3  #: Crops of a pooled sample, at least `SamplerConfig.train_frames`.
    test_frames: int = 3  #: The same for its test frames.
    dtype: Literal["float16", "float32"] = "float16"  #: Of the features on disk.
    #: May be shared by runs of the same data, backbone and seed, by one at a time while features
    #: are made; None: WORKDIR/feature_pool.
    dir: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingValidationConfig:
    """Success AUC on a folder of sequences (img/, groundtruth.txt)."""

    sequences_dir: str | None = None  #: Folder of sequences; None: not run.
    frames: int | None = 100  #: Frames of each sequence; None: all.
    every_steps: int = 1000  #: Steps from one validation to the next.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    total_steps: int = 1000  #: Steps of the whole training, those before an interruption included.
    global_batch: int = 8  #: Sequences a step, over all devices and hosts.
    #: The weights to start from: those of `checkpoint`, or the backbone's ImageNet weights where it
    #: is None; the latter in any case; or random numbers everywhere.
    start: Literal["checkpoint", "imagenet", "random"] = "checkpoint"
    log_every: int = 10  #: Steps from one line of metrics.jsonl to the next.
    save_every: int = 500  #: Steps from one checkpoint to the next.
    keep_last: int = 2  #: Checkpoints that are kept, beside the best one.
    #: Steps from one loss on `DataConfig.validation_sources` to the next.
    validate_every: int = 500
    validation_batches: int = 8  #: Batches of that loss.
    tensorboard: bool = False  #: Write event files beside metrics.jsonl (extra: tensorboard).
    data: DataConfig = DataConfig()  #: Where samples come from.
    feature_pool: FeaturePoolConfig = FeaturePoolConfig()  #: Features of a frozen backbone, kept.
    loss: LossConfig = LossConfig()  #: The weights of the losses.
    optim: OptimConfig = OptimConfig()  #: Rates, schedule, freezing.
    parallel: ParallelConfig = ParallelConfig()  #: Devices and memory.
    tracking: TrackingValidationConfig = TrackingValidationConfig()  #: Tracking as a validation.
