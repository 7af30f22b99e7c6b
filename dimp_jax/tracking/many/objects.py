"""Several objects in one video: a lane for each, with its own search window or with one for all.

With `TrackerConfig.shared_crop` one window serves all objects, so that the backbone and all else
that depends on the picture alone runs once a frame, and on the first frame, too. The window is the
smallest square around the search windows that the objects would have of their own: none of them
searches less, and the nearer they are to one another, the less is lost in resolution. It is made
anew in every frame from the objects' poses, those of lost ones included, so the size of an object
in the crop changes with their distances. For one object it is that object's own window.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.media.first_box import checked_box
from dimp_jax.tracking import draws, online
from dimp_jax.tracking.many.lanes import Lanes, LaneStates, Target
from dimp_jax.tracking.many.programs import Stack, View
from dimp_jax.tracking.search_window import search_window
from dimp_jax.tracking.state import Pose, TrackResult, initial_pose
from dimp_jax.tracking.tracker import Tracker


def shared_window(poses, crop_px: int) -> Pose:
    """The smallest square search window that holds the windows of all poses."""
    centers = np.array([pose.center_yx for pose in poses], np.float64)
    halves = np.array([pose.scale for pose in poses], np.float64)[:, None] * crop_px / 2
    first, last = (centers - halves).min(0), (centers + halves).max(0)
    side = (last - first).max()
    center = ((first + last) / 2).astype(np.float32)
    return Pose(center, np.full(2, side, np.float32), np.float32(side / crop_px))


@dataclasses.dataclass(frozen=True)
class Objects:
    """`size` objects in one video: `states = init(image, boxes)`, then `step(states, image)`.

    Object k has the seed `seed + k`, by default `config.seed + k`. With `shared_crop` the first
    frame's random shifts are those of object 0: the samples are shared.
    """

    tracker: Tracker  #: whose weights and configuration all objects have
    size: int  #: number of objects

    @property
    def _shared(self) -> bool:
        return self.tracker.config.tracker.shared_crop

    @functools.cached_property
    def lanes(self) -> Lanes:
        return Lanes(self.tracker, self.size, "shared" if self._shared else None)

    def init(self, image, boxes_xywh, seed: int | None = None) -> LaneStates:
        """Learns all objects from their boxes in one frame.

        Args:
          image: uint8 RGB [H, W, 3].
          boxes_xywh: [size, 4] pixels.

        Raises:
          ValueError: another number of boxes, or as `online.init`; it says which object.
        """
        if len(boxes_xywh) != self.size:
            raise ValueError(f"{len(boxes_xywh)} boxes for {self.size} objects")
        online.check_image(image)
        seed = self.tracker.config.seed if seed is None else seed
        boxes = []
        for number, box in enumerate(boxes_xywh, 1):
            try:
                boxes.append(checked_box(box, image.shape[:2]))
            except ValueError as error:
                raise ValueError(f"object {number}: {error}") from error
        if self._shared:
            return self._init_shared(image, boxes, seed)
        states = self.lanes.empty()
        for lane, box in enumerate(boxes):
            states = self.lanes.init(states, lane, image, box, seed + lane)
        return states

    def step(self, states: LaneStates, image) -> tuple[LaneStates, list[TrackResult]]:
        """Tracks all objects in one frame; see `Lanes.step`."""
        if not self._shared:
            return self.lanes.step(states, [image] * self.size)
        network, settings = self.tracker.network, self.tracker.config.tracker
        targets = [target for target in states.targets if target is not None]  # all: see `init`
        online.check_image(image, targets[0].image_hw)
        windows = [search_window(settings.localize, t.pose, t.frames_lost) for t in targets]
        window = shared_window(windows, settings.crop_size_px)
        crops, _, position, scale = online.sample_crops(settings, window, image, network)
        return self.lanes.advance(states, range(self.size), View(crops, position, scale))

    def warmup(self) -> None:
        """Compiles every program that these objects can need, on a blank image."""
        image = np.zeros((64, 64, 3), np.uint8)
        states = self.init(image, [(16, 16, 32, 32)] * self.size)
        self.lanes.compile(states, lambda states: self.step(states, image))

    def _init_shared(self, image, boxes, seed):
        network, settings = self.tracker.network, self.tracker.config.tracker
        crop_px = settings.crop_size_px
        numbers, keys = [], []
        for number in range(self.size):
            key = jax.random.key(seed + number)
            drawn, frame_key = draws.for_init(key, settings.augment, network.clf_channels)
            numbers.append(jax.device_get(drawn))
            keys.append(frame_key)
        poses, base_sizes = zip(
            *(initial_pose(box, crop_px, settings.search_area_scale) for box in boxes), strict=True
        )
        window = shared_window(poses, crop_px)
        patches, transforms = online.first_patches(settings, image, window, numbers[0].shift)
        samples = [online.first_boxes(settings, pose, window, transforms) for pose in poses]
        started = self.lanes.programs.start(
            network.params,
            jnp.asarray(patches),
            jnp.asarray(np.stack(samples)),
            np.stack([n.dropout for n in numbers]),
        )
        stack = Stack(started.filt, started.memory, started.modulation, jnp.stack(keys))
        image_hw = np.array(image.shape[:2])
        first = zip(poses, base_sizes, strict=True)
        return LaneStates(stack, tuple(Target(pose, base, image_hw, 1) for pose, base in first))
