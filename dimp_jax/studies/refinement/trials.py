"""The box refinement alone, as the tracker does it, without the classifier.

Three questions: how much better is a jittered ground-truth box after one refinement? Does a box
that was right stay right over many refinements on one frame? And does its size over many frames,
when the position is given? Whole sequences mix the answers with what the classifier does.
"""

import functools
import zlib
from typing import NamedTuple

import jax
import numpy as np

from dimp_jax.config import ModelConfig, TrackerConfig
from dimp_jax.media.images import InputError, read_image
from dimp_jax.media.sequences import present
from dimp_jax.models.dimp import DiMP
from dimp_jax.tracking import draws, online
from dimp_jax.tracking.refine import refine_pose
from dimp_jax.tracking.state import Pose, TrackerState, box_of
from dimp_jax.tracking.tracker import Tracker


class Target(NamedTuple):
    """A sequence whose target the network was shown."""

    name: str
    paths: tuple  # of all images
    boxes_xywh: np.ndarray  # [N, 4] ground truth; NaN where absent
    later: np.ndarray  # indices of the frames after the first that have ground truth
    state: TrackerState  # after the first frame: modulation, base size, key

    def image(self, frame: int):
        """uint8 RGB [H, W, 3]; raises InputError if it is not of the size of the first one."""
        image = read_image(self.paths[frame])
        try:
            online.check_image(image, self.state.image_hw)
        except ValueError as error:
            raise InputError(f"{self.paths[frame]}: {error}") from error
        return image

    def pose(self, box_xywh) -> Pose:
        """The tracker's state if it had this box: its scale follows the box's area."""
        x, y, w, h = (float(v) for v in box_xywh)
        center = np.array([y + (h - 1) / 2, x + (w - 1) / 2], np.float32)
        scale = np.sqrt(np.float32(w * h) / np.prod(self.state.base_size_hw))
        return Pose(center, np.array([h, w], np.float32), scale)


def check(tracker: Tracker) -> None:
    """Raises ValueError for a tracker that does not refine by an IoU network."""
    if tracker.notice is not None or "iou" not in tracker.network.params:
        raise ValueError(
            "the weights have no trained IoU network to measure: give --checkpoint, a converted "
            "network or the --workdir of a training"
        )
    method = tracker.config.tracker.refine.method
    if method not in ("iou", "iou_relative"):
        raise ValueError(
            f"tracker.refine.method is {method!r}, which uses no IoU network: expected 'iou' or "
            "'iou_relative'"
        )


def later_frames(sequence) -> np.ndarray:
    """Indices of the frames after the first that have ground truth."""
    if sequence.groundtruth is None:
        return np.zeros(0, int)
    return 1 + np.flatnonzero(present(sequence.groundtruth[1:]))


def measurable(sequences) -> list:
    """Those with ground truth after the first frame.

    Raises:
      InputError: there are none.
    """
    found = [sequence for sequence in sequences if len(later_frames(sequence))]
    if not found:
        raise InputError(
            "no sequence has ground truth after its first frame: expected a groundtruth.txt with "
            "one box a frame"
        )
    return found


def open_target(tracker: Tracker, sequence, seed: int) -> Target:
    """Shows the tracker the first frame of a sequence, one of `measurable`."""
    paths = sequence.frames.paths
    state = tracker.init(read_image(paths[0]), sequence.init_box, seed)
    return Target(sequence.name, paths, sequence.groundtruth, later_frames(sequence), state)


@functools.lru_cache(maxsize=8)
def program(model: ModelConfig, tracker: TrackerConfig):
    """The part of the tracker's `look` that refines, jitted.

    Returns:
      f(params, crops [1, P, P, 3] in 0..255, modulation, pose (centre, size, scale), base_size [2],
      sample_pos [2], sample_scale [], uniforms [R, 4]) -> (centre, size, scale).
    """
    net = DiMP(model, folded=True)
    apply = lambda params, *args, method: net.apply({"params": params}, *args, method=method)

    def refine(params, crops, modulation, pose, base_size, sample_pos, sample_scale, uniforms):
        maps = apply(params, apply(params, crops, method="normalize"), method="features")
        features = apply(params, maps["layer2"], maps["layer3"], method="iou_features")
        predict = lambda b: apply(params, modulation, features, b[None], method="predict_iou")[0]
        window = sample_pos, sample_scale
        options = uniforms, tracker.refine, tracker.crop_size_px
        return refine_pose(predict, pose, base_size, *window, *options)

    return jax.jit(refine)


class Trial(NamedTuple):
    """One refinement to be done."""

    target: Target
    image: np.ndarray
    pose: Pose
    draw: int  # which random boxes are tried: the tracker draws by the frame's number


def refine_all(tracker: Tracker, trials: list[Trial]) -> list[Pose]:
    """The pose after one refinement of each trial, in a crop around it.

    One crop a call: on a CPU a batch of them takes no less time (measured from 1 to 20).
    """
    config, network = tracker.config.tracker, tracker.network
    refine = program(tracker.config.model, config)
    refined = []
    for target, image, pose, draw in trials:
        crops, _, positions, scales = online.sample_crops(config, pose, image, network)
        refined.append(
            refine(
                network.params,
                crops,
                target.state.modulation,
                (pose.center_yx, pose.size_hw, pose.scale),
                target.state.base_size_hw,
                positions[0],
                scales[0],
                draws.for_frame(target.state.key, draw, config.refine.num_random_boxes),
            )
        )
    poses = []
    for (*_, old, _), new in zip(trials, jax.device_get(refined), strict=True):
        finite = all(np.isfinite(values).all() for values in new)
        poses.append(Pose(*new) if finite else old)  # as where no box is acceptable
    return poses


def jittered(box_xywh, center_sigma: float, log_size_sigma: float, rng) -> np.ndarray:
    """A box [4] moved by normal noise.

    Args:
      center_sigma: of either coordinate of the centre, in sqrt(w h).
      log_size_sigma: of log w and log h, each by itself.
    """
    x, y, w, h = box_xywh
    noise = rng.standard_normal(4)
    center = np.array([x + w / 2, y + h / 2]) + noise[:2] * center_sigma * np.sqrt(w * h)
    size = np.array([w, h]) * np.exp(noise[2:] * log_size_sigma)
    return np.concatenate([center - size / 2, size])


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, evenly spaced, the first and the last among them."""
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def from_jitter(tracker: Tracker, target: Target, levels, num_frames: int, seed: int):
    """One refinement from each level of jitter on evenly spaced frames.

    Args:
      levels: pairs (centre sigma, log size sigma) of `jittered`. A frame's noise is the same for
        all of them but for its size.

    Returns:
      boxes before, boxes after, ground truth: each [frames, levels, 4].
    """
    trials, truth = [], []
    for frame in spread(target.later, num_frames):
        image, box = target.image(frame), target.boxes_xywh[frame]
        for center_sigma, log_size_sigma in levels:
            rng = np.random.default_rng([seed, zlib.crc32(target.name.encode()), frame])
            pose = target.pose(jittered(box, center_sigma, log_size_sigma, rng))
            trials.append(Trial(target, image, pose, int(frame)))
            truth.append(box)
    after = refine_all(tracker, trials)
    boxes = lambda poses: np.stack([box_of(p) for p in poses]).reshape(-1, len(levels), 4)
    return boxes([t.pose for t in trials]), boxes(after), np.reshape(truth, (-1, len(levels), 4))


def on_one_frame(tracker: Tracker, target: Target, num_starts: int, num_steps: int):
    """Refines the ground truth, then its own output, again and again on the same frame.

    Returns:
      boxes [steps, starts, 4] after each refinement, and the ground truth, alike. There are no more
      starts than frames.
    """
    frames = spread(target.later, num_starts)
    truth = target.boxes_xywh[frames]
    trials = [
        Trial(target, target.image(frame), target.pose(box), 0)
        for frame, box in zip(frames, truth, strict=True)
    ]
    boxes = np.empty((num_steps, *truth.shape))
    for step in range(num_steps):
        poses = refine_all(tracker, trials)
        trials = [
            trial._replace(pose=pose, draw=step + 1)
            for trial, pose in zip(trials, poses, strict=True)
        ]
        boxes[step] = [box_of(pose) for pose in poses]
    return boxes, np.broadcast_to(truth, boxes.shape)


def along_the_video(tracker: Tracker, target: Target, num_starts: int, num_steps: int):
    """Refines its own size at the true position, frame after frame.

    The starts are spread from the second frame to the last one that has `num_steps` frames after
    it. A frame without ground truth keeps the size.

    Returns:
      boxes [steps, starts, 4] and the ground truth, alike; NaN where there is none.
    """
    with_room = target.later[target.later + num_steps < len(target.paths)]
    starts = spread(with_room if len(with_room) else target.later[:1], num_starts)
    sizes = target.boxes_xywh[starts, 2:]
    boxes = np.full((num_steps, len(starts), 4), np.nan)
    truth = boxes.copy()
    for step in range(num_steps):
        trials, places = [], []
        for s, start in enumerate(starts):
            frame = int(start) + 1 + step
            if frame not in target.later:
                continue
            x, y, w, h = truth[step, s] = target.boxes_xywh[frame]
            own = sizes[s]
            pose = target.pose([x + (w - own[0]) / 2, y + (h - own[1]) / 2, *own])
            trials.append(Trial(target, target.image(frame), pose, frame))
            places.append(s)
        for s, pose in zip(places, refine_all(tracker, trials), strict=True):
            boxes[step, s] = box_of(pose)
            sizes[s] = boxes[step, s, 2:]
    return boxes, truth
