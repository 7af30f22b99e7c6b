"""One training sample from draws: frames, crops, their random changes, proposals (behaviour 4)."""

import functools
import logging

import numpy as np

from dimp_jax.config.training import CropConfig, DataConfig, ProposalConfig
from dimp_jax.data import jitter, mosaic, proposals
from dimp_jax.data.degrade import degrade
from dimp_jax.data.draws import Draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.source import BrokenFrame, Frame, Sample
from dimp_jax.geometry import search_crops, training_crops

# Sequences with a broken image in a row, after which the data set is taken to be unusable.
MAX_BROKEN_IN_A_ROW = 100

_log = logging.getLogger(__name__)


class BrokenFrames:
    """Counts images that could not be read, and names each of them once in the log."""

    def __init__(self):
        self.counts: dict[str, int] = {}

    def note(self, error: BrokenFrame):
        name = str(error)
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.counts[name] == 1:
            _log.warning("left out, and another sequence drawn: %s", name)


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
    train, test, source = _draw_frames(sampler, draws, broken)
    crop = data.crop
    if not source.is_video:  # the frames are one picture
        frame = _changed_still(train[0], source, data, draws, broken)
        train, test = [frame] * len(train), [frame] * len(test)
    images = {id(frame.image): frame.image for frame in (*train, *test)}
    if draws.random() < crop.grayscale_probability:
        images = {key: jitter.to_grayscale(image) for key, image in images.items()}
    frames = [(images[id(frame.image)], frame.box_xywh) for frame in (*train, *test)]
    if draws.random() < crop.flip_probability:
        frames = [jitter.flip(*frame) for frame in frames]

    train_crops, train_box, train_brightness = _crop_frames(
        frames[: len(train)],
        crop,
        (crop.train_center_jitter, crop.train_scale_jitter),
        draws,
        training,
    )
    test_crops, test_box, test_brightness = _crop_frames(
        frames[len(train) :],
        crop,
        (crop.test_center_jitter, crop.test_scale_jitter),
        draws,
        training,
    )
    drawn = [propose(box, data.proposals, draws) for box in test_box]
    boxes, value, target = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return Sample(
        train_crops=train_crops,
        train_box=train_box,
        train_brightness=train_brightness,
        test_crops=test_crops,
        test_box=test_box,
        test_brightness=test_brightness,
        proposals=boxes,
        proposal_value=value,
        proposal_target=target,
    )


def _draw_frames(sampler, draws, broken):
    """(train frames, test frames, source) of the first drawn sequence that can all be read."""
    for _ in range(MAX_BROKEN_IN_A_ROW):
        choice = sampler.draw(draws)
        source = sampler.sources[choice.source]
        wanted = (*choice.train_ids, *choice.test_ids)
        unique = list(dict.fromkeys(wanted))  # every image is decoded once
        try:
            frames = dict(zip(unique, source.read(choice.sequence, unique), strict=True))
        except BrokenFrame as error:
            broken.note(error)
            last = error
            continue
        for frame_id, frame in frames.items():
            _check_box(frame.box_xywh, source, choice.sequence, frame_id)
        chosen = ([frames[i] for i in ids] for ids in (choice.train_ids, choice.test_ids))
        return *chosen, source
    raise BrokenFrame(
        f"{MAX_BROKEN_IN_A_ROW} sequences drawn one after the other had an image that cannot be "
        f"read; the last: {last}. `python -m dimp_jax.data.check DIR` lists what is wrong"
    ) from last


def _changed_still(frame, source, data, draws, broken):
    """A still image with a part of its box as the target, or among other images of its source."""
    happens = lambda probability: probability > 0 and draws.random() < probability
    if happens(data.part_probability):
        frame = frame._replace(box_xywh=jitter.part_of(frame.box_xywh, draws))
    if happens(data.mosaic_probability):
        pictures = [_another(source, draws, broken) for _ in range(mosaic.NEIGHBOURS)]
        frame = Frame(*mosaic.surrounded(frame.image, frame.box_xywh, pictures, draws))
    return frame


def _another(source, draws, broken):
    """Any image of a source of still images that can be read."""
    for _ in range(MAX_BROKEN_IN_A_ROW):
        try:
            (frame,) = source.read(draws.integer(0, len(source) - 1), [0])
            return frame.image
        except BrokenFrame as error:
            broken.note(error)
            last = error
    raise BrokenFrame(f"{MAX_BROKEN_IN_A_ROW} images in a row cannot be read; the last: {last}")


def _check_box(box_xywh, source, sequence, frame_id):
    box = np.asarray(box_xywh)
    if not (np.isfinite(box).all() and (box[2:] > 0).all()):
        raise ValueError(
            f"source {source.name!r}, sequence {sequence}, frame {frame_id}: box {box.tolist()} in "
            "a frame that the source calls visible; expected finite numbers, positive sides"
        )


def _crop_frames(frames, crop: CropConfig, jitters, draws, training):
    """Crops [F, S, S, 3] uint8, boxes [F, 4] and brightness [F] of (image, box) pairs.

    `jitters` are those of the centre and of the log of the size.
    """
    stretches = np.ones((len(frames), 2))
    if crop.aspect_jitter > 0:
        log_aspects = draws.normals(len(frames)) * crop.aspect_jitter
        stretches = np.exp(np.outer(log_aspects, (0.5, -0.5)))
    extracts = [
        jitter.jitter_box(box, *jitters, draws, stretch)
        for (_, box), stretch in zip(frames, stretches, strict=True)
    ]
    brightness, flips = np.ones(len(frames), np.float32), np.zeros(len(frames), bool)
    if training:
        brightness = jitter.brightness_factors(len(frames), crop.brightness_jitter, draws)
        flips = draws.uniforms(len(frames)) < crop.flip_probability

    size_px = crop.size_px
    images = np.empty((len(frames), size_px, size_px, 3), np.uint8)
    boxes = np.empty((len(frames), 4), np.float32)
    degrading = crop.blur_probability or crop.coarse_probability or crop.contrast_jitter
    for index, (image, box) in enumerate(frames):
        cut, box_crop = _cut(image, extracts[index], box, crop, stretches[index], images[index])
        if flips[index]:
            cut, box_crop = jitter.flip(cut, box_crop)
        if training and degrading:
            cut = degrade(cut, float(np.sqrt(box_crop[2] * box_crop[3])), crop, draws)
        if cut is not images[index]:
            images[index] = cut
        boxes[index] = box_crop
    return images, boxes, brightness


def _cut(image, extract_xywh, box_xywh, crop: CropConfig, stretch_wh, out):
    resize = functools.partial(training_crops.resized_window_fast, out=out)
    args = (image, extract_xywh, box_xywh, crop.search_area_scale, crop.size_px, stretch_wh, resize)
    if crop.arithmetic == "2019":
        return training_crops.crop_2019(*args)
    return training_crops.crop_2020(
        *args, mode=crop.border_mode, max_scale_change=crop.max_scale_change
    )


def propose(box_xywh, config: ProposalConfig, draws: Draws):
    """(boxes [P, 4], value [P], target [P]) of one test frame; see `source.Sample`."""
    if config.kind == "perturb":
        boxes, overlap = proposals.perturbed_proposals(
            box_xywh, config.count, config.min_iou, config.sigmas, draws
        )
        return boxes, overlap, np.zeros_like(overlap)
    return proposals.mixture_proposals(
        box_xywh, config.count, config.mixture_stds, config.true_std, draws
    )
