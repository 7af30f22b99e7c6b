"""The crops of one training sample: first where they lie and how they change, then their pixels.

So an image that is drawn, rather than decoded, is drawn only where it is looked at.
"""

from typing import NamedTuple

import numpy as np

from dimp_jax.config.training import CropConfig
from dimp_jax.data import jitter
from dimp_jax.data.degrade import Degrading, degrade, draw_degrading
from dimp_jax.data.draws import Draws
from dimp_jax.geometry import training_crops
from dimp_jax.media.opencv import cv2


class CropPlan(NamedTuple):
    """One crop of a frame, which may be mirrored before."""

    window: training_crops.Window
    box_xywh: np.ndarray  # [4] float32 of the target, crop pixels
    brightness: float
    flipped: bool
    degrading: Degrading | None


def plan_crops(frames, crop: CropConfig, jitters, draws: Draws, *, mirrored, training):
    """[CropPlan] of frames.

    Args:
      jitters: of the centre and of the log of the size.
      draws: the stretch of each frame, the box jitter of each, and in training the brightness of
        each, the flip of each and how each is degraded.
      mirrored: whether the frames are.
    """
    stretches = np.ones((len(frames), 2), np.float32)
    if crop.aspect_jitter > 0:
        log_aspects = draws.normals(len(frames)) * crop.aspect_jitter
        stretches = np.exp(np.outer(log_aspects, (0.5, -0.5)))
    boxes = [frame.box_xywh for frame in frames]
    if mirrored:
        boxes = [jitter.flip_box(f.box_xywh, f.image.shape[1]) for f in frames]
    extracts = jitter.jitter_box(boxes, *jitters, draws, stretches)
    brightness, flips = np.ones(len(frames), np.float32), np.zeros(len(frames), bool)
    if training:
        brightness = jitter.brightness_factors(len(frames), crop.brightness_jitter, draws)
        flips = draws.uniforms(len(frames)) < crop.flip_probability
    changing = crop.blur_probability or crop.coarse_probability or crop.contrast_jitter
    plans = []
    for index, frame in enumerate(frames):
        image_hw = frame.image.shape[:2]
        window, box = _place(image_hw, extracts[index], boxes[index], stretches[index], crop)
        if flips[index]:
            box = jitter.flip_box(box, crop.size_px)
        degrading = draw_degrading(crop, draws) if training and changing else None
        plans.append(CropPlan(window, box, brightness[index], flips[index], degrading))
    return plans


def cut_crops(frames, plans, size_px: int, *, mirrored: bool, grayscale: bool) -> np.ndarray:
    """[F, S, S, 3] uint8: the crops of frames, of which several may share one image."""
    images = _images(frames, plans, mirrored)
    if grayscale:
        images = {key: jitter.to_grayscale(image) for key, image in images.items()}
    if mirrored:
        images = {key: cv2.flip(image, 1) for key, image in images.items()}
    crops = np.empty((len(frames), size_px, size_px, 3), np.uint8)
    for frame, plan, crop in zip(frames, plans, crops, strict=True):
        image = training_crops.seen(images[id(frame.image)])
        cut = training_crops.resized_window_fast(image, *plan.window, size_px, crop)
        if plan.flipped:
            cut = cv2.flip(cut, 1)
        if plan.degrading is not None:
            cut = degrade(cut, float(np.sqrt(plan.box_xywh[2:].prod())), plan.degrading)
        if cut is not crop:
            crop[:] = cut
    return crops


def _images(frames, plans, mirrored):
    """The images by their id, those that are sketches drawn where the windows of `plans` lie."""
    images, looks = {}, {}
    for frame, plan in zip(frames, plans, strict=True):
        if isinstance(frame.image, np.ndarray):
            images[id(frame.image)] = frame.image
            continue
        corner, size_wh = np.array(plan.window.corner_xy), plan.window.size_wh
        extent = np.array(frame.image.shape[1::-1])
        if mirrored:
            corner[0] = extent[0] - corner[0] - size_wh[0]
        # Of a window that lies outside, the nearest pixels; one more for those never seen.
        low = np.clip(corner - 1, 0, np.maximum(extent - 2, 0))
        high = np.clip(corner + size_wh + 1, low + 1, extent)
        looks.setdefault(id(frame.image), (frame.image, []))[1].append((low, high))
    for key, (sketch, spans) in looks.items():
        lows, highs = zip(*spans, strict=True)
        images[key] = sketch.within(np.min(lows, axis=0), np.max(highs, axis=0))
    return images


def _place(image_hw, extract_xywh, box_xywh, stretch_wh, crop: CropConfig):
    placing = (extract_xywh, box_xywh, crop.search_area_scale, crop.size_px, stretch_wh)
    if crop.arithmetic == "2019":
        return training_crops.place_2019(*placing)
    return training_crops.place_2020(
        image_hw, *placing, mode=crop.border_mode, max_scale_change=crop.max_scale_change
    )
