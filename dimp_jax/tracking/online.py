"""The online tracker: `init` on the first frame, `step` on every later one.

The loop around `step` is plain Python; the device runs the three programs of `programs.py`. A frame
has one synchronisation, on seven numbers; learning runs on while the next frame is read.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from dimp_jax.config import TrackerConfig
from dimp_jax.geometry import search_crops as crops
from dimp_jax.geometry.boxes import target_box_in_crop
from dimp_jax.media.first_box import checked_box
from dimp_jax.tracking import draws, programs
from dimp_jax.tracking.augment import apply_transforms, box_shift_xy, build_transforms, moved
from dimp_jax.tracking.augment import expansion_size_px as expanded_size_px
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.search_window import judged, search_window
from dimp_jax.tracking.state import Pose, TrackerState, TrackResult, box_of, initial_pose


class Network(NamedTuple):
    """Parameters (batch norms folded) and the programs that take them."""

    params: dict
    programs: programs.Programs
    clf_channels: int
    filter_size_cells: int


class Details(NamedTuple):
    """What a step saw and did; for tests and studies, beside the result."""

    look: programs.Look  #: scores, features, box
    coord_yxyx: np.ndarray  #: [n, 4] the crops' corners in the image
    crops: np.ndarray  #: [n, P, P, 3]
    losses: jax.Array | None  #: [I + 1] of the filter update, if there was one


def check_image(image, image_hw=None):
    """Raises ValueError unless `image` is a numpy array, uint8 RGB [H, W, 3] of the size of the
    first frame."""
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = type(image).__name__
        got = f"{image.dtype} {image.shape}" if is_array else f"{kind}, which is no numpy array"
        raise ValueError(f"image: expected uint8 RGB [H, W, 3], got {got}")
    if image_hw is not None and tuple(image.shape[:2]) != tuple(image_hw):
        raise ValueError(
            f"image: the first frame was {tuple(int(v) for v in image_hw)} (height, width), "
            f"this one is {image.shape[:2]}; start again with init() after a change of size"
        )


def init(network: Network, config: TrackerConfig, image, box_xywh, key) -> TrackerState:
    """Learns the target from one box.

    Args:
      image: uint8 RGB [H, W, 3]. box_xywh: four numbers, pixels.
      key: `jax.random.key`; the same key gives the same boxes, bit for bit.

    Raises:
      ValueError: image or box as in `check_image` and `checked_box`.
    """
    check_image(image)
    numbers, frame_key = draws.for_init(key, config.augment, network.clf_channels)
    numbers = jax.device_get(numbers)
    return init_with(network, config, image, box_xywh, frame_key, numbers)[0]


def init_with(network: Network, config: TrackerConfig, image, box_xywh, key, numbers):
    """`init` with given random numbers (`draws.InitDraws`); returns (state, `programs.Start`)."""
    image_hw = np.array(image.shape[:2])
    box = checked_box(box_xywh, image_hw)
    pose, base_size = initial_pose(box, config.crop_size_px, config.search_area_scale)
    patches, transforms = first_patches(config, image, pose, numbers.shift)
    boxes = first_boxes(config, pose, pose, transforms)
    started = network.programs.start(network.params, patches, boxes, numbers.dropout)
    state = TrackerState(
        pose=pose,
        base_size_hw=base_size,
        image_hw=image_hw,
        filt=started.filt,
        memory=started.memory,
        modulation=started.modulation,
        key=key,
    )
    return state, started


def first_patches(config: TrackerConfig, image, window: Pose, shift_uniforms):
    """The transformed first frame: ([A, P, P, 3] float32, their `Transform`s).

    Args:
      window: centre and scale of the search window. shift_uniforms: as in `build_transforms`.
    """
    crop_px = config.crop_size_px
    expanded_px = expanded_size_px(config.augment, crop_px)
    patch, _ = crops.sample_patch(
        image,
        np.rint(window.center_yx),
        (window.scale * np.float32(expanded_px),) * 2,
        (expanded_px, expanded_px),
        border_mode="replicate",
        max_scale_change=None,
        arithmetic=config.crop_arithmetic,
    )
    transforms = build_transforms(config.augment, crop_px, shift_uniforms)
    if config.border_mode == "inside":
        # Later crops will be moved into the image, so that the target is off their centre: the
        # samples learned from here are moved alike.
        window_px = window.scale * np.float32(crop_px)
        into = crops.inside_shift_yx(np.rint(window.center_yx), window_px, image.shape[:2])
        transforms = moved(transforms, -into / window.scale)
    return apply_transforms(patch, transforms, crop_px), transforms


def first_boxes(config: TrackerConfig, pose: Pose, window: Pose, transforms) -> np.ndarray:
    """A target's boxes in the samples of `first_patches`, those of dropout included: [A + D, 4]."""
    center_yx = np.rint(window.center_yx)
    target = np.asarray(
        target_box_in_crop(
            pose.center_yx, pose.size_hw, center_yx, window.scale, config.crop_size_px
        )
    )
    # The box follows the shifts only: flip and rotations keep its centre and size.
    boxes = [target + np.array([*box_shift_xy(t), 0, 0], np.float32) for t in transforms]
    return np.stack(boxes + [target] * config.augment.dropout_samples)


def step(network: Network, config: TrackerConfig, state: TrackerState, image):
    """Tracks one frame: returns (next state, `TrackResult`).

    `state` stays valid, so its memory is not donated: a frame that stores a sample copies it.
    `many.lanes` stores in place, and its states can be used once.

    Raises:
      ValueError: the image is not uint8 RGB of the first frame's size.
    """
    return detailed_step(network, config, state, image)[:2]


def detailed_step(network: Network, config: TrackerConfig, state: TrackerState, image):
    """As `step`; returns (next state, `TrackResult`, `Details`)."""
    check_image(image, state.image_hw)
    return step_with(network, config, state, image, frame_numbers(config, state))


def frame_numbers(config: TrackerConfig, state: TrackerState):
    """What `step` draws: [n, 4] uniform numbers, or None."""
    if config.refine.method == "scale_search":
        return None
    return draws.for_frame(state.key, state.frame, config.refine.num_random_boxes)


def step_with(network: Network, config: TrackerConfig, state: TrackerState, image, numbers):
    """`step` with given random numbers; returns (state, result, `Details`)."""
    frame, lost = state.frame + 1, state.frames_lost
    window = search_window(config.localize, state.pose, lost)
    patches, coords, positions, scales = sample_crops(config, window, image, network)
    seen = network.programs.look(
        network.params,
        state.filt,
        state.modulation,
        patches,
        (state.pose.center_yx, state.pose.size_hw, state.pose.scale),
        state.base_size_hw,
        state.image_hw.astype(np.float32),
        positions,
        scales,
        numbers,
    )
    report = np.asarray(seen.report)  # the one synchronisation of a frame
    pose, result, lost = read_report(report, config.localize, lost)
    state = dataclasses.replace(state, pose=pose, frame=frame, frames_lost=lost)

    insert, num_iter, rate = plan_learning(config.memory, frame, result.verdict, result.score)
    losses = None
    if insert or num_iter:
        filt, memory, losses = network.programs.learn(
            network.params,
            state.filt,
            state.memory,
            seen.feat,
            seen.box_xywh,
            np.float32(rate),
            insert=insert,
            num_iter=num_iter,
        )
        state = dataclasses.replace(state, filt=filt, memory=memory)
    return state, result, Details(seen, coords, patches, losses)


def read_report(report, config, frames_lost: int) -> tuple[Pose, TrackResult, int]:
    """What the seven numbers of `programs.Look.report` say: (pose, result, frames lost by now).

    Args:
      config: `LocalizeConfig`. frames_lost: in a row, before this frame.
    """
    pose = Pose(report[:2], report[2:4], report[4])
    verdict = judged(config, frames_lost, Verdict(int(report[5])))
    lost = frames_lost + 1 if verdict == Verdict.NOT_FOUND else 0
    return pose, TrackResult(box_of(pose), float(report[6]), verdict), lost


def sample_crops(config: TrackerConfig, window: Pose, image, network: Network):
    """Crops [n, P, P, 3], their corners [n, 4], positions [n, 2] and scales [n].

    Args:
      window: its centre and scale, as of `search_window`.
    """
    crop_px = config.crop_size_px
    cells = crop_px // programs.STRIDE_PX
    # Half a cell aside where features and scores do not share their centre: 0 for 18 and 4.
    offset = ((cells + network.filter_size_cells) % 2) * crop_px / (2 * cells)
    patches, coords, positions, scales = [], [], [], []
    for factor in programs.scale_factors(config.refine):
        patch, coord = crops.sample_patch(
            image,
            window.center_yx + window.scale * np.float32(offset),
            (window.scale * np.float32(factor) * np.float32(crop_px),) * 2,
            (crop_px, crop_px),
            border_mode=config.border_mode,
            max_scale_change=config.max_scale_change,
            arithmetic=config.crop_arithmetic,
        )
        position, scale = crops.sample_position_scale(coord, crop_px)
        patches.append(patch)
        coords.append(coord)
        positions.append(position)
        scales.append(scale)
    return np.stack(patches), np.stack(coords), np.stack(positions), np.stack(scales)


def plan_learning(config, frame: int, verdict: Verdict, score: float):
    """(store the sample?, iterations, learning rate) of a frame.

    A moving average stores nothing, runs its iterations when the memory's would be run, and its
    rate is the share of the new filter.

    Args:
      config: `MemoryConfig`.
      frame: the first frame is 1.
    """
    hard = verdict == Verdict.HARD_NEGATIVE
    if config.update == "moving_average":
        rate = config.average_rate
    else:
        rate = config.hard_negative_learning_rate if hard else config.learning_rate
    if config.update == "none" or verdict not in (Verdict.NORMAL, Verdict.HARD_NEGATIVE):
        return False, 0, rate
    insert = config.update == "memory" and (hard or frame % config.sample_interval == 0)
    low = config.low_score_threshold is not None and score < config.low_score_threshold
    if hard:
        num_iter = config.hard_negative_iterations
    elif low:
        num_iter = config.low_score_iterations
    elif (frame - 1) % config.train_interval == 0:
        num_iter = config.update_iterations
    else:
        num_iter = 0
    return insert, num_iter, rate


def learning_variants(config) -> set[tuple[bool, int]]:
    """Every (store the sample?, iterations) that `plan_learning` can ask for, but (False, 0)."""
    scores = [0.0] if config.low_score_threshold is None else [-np.inf, np.inf]
    frames = range(1, config.sample_interval * config.train_interval + 2)
    plans = {
        plan_learning(config, frame, verdict, score)[:2]
        for frame in frames
        for verdict in Verdict
        for score in scores
    }
    return plans - {(False, 0)}
