"""One training sample from draws: frames, crops, their random changes, proposals (behaviour 4)."""

import functools

import numpy as np

from dimp_jax.config.training import DataConfig, ProposalConfig
from dimp_jax.data import proposals
from dimp_jax.data.crops import cut_crops, plan_crops
from dimp_jax.data.draws import Draws
from dimp_jax.data.frames import BrokenFrames, changed_still, draw_frames
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.source import Sample
from dimp_jax.geometry import search_crops


def check_config(data: DataConfig):
    """Raises ValueError for crop and proposal options that contradict each other."""
    crop, boxes = data.crop, data.proposals
    if crop.arithmetic not in ("2019", "2020"):
        raise ValueError(f"crop.arithmetic={crop.arithmetic!r}: expected '2019' or '2020'")
    if crop.border_mode not in search_crops.BORDER_MODES:
        raise ValueError(
            f"crop.border_mode={crop.border_mode!r}: expected one of {search_crops.BORDER_MODES}"
        )
    if crop.arithmetic == "2019" and crop.border_mode != "replicate":
        raise ValueError(
            f"crop.border_mode={crop.border_mode!r} needs crop.arithmetic='2020'; the crops of "
            "'2019' always replicate"
        )
    if crop.size_px < 1 or crop.search_area_scale <= 0:
        raise ValueError(
            f"crop.size_px={crop.size_px}, crop.search_area_scale={crop.search_area_scale}: "
            "expected positive numbers"
        )
    for name in (
        "grayscale_probability",
        "flip_probability",
        "brightness_jitter",
        "aspect_jitter",
        "blur_probability",
        "coarse_probability",
        "contrast_jitter",
    ):
        if not 0 <= getattr(crop, name) <= 1:
            raise ValueError(f"crop.{name}={getattr(crop, name)}: expected a number in 0..1")
    for name in ("part_probability", "mosaic_probability"):
        if not 0 <= getattr(data, name) <= 1:
            raise ValueError(f"{name}={getattr(data, name)}: expected a number in 0..1")
    if boxes.kind not in ("perturb", "gaussian_mixture"):
        raise ValueError(f"proposals.kind={boxes.kind!r}: expected 'perturb' or 'gaussian_mixture'")
    if boxes.count < 1:
        raise ValueError(f"proposals.count={boxes.count}: expected 1 or more")
    if boxes.kind == "perturb" and not boxes.sigmas:
        raise ValueError("proposals.sigmas is empty: expected at least one number")
    if boxes.kind == "gaussian_mixture":
        stds = (*boxes.mixture_stds, boxes.true_std)
        if not boxes.mixture_stds or min(min(std) for std in stds) <= 0:
            raise ValueError(
                f"proposals.mixture_stds={boxes.mixture_stds}, true_std={boxes.true_std}: expected "
                "at least one component, and positive standard deviations"
            )


def make_sample(
    sampler: Sampler, data: DataConfig, draws: Draws, *, training: bool, broken: BrokenFrames
) -> Sample:
    """The sample of one stream of draws.

    The calls, in order: the frames (`Sampler.draw`; again after a broken image); of a still image
    whether a part is the target, and what is put around it; grayscale, then
    flip of all frames; for the train frames and then for the test frames: the box jitter of each,
    and in training the brightness of each, the flip of each and how each is degraded; the
    proposals of each test frame.

    Args:
      data: its `crop` and `proposals` are used; see `check_config`.
      training: False leaves out brightness, flips and degrading of single frames.
      broken: told of images that cannot be read.

    Raises:
      BrokenFrame: `MAX_BROKEN_IN_A_ROW` sequences drawn had an image that cannot be read.
      ValueError: a source calls a frame visible that has no positive, finite box.
    """
    train, test, source = draw_frames(sampler, draws, broken)
    crop = data.crop
    if not source.is_video:  # the frames are one picture
        frame = changed_still(train[0], source, data, draws, broken)
        train, test = [frame] * len(train), [frame] * len(test)
    grayscale = draws.random() < crop.grayscale_probability
    mirrored = draws.random() < crop.flip_probability
    plan = functools.partial(plan_crops, draws=draws, mirrored=mirrored, training=training)
    train_plans = plan(train, crop, (crop.train_center_jitter, crop.train_scale_jitter))
    test_plans = plan(test, crop, (crop.test_center_jitter, crop.test_scale_jitter))
    crops = cut_crops(
        (*train, *test),
        (*train_plans, *test_plans),
        crop.size_px,
        mirrored=mirrored,
        grayscale=grayscale,
    )
    stacked = lambda plans, name: np.stack([getattr(p, name) for p in plans])
    test_box = stacked(test_plans, "box_xywh")
    boxes, value, target = propose(test_box, data.proposals, draws)
    return Sample(
        train_crops=crops[: len(train)],
        train_box=stacked(train_plans, "box_xywh"),
        train_brightness=stacked(train_plans, "brightness"),
        test_crops=crops[len(train) :],
        test_box=test_box,
        test_brightness=stacked(test_plans, "brightness"),
        proposals=boxes,
        proposal_value=value,
        proposal_target=target,
    )


def sample_shapes(data: DataConfig, batch: int) -> Sample:
    """(shape, dtype) of each array of a batch of samples."""
    train, test = data.sampler.train_frames, data.sampler.test_frames
    crop_px, boxes = data.crop.size_px, data.proposals.count
    array = lambda *shape, dtype=np.float32: ((batch, *shape), np.dtype(dtype))
    return Sample(
        train_crops=array(train, crop_px, crop_px, 3, dtype=np.uint8),
        train_box=array(train, 4),
        train_brightness=array(train),
        test_crops=array(test, crop_px, crop_px, 3, dtype=np.uint8),
        test_box=array(test, 4),
        test_brightness=array(test),
        proposals=array(test, boxes, 4),
        proposal_value=array(test, boxes),
        proposal_target=array(test, boxes),
    )


def propose(boxes_xywh, config: ProposalConfig, draws: Draws):
    """(boxes [T, P, 4], value [T, P], target [T, P]) of test frames; see `source.Sample`."""
    if config.kind == "gaussian_mixture":
        return proposals.mixture_proposals(
            boxes_xywh, config.count, config.mixture_stds, config.true_std, draws
        )
    drawn = [
        proposals.perturbed_proposals(box, config.count, config.min_iou, config.sigmas, draws)
        for box in boxes_xywh
    ]
    boxes, overlap = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return boxes, overlap, np.zeros_like(overlap)
