"""The source "synthetic": procedural textures and shapes, for tests and first steps; no files."""

import functools
from typing import NamedTuple

import numpy as np

from dimp_jax.data.composite import motion, sprites
from dimp_jax.data.source import Frame, check_index
from dimp_jax.media.opencv import cv2

_SPRITE_PX = 96
_SEED = 20_190_415  # so that sequence 0 is not everybody's default_rng(0)
_NOISE_TILE_PX = 64  # room for the random place of the noise


class SyntheticSource:
    """Textured shapes that move smoothly and change their size, over a textured background.

    Up to two shapes of other texture move, too, but never in front of the target, which stays
    inside the frame. Frame t of sequence i is a function of i, t, the config and the seed.

    Args:
      config: a `config.training.SyntheticConfig`.
      seed: another one gives other sequences.

    Raises:
      ValueError: no sequence, no frame, or a frame with a side below 48 px.
    """

    name = "synthetic"
    is_video = True

    def __init__(self, config, *, seed=0):
        if config.num_sequences < 1 or config.length < 1 or min(config.size_hw_px) < 48:
            raise ValueError(f"{config}: expected at least one sequence of one frame of 48 x 48 px")
        self.config = config
        self.seed = seed

    def __len__(self):
        return self.config.num_sequences

    def visible(self, sequence):
        """[L] bool, all True: the target never leaves the frame and nothing passes before it."""
        check_index("sequence", sequence, len(self))
        return np.ones(self.config.length, bool)

    def read(self, sequence, frame_ids):
        """Draws frames; see `source.Source.read`.

        Raises:
          IndexError: a sequence or frame that does not exist.
        """
        check_index("sequence", sequence, len(self))
        key = (_SEED, self.seed, int(sequence))
        scene = _scene(self.config, key)
        frames = []
        for t in frame_ids:
            check_index("frame", t, self.config.length)
            frames.append(_draw(scene, (*key, int(t)), int(t), self.config.size_hw_px))
        return frames


class _Scene(NamedTuple):
    """What a sequence is made of; the sprites are in drawing order, the target is the last."""

    canvas: np.ndarray  # [h, w, 3] uint8, larger than the frame
    camera_xy_px: np.ndarray  # [L, 2] top-left corner of the frame in the canvas
    sprites: tuple[sprites.Sprite, ...]
    poses: np.ndarray  # [sprites, L, 2, 3]
    gain: np.ndarray  # [L] brightness
    noise: np.ndarray  # [h, w, 3] uint8 around 128


@functools.lru_cache(maxsize=16)
def _scene(config, key):
    rng = np.random.default_rng(key)
    size_wh = np.array(config.size_hw_px[::-1])
    length = config.length

    room_px = 0.25 * size_wh
    canvas_h, canvas_w = (size_wh + np.ceil(room_px)).astype(int)[::-1] + 1
    canvas = _texture(rng, (canvas_h, canvas_w), contrast=rng.uniform(25, 50))
    camera = motion.wander(rng, length, speed=rng.uniform(0, 1.5), period_frames=15)
    camera = motion.bounce(camera + rng.uniform(0, room_px), 0, room_px)

    made, poses = [], []
    for _ in range(1 + rng.integers(0, 3)):
        made.append(sprites.make_sprite(_shape(rng)))
        size_px = rng.uniform(0.12, 0.28) * np.sqrt(size_wh.prod())
        growth = np.clip(0.3 * motion.smooth_noise(rng, length, 20), -0.6, 0.6)
        scale = size_px * np.exp(growth)[..., None]
        stretch = np.exp(0.1 * motion.smooth_noise(rng, length, 25))
        stretch = np.concatenate([stretch, 1 / stretch], axis=-1)
        angle = rng.uniform(0, 2 * np.pi) + 0.4 * motion.smooth_noise(rng, length, 20)[:, 0]
        linear = motion.rotation(angle) * stretch[:, None, :] * scale
        path = motion.wander(
            rng, length, speed=0.03 * size_px, period_frames=10, turn_probability=0.3
        )
        # Half the extent of the turned box, whose sides are at most 1.42 units, with a margin.
        reach = 0.75 * np.abs(linear).sum(axis=-1) + 2
        path = motion.bounce(path + rng.uniform(0, size_wh), reach, size_wh - 1 - reach)
        poses.append(motion.affine(linear, path))
    gain = np.exp(0.1 * motion.smooth_noise(rng, length, 15)[:, 0])
    noise_hw = np.array(config.size_hw_px) + _NOISE_TILE_PX
    sigma = rng.uniform(1, 5)
    noise = rng.standard_normal((*noise_hw, 3), dtype=np.float32) * np.float32(sigma)
    noise = (128.5 + np.clip(noise, -60, 60)).astype(np.uint8)
    return _Scene(canvas, camera, tuple(made), np.stack(poses), gain, noise)


def _draw(scene, key, t, size_hw):
    height, width = size_hw
    x, y = scene.camera_xy_px[t]
    frame = cv2.warpAffine(scene.canvas, np.float64([[1, 0, -x], [0, 1, -y]]), (width, height))
    for sprite, poses in zip(scene.sprites, scene.poses, strict=True):
        patch = sprites.warp(sprite, poses[t], size_hw)
        if patch is not None:
            sprites.paste(frame, patch)
    rng = np.random.default_rng(key)
    top, left = rng.integers(0, _NOISE_TILE_PX, 2)
    noise = np.ascontiguousarray(scene.noise[top : top + height, left : left + width])
    gain = float(scene.gain[t])
    frame = cv2.addWeighted(frame, gain, noise, 1.0, -128.0)
    return Frame(frame, sprites.hull_xywh(patch, size_hw))


def _texture(rng, size_hw, contrast):
    """[h, w, 3] uint8: a mean colour with coloured blobs of three sizes."""
    height, width = size_hw
    image = np.full((height, width, 3), rng.uniform(60, 195, 3), np.float32)
    for cell_px, share in ((48, 1.0), (16, 0.6), (5, 0.35)):
        cells = (max(height // cell_px, 2), max(width // cell_px, 2), 3)
        blobs = rng.standard_normal(cells).astype(np.float32) * np.float32(contrast * share)
        image += cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def _shape(rng):
    """[h, w, 4] uint8: an ellipse, or a random star-shaped polygon, with stripes or blobs."""
    aspect = np.exp(rng.uniform(-0.5, 0.5))
    size_wh = np.round(_SPRITE_PX * np.array((np.sqrt(aspect), 1 / np.sqrt(aspect)))).astype(int)
    corners = 40 if rng.random() < 0.4 else rng.integers(4, 9)
    angle = np.sort(rng.uniform(0, 2 * np.pi / corners, corners) * (corners < 40))
    angle += np.arange(corners) * 2 * np.pi / corners
    radius = rng.uniform(0.7, 1.0, corners) if corners < 40 else np.ones(corners)
    outline = np.stack([np.cos(angle), np.sin(angle)], -1) * radius[:, None]
    # The polygon fills the box exactly, so that the box is the one of the whole image.
    outline = (outline - outline.min(0)) / np.ptp(outline, axis=0) * (size_wh - 1)
    alpha = np.zeros(size_wh[::-1], np.uint8)
    cv2.fillPoly(alpha, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    rgb = _texture(rng, alpha.shape, contrast=rng.uniform(20, 60)).astype(np.float32)
    if rng.random() < 0.6:
        direction = rng.uniform(0, np.pi)
        y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]].astype(np.float32)
        phase = (x * np.cos(direction) + y * np.sin(direction)) * rng.uniform(0.15, 0.6)
        rgb += np.sin(phase)[..., None] * rng.uniform(-70, 70, 3).astype(np.float32)
    return np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha])
