"""Plans of composed sequences: what is where in every frame, from a random generator; no images.

A plan holds poses, and which frames show the target, found from outlines instead of pictures. The
frame's geometric mean side is the unit of all sizes, so that a plan looks alike at any resolution.
"""

from typing import NamedTuple

import numpy as np

from dimp_jax.data.composite import layers, motion
from dimp_jax.data.composite.coverage import shares
from dimp_jax.data.composite.stock import Stock

# The target counts as visible when this much of it lies in the frame and at most that much of
# what lies there is covered.
MIN_INSIDE = 0.4
MAX_COVERED = 0.7
_MAX_CLUTTER = 8  # objects at rest, most of them outside the frame


class Scene(NamedTuple):
    """One composed sequence."""

    layers: tuple[layers.Layer, ...]  # back to front
    target: int  # index into `layers`
    part_xyxy: np.ndarray | None  # [4] sprite units: the target is this part of its object
    box_xywh: np.ndarray  # [L, 4] float32, around the target's outline, not cut at the frame
    visible: np.ndarray  # [L] bool
    background: int  # index
    canvas_wh: tuple[int, int]  # pixels of the background, on which the camera moves
    seed: int  # of the background's cut and mirroring
    camera: np.ndarray  # [L, 2, 3] canvas to frame pixels
    shutter: float  # part of the time between frames over which motion blurs
    defocus_px: np.ndarray  # [L] sigma
    gain: np.ndarray  # [L, 3] brightness of each colour channel
    gamma: np.ndarray  # [L]
    noise: float  # standard deviation of the sensor's noise, gray levels
    light: np.ndarray | None  # [L, 5, 6] brightness over the frame: shadows and falling light
    cast_shadow: np.ndarray | None  # [3] dx, dy (target sizes) and strength
    jpeg_quality: int


def plan(rng, objects: Stock, backgrounds: Stock, config, min_box_px) -> Scene:
    """A random scene.

    Args:
      rng: numpy Generator; the plan is a function of what it draws.
      config: a `config.training.CompositeConfig`.
      min_box_px: sides of the target's box in the frame below this count as not visible.
    """
    size_wh = np.array(config.size_hw_px[::-1], float)
    unit = float(np.sqrt(size_wh.prod()))
    index = objects.pick(rng)
    background = _other_picture(rng, backgrounds, objects.entries[index].origin)
    canvas_wh = np.round(backgrounds.entries[background].canvas_scale * size_wh)
    camera = _camera(rng, config.length, size_wh, canvas_wh)

    target_px = layers.target_size(rng, unit, objects.entries[index].unit_px)
    target = layers.moving(rng, "target", index, target_px, config.length, size_wh)
    behind = [
        layers.fixed(rng, objects.pick(rng), target_px, camera, canvas_wh)
        for _ in range(rng.integers(0, _MAX_CLUTTER + 1))
    ]
    front = []
    for _ in range(rng.integers(0, config.max_distractors + 1)):
        twin = layers.distractor(rng, objects, target, target_px, size_wh)
        (front if rng.random() < 0.25 else behind).append(twin)
    if rng.random() < config.occluder_probability:
        for _ in range(1 + (rng.random() < 0.3)):
            front.append(layers.occluder(rng, objects, target, target_px, camera))
    behind, front = (
        [layer for layer in group if _appears(_outline(layer, objects), size_wh)]
        for group in (behind, front)
    )

    part = None
    if rng.random() < config.part_probability:
        part = layers.part_xyxy(rng, objects.entries[index].outline)
    own = _outline(target, objects, part)
    # Pixel centres are integers, but a box counts from the left edge of its first pixel.
    low, high = motion.limits(own)
    high = high + 1
    seen_px = np.minimum(high, size_wh) - np.maximum(low, 0)
    inside, covered = shares(own, [_outline(layer, objects) for layer in front], config.size_hw_px)
    return Scene(
        layers=(*behind, target, *front),
        target=len(behind),
        part_xyxy=part,
        box_xywh=np.concatenate([low, high - low], axis=1).astype(np.float32),
        visible=(inside >= MIN_INSIDE)
        & (covered <= MAX_COVERED)
        & (seen_px >= min_box_px).all(axis=1),
        background=background,
        canvas_wh=(int(canvas_wh[0]), int(canvas_wh[1])),
        seed=int(rng.integers(2**31)),
        camera=camera,
        **_optics(rng, config.length, unit),
    )


def _other_picture(rng, backgrounds, origin):
    """A background, of another picture than the target if there is one."""
    for _ in range(8):
        index = backgrounds.pick(rng)
        chosen = backgrounds.entries[index].origin
        if chosen.path is not None or chosen[1:3] != origin[1:3]:
            break
    return index


def _outline(layer, objects, part_xyxy=None):
    units = _ELLIPSE if layer.entry < 0 else objects.entries[layer.entry].outline
    if part_xyxy is not None:
        units = np.clip(units, part_xyxy[:2], part_xyxy[2:])
    return motion.apply_affine(layer.pose, units)


_ANGLE = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_ELLIPSE = 0.5 * np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=-1)


def _appears(outline, size_wh):
    """Whether an outline [L, P, 2], with some room for its bending, is ever in the frame."""
    low, high = motion.limits(outline)
    room = 0.1 * (high - low) + 2
    return bool(((low - room < size_wh) & (high + room > 0)).all(axis=1).any())


def _camera(rng, length, size_wh, canvas_wh):
    """Pan, zoom, roll and shake: [L, 2, 3] canvas to frame pixels."""
    unit = np.sqrt(size_wh.prod())
    kind = rng.choice(3, p=(0.25, 0.45, 0.3))  # still, slow, chasing
    speed = unit * (0.0, 0.004, 0.016)[kind] * rng.uniform(0.5, 1.5)
    zoom = np.exp((0.0, 0.04, 0.06)[kind] * motion.smooth_noise(rng, length, 20)[:, 0])
    zoom *= rng.uniform(0.9, 1.15)
    roll = (0.0, 0.02, 0.04)[kind] * motion.smooth_noise(rng, length, 25)[:, 0]
    pan = motion.wander(
        rng, length, speed=speed, period_frames=15, burst_probability=0.2, turn_probability=0.2
    )
    room = (canvas_wh - size_wh) / 2
    pan = motion.bounce(pan + rng.uniform(-room, room), -room, room)
    if kind and rng.random() < 0.4:
        pan = pan + unit * 0.002 * motion.smooth_noise(rng, length, 1.5, 2)
    linear = motion.rotation(roll) * zoom[:, None, None]
    middle = (canvas_wh - 1) / 2 + pan
    center = (size_wh - 1) / 2 - (linear @ middle[..., None])[..., 0]
    return motion.affine(linear, center)


def _optics(rng, length, unit):
    """What the camera does to the whole picture."""
    brightness = 0.1 * motion.smooth_noise(rng, length, 20)
    if rng.random() < 0.12:  # a light is switched, or the exposure jumps
        brightness[rng.integers(length) :] += rng.normal(0, 0.3)
    color = 0.03 * motion.smooth_noise(rng, length, 20, 3) + 0.05 * rng.standard_normal(3)
    defocus = np.zeros(length)
    if rng.random() < 0.4:
        defocus = np.maximum(0.7 * motion.smooth_noise(rng, length, 12)[:, 0], 0) + 0.3
    light = shadow = None
    if rng.random() < 0.5:
        light = motion.smooth_noise(rng, length, 30, 30).reshape(length, 5, 6)
        light = np.exp(rng.uniform(0.05, 0.25) * light).astype(np.float32)
    if rng.random() < 0.35:
        shadow = np.array((rng.normal(0, 0.2), rng.uniform(0.05, 0.3), rng.uniform(0.2, 0.55)))
    return {
        "shutter": float(rng.uniform(0, 0.7)) if rng.random() < 0.75 else 0.0,
        "defocus_px": defocus * unit / 311,
        "gain": np.exp(brightness + color),
        "gamma": np.exp(0.12 * rng.standard_normal() + 0.05 * motion.smooth_noise(rng, length, 20))[
            :, 0
        ],
        "noise": float(np.exp(rng.uniform(np.log(0.5), np.log(7)))),
        "light": light,
        "cast_shadow": shadow,
        "jpeg_quality": int(rng.integers(45, 96)),
    }
