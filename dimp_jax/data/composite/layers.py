"""Random motion and looks of the objects of a composed sequence."""

from typing import NamedTuple

import numpy as np

from dimp_jax.data.composite import motion

_ALIKE = 12  # a distractor is the target's twin, or one of this many nearest in colour and shape
_BEND_CELLS = 4
_PART_SIDES = (0.35, 0.8)  # of the object's


class Layer(NamedTuple):
    """One object of a plan."""

    role: str  # "clutter", "distractor", "target" or "occluder"
    entry: int  # index of the object; -1: a piece of background
    seed: int  # of what is drawn when its picture is made
    pose: np.ndarray  # [L, 2, 3] sprite units to frame pixels
    gain: np.ndarray  # [L] brightness
    tint: np.ndarray  # [3] factor of each colour channel
    harmony: float  # 0..1 how far its brightness and contrast follow the background's
    softness_px: float  # sigma of its own blur
    bend: np.ndarray  # [L, 4, 4, 2] displacement, sprite units


def target_size(rng, unit, native_px):
    """Pixels of one sprite unit: log-uniform, but not a blurred enlargement."""
    return min(unit * np.exp(rng.uniform(np.log(0.08), np.log(0.45))), 1.3 * native_px)


def part_xyxy(rng, outline):
    """[4] sprite units: a rectangle over a part of an object with this outline [P, 2]."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    half = 0.5 * rng.uniform(*_PART_SIDES, 2) * (high - low)
    center = outline[rng.integers(len(outline), size=3)].mean(axis=0)  # of a triangle in it
    center = np.clip(center, low + half, high - half)
    return np.concatenate([center - half, center + half])


def _shape(rng, size_px, length, *, turning):
    """[L, 2, 2] size, turn, mirroring, and the change of aspect of something seen from aside."""
    noise = motion.smooth_noise(rng, length, 18, 4)
    growth = np.clip(rng.uniform(0, 0.35) * noise[:, :1], -0.7, 0.7)
    aspect = rng.uniform(0, 0.12) * noise[:, 1]
    shear = rng.uniform(0, 0.12) * noise[:, 2]
    sides = np.stack([np.exp(aspect), np.exp(-aspect)], -1) * np.exp(growth)
    if rng.random() < 0.5:
        sides[:, 0] *= -1
    skew = np.tile(np.eye(2), (length, 1, 1))
    skew[:, 0, 1] = shear
    angle = rng.normal(0, 0.12) + turning * noise[:, 3]
    return size_px * motion.rotation(angle) @ skew * sides[:, None, :]


def _look(rng, length, *, spread=0.08):
    bend = np.zeros((length, _BEND_CELLS, _BEND_CELLS, 2))
    if rng.random() < 0.6:
        swing = motion.smooth_noise(rng, length, rng.uniform(4, 15), bend[0].size)
        bend = rng.uniform(0.005, 0.035) * np.clip(swing, -2, 2).reshape(bend.shape)
    return {
        "seed": int(rng.integers(2**31)),
        "gain": np.exp(0.07 * motion.smooth_noise(rng, length, 15)[:, 0]),
        "tint": np.exp(spread * rng.standard_normal(3)),
        "harmony": float(rng.uniform(0, 0.5)),
        "softness_px": float(rng.choice((0.0, 0.5, 0.9), p=(0.4, 0.4, 0.2))),
        "bend": bend.astype(np.float32),
    }


def moving(rng, role, entry, size_px, length, size_wh):
    """An object with its own path through the frame."""
    turning = rng.choice((0.08, 0.3, 0.8), p=(0.6, 0.3, 0.1))
    linear = _shape(rng, size_px, length, turning=turning)
    path = motion.wander(
        rng,
        length,
        speed=size_px * np.exp(rng.uniform(np.log(0.01), np.log(0.12))),
        period_frames=rng.uniform(6, 20),
        burst_probability=0.3,
        turn_probability=0.3,
    )
    # Room for most of the object; in some sequences it may leave for a while.
    reach = rng.choice((-0.3, 0.2, 0.45), p=(0.1, 0.3, 0.6)) * size_px
    middle = (size_wh - 1) / 2
    room = (middle - reach) * rng.uniform(0.4, 1.0)  # cameras are pointed at what is of interest
    start = middle + rng.uniform(-1, 1, 2) * np.maximum(room, 0)
    path = motion.bounce(path + start, middle - room, middle + room)
    layer = Layer(role, entry, pose=motion.affine(linear, path), **_look(rng, length))
    # A target as bright as all around it could not be seen.
    return layer._replace(harmony=0.6 * layer.harmony) if role == "target" else layer


def fixed(rng, entry, target_px, camera, canvas_wh):
    """An object that belongs to the background and moves with it."""
    size_px = target_px * np.exp(rng.uniform(-1.0, 0.7))
    linear = _shape(rng, size_px, len(camera), turning=0.03)
    place = rng.uniform(0, 1, 2) * canvas_wh
    path = motion.apply_affine(camera, place[None])[:, 0]
    pose = motion.affine(camera[..., :2] @ linear, path)
    return Layer("clutter", entry, pose=pose, **_look(rng, len(camera)))


def distractor(rng, objects, target, target_px, size_wh):
    """Something of the target's kind: its twin in other colours, or one that looks alike."""
    length = len(target.pose)
    entry, spread = target.entry, 0.2
    if rng.random() < 0.6:
        entry, spread = int(rng.choice(alike(objects, target.entry))), 0.1
    size_px = target_px * np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.5:  # on its own
        twin = moving(rng, "distractor", entry, size_px, length, size_wh)
        return twin._replace(**_look(rng, length, spread=spread))
    linear = _shape(rng, size_px, length, turning=0.1)
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 3.0)
    aside = distance * np.array((np.cos(angle), np.sin(angle)))
    aside = aside + 0.5 * motion.smooth_noise(rng, length, 15, 2)
    pose = motion.affine(linear, target.pose[..., 2] + target_px * aside)
    return Layer("distractor", entry, pose=pose, **_look(rng, length, spread=spread))


def alike(objects, index):
    """The indices of up to 12 other objects of the most similar mean colour and outline."""
    if len(objects.entries) == 1:
        return np.array([index])
    distance = np.abs(objects.features - objects.features[index]).sum(axis=1)
    distance[index] = np.inf
    count = min(_ALIKE, len(objects.entries) - 1)
    near = np.flatnonzero(distance <= np.partition(distance, count - 1)[count - 1])
    return near[np.argsort(distance[near], kind="stable")[:count]]


def occluder(rng, objects, target, target_px, camera):
    """What passes before the target: an object, one of its kind, or a piece of background."""
    length = len(camera)
    at = int(rng.integers(length))
    kind = rng.choice(3, p=(0.35, 0.35, 0.3))
    entry = (-1, objects.pick(rng), int(rng.choice(alike(objects, target.entry))))[kind]
    size_px = target_px * np.exp(rng.uniform(-0.6, 0.4))
    linear = _shape(rng, size_px, length, turning=0.05)
    angle = rng.uniform(0, 2 * np.pi)
    ahead = np.array((np.cos(angle), np.sin(angle)))
    lateral = rng.normal(0, 0.3) * np.array((-ahead[1], ahead[0]))
    travel = np.ptp(
        motion.apply_affine(motion.invert_affine(camera), target.pose[:, None, :, 2]), 0
    )
    if travel.max() > 1.5 * target_px and rng.random() < 0.5:  # the target passes behind it
        if entry < 0:
            linear = linear * np.array(((0.7,), (1.6,)))  # like a post
        place = motion.invert_affine(camera)[at]
        world = motion.apply_affine(place, (target.pose[at, :, 2] + lateral * target_px)[None])
        path = motion.apply_affine(camera, world)[:, 0]
    else:
        crossing_frames = rng.uniform(8, 40)
        step = (target_px + size_px) / crossing_frames
        away = step * (np.arange(length) - at)[:, None] * ahead
        path = target.pose[..., 2] + away + lateral * target_px
    return Layer("occluder", entry, pose=motion.affine(linear, path), **_look(rng, length))
