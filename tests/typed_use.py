"""What a type checker knows of the public interface: checked by mypy, never run."""

from typing import assert_type

import jax
import numpy as np

import dimp_jax
from dimp_jax import config
from dimp_jax.tracking.many.lanes import Lanes, LaneStates
from dimp_jax.tracking.state import TrackerState, TrackResult
from dimp_jax.tracking.tracker import Tracker

image = np.zeros((64, 64, 3), np.uint8)
tracker = dimp_jax.load("dimp_lite0")
state = tracker.init(image, (16, 16, 32, 32), seed=0)
state, result = tracker.step(state, image)
assert_type(tracker, Tracker)
assert_type(state, TrackerState)
assert_type(result, TrackResult)
assert_type(result.score, float)
assert_type(result.box_xywh, np.ndarray)
assert_type(state.filt, jax.Array)
assert_type(tracker.config, config.Config)
assert_type(tracker.config.model.predictor.num_iter, int)
assert_type(Lanes(tracker, 2).empty(), LaneStates)
config.Config(colour="red")  # type: ignore[call-arg]
print(result.box)  # type: ignore[attr-defined]
