"""Several sequences at once, each in its lane, with one program a frame for all of them.

A lane's start is that of the single tracker. Crops are cut on the host by a few threads, each with
the OpenCV call that the single tracker makes.
"""

import dataclasses
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.tracking import online, programs
from dimp_jax.tracking.augment import num_samples
from dimp_jax.tracking.many import programs as lane_programs
from dimp_jax.tracking.many.programs import Stack, View
from dimp_jax.tracking.search_window import search_window
from dimp_jax.tracking.state import Pose, TrackerState, TrackResult
from dimp_jax.tracking.tracker import Tracker


class Target(NamedTuple):
    """What the host knows of one lane: see `TrackerState`."""

    pose: Pose
    base_size_hw: np.ndarray  #: [2]
    image_hw: np.ndarray  #: [2]
    frame: int
    frames_lost: int = 0


class LaneStates(NamedTuple):
    """All lanes. To be used once: a call that returns the next states gives the buffers away."""

    stack: Stack
    targets: tuple[Target | None, ...]  #: None: the lane was never started


@dataclasses.dataclass(frozen=True)
class Lanes:
    """`size` independent trackers with the weights and the configuration of one.

    `states = lanes.init(lanes.empty(), lane, image, box, seed)` starts a lane, at any time and as
    often as wanted; `states, results = lanes.step(states, images)` tracks one frame in each. A
    lane's boxes are those of `Tracker` with the same seed, but for rounding.
    """

    tracker: Tracker  #: whose weights and configuration all lanes have
    size: int  #: number of lanes
    form: lane_programs.Form | None = None  #: None: as it suits the backend

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size={self.size}: expected at least one lane")

    @property
    def programs(self) -> lane_programs.LanePrograms:
        """The same ones for all `Lanes` of this configuration."""
        config = self.tracker.config
        return lane_programs.build(config.model, config.tracker, self._form)

    @property
    def _form(self) -> lane_programs.Form:
        return self.form or lane_programs.default_form()

    @functools.cached_property
    def _pool(self):
        return ThreadPoolExecutor(min(self.size, os.cpu_count() or 1), "dimp_jax-crops")

    def empty(self) -> LaneStates:
        """Lanes none of which was started."""
        network, settings = self.tracker.network, self.tracker.config.tracker
        augment, side = settings.augment, settings.crop_size_px
        samples = num_samples(augment)
        shape = jax.ShapeDtypeStruct
        started = jax.eval_shape(
            network.programs.start,
            network.params,
            shape((samples - augment.dropout_samples, side, side, 3), jnp.float32),
            shape((samples, 4), jnp.float32),
            shape((augment.dropout_samples, network.clf_channels), jnp.float32),
        )
        stacked = lambda leaf: jnp.zeros((self.size, *leaf.shape), leaf.dtype)
        filt, memories, modulation = jax.tree.map(stacked, started[:3])
        key = jax.random.split(jax.random.key(0), self.size)
        stack = Stack(filt, memories, modulation, key)
        # Bound to the device, as what a kept program gives: else `put` would compile twice.
        sharding = jax.tree.leaves(network.params)[0].sharding
        return LaneStates(jax.device_put(stack, sharding), (None,) * self.size)

    def init(
        self, states: LaneStates, lane: int, image, box_xywh, seed: int | None = None
    ) -> LaneStates:
        """Starts a lane on its first frame, as `Tracker.init`.

        Raises:
          ValueError: as `online.init`, or no such lane; `states` can then still be used.
        """
        return self.put(states, lane, self.tracker.init(image, box_xywh, seed))

    def put(self, states: LaneStates, lane: int, state: TrackerState) -> LaneStates:
        """Lets a lane go on from a state of the single tracker."""
        if not 0 <= lane < self.size:
            raise ValueError(f"lane {lane}: expected 0 .. {self.size - 1}")
        target = Target(**{name: getattr(state, name) for name in Target._fields})
        single = Stack(state.filt, state.memory, state.modulation, state.key)
        stack = self.programs.put(states.stack, np.int32(lane), single)
        return LaneStates(stack, (*states.targets[:lane], target, *states.targets[lane + 1 :]))

    def step(self, states: LaneStates, images):
        """Tracks one frame of each lane.

        Args:
          images: B of uint8 RGB [H, W, 3], sizes may differ between lanes; None leaves a lane as it
            is.

        Returns:
          (next states, B results). A result is a `TrackResult`, None where there was no image, or
          the exception for which a lane's window could not be cut, and which left it as it was.

        Raises:
          ValueError: wrong number of images, an image that is not one of its lane's, or one for a
            lane that was not started; `states` can then still be used.
        """
        if len(images) != self.size:
            raise ValueError(f"{len(images)} images for {self.size} lanes: expected one for each")
        given = [lane for lane, image in enumerate(images) if image is not None]
        for lane in given:
            target = states.targets[lane]
            if target is None:
                raise ValueError(f"lane {lane} has an image, but was not started: use init() first")
            online.check_image(images[lane], target.image_hw)
        network, settings = self.tracker.network, self.tracker.config.tracker
        factors, side = len(programs.scale_factors(settings.refine)), settings.crop_size_px
        view = View(
            np.zeros((self.size, factors, side, side, 3), np.float32),
            np.zeros((self.size, factors, 2), np.float32),
            np.ones((self.size, factors), np.float32),
        )

        def cut(lane):
            target = states.targets[lane]
            window = search_window(settings.localize, target.pose, target.frames_lost)
            try:
                crops, _, *place = online.sample_crops(settings, window, images[lane], network)
            except Exception as error:  # a pose that cannot be followed is no matter of other lanes
                return error
            for whole, part in zip(view, (crops, *place), strict=True):
                whole[lane] = part
            return None

        # OpenCV releases the interpreter's lock.
        failed = list(self._pool.map(cut, given) if len(given) > 1 else map(cut, given))
        active = [lane for lane, error in zip(given, failed, strict=True) if error is None]
        states, results = self.advance(states, active, view)
        for lane, error in zip(given, failed, strict=True):
            if error is not None:
                results[lane] = error
        return states, results

    def advance(self, states: LaneStates, active, view: View):
        """`step` of the lanes `active`, whose windows are cut already."""
        network, settings = self.tracker.network, self.tracker.config.tracker
        stack, targets = states.stack, list(states.targets)
        one = np.ones(2, np.float32)
        nothing = Target(Pose(one, one, one[0]), one, one, 0)  # of a lane that was never started
        known = [target or nothing for target in targets]
        poses = tuple(
            np.stack([getattr(target.pose, field) for target in known]).astype(np.float32)
            for field in ("center_yx", "size_hw", "scale")
        )
        per_lane = (
            stack.filt,
            stack.modulation,
            stack.key,
            np.array([target.frame for target in known], np.int32),
            poses,
            np.stack([target.base_size_hw for target in known]).astype(np.float32),
            np.stack([target.image_hw for target in known]).astype(np.float32),
        )
        is_active = np.isin(np.arange(self.size), active)
        seen = self.programs.look(network.params, is_active, per_lane, view)
        reports = np.asarray(seen.report)  # the one synchronisation of a frame
        results: list[TrackResult | Exception | None] = [None] * self.size
        plans = {}
        for lane in active:
            lost = known[lane].frames_lost
            pose, result, lost = online.read_report(reports[lane], settings.localize, lost)
            results[lane], frame = result, known[lane].frame + 1
            targets[lane] = known[lane]._replace(pose=pose, frame=frame, frames_lost=lost)
            plans[lane] = online.plan_learning(settings.memory, frame, result.verdict, result.score)
        stack = self._learn(stack, seen.feat, seen.box_xywh, plans)
        return LaneStates(stack, tuple(targets)), results

    def _learn(self, stack: Stack, feat, box_xywh, plans) -> Stack:
        """plans: {lane: (store the sample?, iterations, learning rate)}."""
        stored, rate = np.zeros(self.size, bool), np.ones(self.size, np.float32)
        due: dict[int, list[int]] = {}
        for lane, (insert, num_iter, learning_rate) in plans.items():
            stored[lane], rate[lane] = insert, learning_rate
            if num_iter:
                due.setdefault(num_iter, []).append(lane)
        memories, filt = stack.memory, stack.filt
        if stored.any():
            memories = self.programs.store(memories, feat, box_xywh, rate, stored)
        learned_from: tuple = (memories, None)
        if self.tracker.config.tracker.memory.update == "moving_average":
            learned_from = (None, (feat, box_xywh, rate))
        together = lane_programs.UPDATED_TOGETHER[self._form]
        for num_iter, lanes in sorted(due.items()):
            for first in range(0, len(lanes), together):
                chosen = np.full(together, self.size, np.int32)  # past the end: no lane
                part = lanes[first : first + together]
                chosen[: len(part)] = part
                filt = self.programs.update(
                    self.tracker.network.params, filt, *learned_from, chosen, num_iter=num_iter
                )
        return dataclasses.replace(stack, filt=filt, memory=memories)

    def warmup(self) -> None:
        """Compiles every program that lanes can need, on a blank image."""
        image = np.zeros((64, 64, 3), np.uint8)
        states = self.init(self.empty(), 0, image, (16, 16, 32, 32))
        self.compile(states, lambda states: self.step(states, [image] + [None] * (self.size - 1)))

    def compile(self, states: LaneStates, step) -> None:
        """Runs `step` and all that can follow it, so that nothing is compiled later."""
        stack = step(states)[0].stack
        feat, box = stack.memory.feat[:, 0], stack.memory.box_xywh[:, 0]
        for insert, num_iter in sorted(
            online.learning_variants(self.tracker.config.tracker.memory)
        ):
            stack = self._learn(stack, feat, box, {0: (insert, num_iter, 0.5)})
