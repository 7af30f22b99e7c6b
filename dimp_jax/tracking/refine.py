"""Box refinement: gradient ascent on the predicted overlap of several boxes (behaviour 6.7)."""

import jax
import jax.numpy as jnp

from dimp_jax.geometry.boxes import (
    crop_box_to_image,
    rect_to_relative,
    relative_to_rect,
    target_box_in_crop,
)


def refine_pose(iou_fn, pose, base_size_hw, sample_pos_yx, sample_scale, uniforms, config, crop_px):
    """The pose after the ascent of several boxes around it; itself if none of them is acceptable.

    Args:
      iou_fn: [P, 4] x, y, w, h in crop pixels -> [P].
      pose: centre [2] (y, x), size [2] (h, w), both in image pixels, and scale [].
      base_size_hw: [2] crop pixels: the target's size at scale 1.
      sample_pos_yx: [2] crop centre, image pixels. sample_scale: image pixels per crop pixel.
      uniforms: [P - 1, 4] in [0, 1).
      config: `RefineConfig`. crop_px: side of the crop.

    Returns:
      (centre, size, scale).
    """
    center, size, scale = pose
    box = target_box_in_crop(center, size, sample_pos_yx, sample_scale, crop_px)
    boxes = jittered_boxes(box, uniforms, config.jitter_position, config.jitter_size)
    if config.aspect_prior_std is not None:
        prior = config.aspect_prior_std, config.aspect_prior_dof
        iou_fn = with_aspect_prior(iou_fn, base_size_hw, *prior)
    boxes, iou = ascend(iou_fn, boxes, config)
    best, any_valid = mean_of_best(boxes, iou, config.top_k, config.max_aspect_ratio)
    new_center, new_size = crop_box_to_image(best, sample_pos_yx, sample_scale, crop_px)
    if config.size_rate != 1:
        new_size = size * (new_size / size) ** config.size_rate
    new_scale = jnp.sqrt(new_size[0] * new_size[1] / (base_size_hw[0] * base_size_hw[1]))
    keep = lambda new, old: jnp.where(any_valid, new, old)
    return keep(new_center, center), keep(new_size, size), keep(new_scale, scale)


def with_aspect_prior(log_density, size_hw, std: float, dof: float | None = None):
    """A log density of boxes, times one of log(w / h) around that of a size.

    Args:
      log_density: [P, 4] x, y, w, h -> [P], up to a constant.
      size_hw: [2].
      std: of log(w / h), where the prior is normal.
      dof: degrees of freedom of Student's t of that scale; None: normal. It hardly draws a target
        back that has changed its proportions for good.
    """
    expected = jnp.log(size_hw[1] / size_hw[0])
    tiny = 1e-6  # sides of boxes that diverge may become negative

    def posterior(boxes):
        sides = jnp.maximum(boxes[:, 2:], tiny)
        deviation = (jnp.log(sides[:, 0] / sides[:, 1]) - expected) / std
        if dof is None:
            return log_density(boxes) - 0.5 * deviation**2
        return log_density(boxes) - 0.5 * (dof + 1) * jnp.log1p(deviation**2 / dof)

    return posterior


def jittered_boxes(box_xywh, uniforms, jitter_position: float, jitter_size: float):
    """The box itself and one random variation of it per row of `uniforms`.

    Args:
      box_xywh: [4] crop pixels. uniforms: [P - 1, 4] in [0, 1).

    Returns:
      [P, 4].
    """
    size = box_xywh[2:]
    reach = jnp.sqrt(size[0] * size[1]) * jnp.asarray(
        [jitter_position, jitter_position, jitter_size, jitter_size], box_xywh.dtype
    )
    offset = (uniforms - 0.5) * reach[None]
    new_size = jnp.maximum(size[None] + offset[:, 2:], size.min() / 3)
    center = (box_xywh[:2] + size / 2)[None] + offset[:, :2]
    others = jnp.concatenate([center - new_size / 2, new_size], -1)
    return jnp.concatenate([box_xywh[None], others])


def ascend(iou_fn, boxes, config):
    """Moves boxes uphill on their predicted overlap.

    Args:
      iou_fn: [P, 4] x, y, w, h in crop pixels -> [P].
      boxes: [P, 4].
      config: `RefineConfig`; method "iou" steps in pixels in proportion to the size, method
        "iou_relative" in (cx / w0, cy / h0, log w, log h) with w0, h0 of the first box.

    Returns:
      (boxes [P, 4], iou [P] as evaluated before the last step: the ranking of the tracker).
    """
    if config.method == "iou_relative":
        size_wh = boxes[0, 2:]
        to_rect = lambda b: relative_to_rect(b, size_wh)
        start = rect_to_relative(boxes, size_wh)
        gain = lambda b: jnp.ones_like(b)
    else:
        to_rect, start = (lambda b: b), boxes
        gain = lambda b: jnp.concatenate([b[:, 2:], b[:, 2:]], -1)
    step = jnp.asarray([config.step_position] * 2 + [config.step_size] * 2, boxes.dtype)[None]

    def objective(points):
        iou = iou_fn(to_rect(points))
        return iou.sum(), iou

    def body(carry, _):
        points, decay, _ = carry
        grad, iou = jax.grad(objective, has_aux=True)(points)
        points = points + decay * step * grad * gain(points)
        return (points, decay * config.step_decay, iou), None

    carry = (start, jnp.ones((), boxes.dtype), jnp.zeros(boxes.shape[0], boxes.dtype))
    (points, _, iou), _ = jax.lax.scan(body, carry, length=config.iterations)
    return to_rect(points), iou


def mean_of_best(boxes, iou, top_k: int, max_aspect_ratio: float):
    """Mean of the best boxes of an acceptable shape.

    Args:
      boxes: [P, 4] crop pixels. iou: [P].

    Returns:
      (box [4], bool []: whether any box was acceptable; if not, the box is meaningless).
    """
    boxes = jnp.concatenate([boxes[:, :2], jnp.maximum(boxes[:, 2:], 1.0)], -1)
    aspect = boxes[:, 2] / boxes[:, 3]
    valid = (aspect < max_aspect_ratio) & (aspect > 1 / max_aspect_ratio)
    # Boxes that diverged are left out too; top_k would rank a NaN first.
    valid &= jnp.isfinite(boxes).all(-1) & jnp.isfinite(iou)
    score, index = jax.lax.top_k(jnp.where(valid, iou, -jnp.inf), min(top_k, boxes.shape[0]))
    chosen = (score > -jnp.inf)[:, None]
    best = jnp.where(chosen, boxes[index], 0.0)
    count = jnp.maximum(chosen.sum(dtype=jnp.int32), 1)
    return best.sum(0) / count, valid.any()
