"""What survives from one frame to the next."""

import jax
import numpy as np
from flax import struct

from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.memory import Memory


@struct.dataclass
class Pose:
    """Where the target is, on the host in float32: the crop of the next frame needs it there."""

    center_yx: np.ndarray  #: [2] image pixels
    size_hw: np.ndarray  #: [2] image pixels
    scale: np.ndarray | np.float32  #: [] image pixels per crop pixel


@struct.dataclass
class TrackerState:
    """Replaced by every step, never mutated: a run can be replayed from any saved state."""

    pose: Pose  #: where the target is
    base_size_hw: np.ndarray  #: [2] crop pixels: the target's size at scale 1
    image_hw: np.ndarray  #: [2] int, of every frame
    filt: jax.Array  #: [K, K, C] target filter
    memory: Memory  #: what the filter is fitted to
    modulation: object  #: of the IoU network, by the target: Levels of [1, F]; None without one
    key: jax.Array  #: of the random numbers to come
    frame: int = struct.field(pytree_node=False, default=1)  #: the first frame is 1
    #: frames in a row, up to the last, in which the target was not found
    frames_lost: int = struct.field(pytree_node=False, default=0)

    def __repr__(self):
        # Inside a transformation, or after a tree_map, the leaves may be anything.
        pose = getattr(self.pose, "center_yx", None), getattr(self.pose, "size_hw", None)
        known = all(isinstance(v, np.ndarray) and v.shape == (2,) for v in pose)
        box = ", ".join(f"{v:.2f}" for v in box_of(self.pose)) if known else "..."
        return f"TrackerState(frame={self.frame}, box_xywh=[{box}])"


@struct.dataclass
class TrackResult:
    """What one frame gave."""

    box_xywh: np.ndarray  #: [4] float image pixels; the last known box if the target is not found
    score: float  #: maximum of the score map; NaN or infinite ones are never a find
    verdict: Verdict = struct.field(pytree_node=False)  #: found, and how surely


def initial_pose(box_xywh, crop_size_px: int, search_area_scale: float):
    """Pose and base size of a first box (behaviour 6.1)."""
    x, y, w, h = (float(v) for v in box_xywh)
    center = np.array([y + (h - 1) / 2, x + (w - 1) / 2], np.float32)
    size = np.array([h, w], np.float32)
    area = np.prod(size * np.float32(search_area_scale))
    scale = np.float32(np.sqrt(area) / crop_size_px)
    return Pose(center, size, scale), size / scale


def box_of(pose: Pose) -> np.ndarray:
    """[4] float64 x, y, w, h in image pixels."""
    center, size = np.asarray(pose.center_yx, float), np.asarray(pose.size_hw, float)
    corner = center - (size - 1) / 2
    return np.array([corner[1], corner[0], size[1], size[0]])
