"""The transforms of the first frame, from which the tracker learns its first filter.

Host code (numpy and OpenCV). A transform changes an enlarged patch, and is then cropped to the
tracker's crop size; its shift moves the content, and with it the target's box. Flips, blurs
and rotations keep the centre, and the box as it is: the target's extent after a rotation is
deliberately ignored, as in the published tracker.
"""

import dataclasses
import math
from typing import Literal

import numpy as np

from dimp_jax.geometry import search_crops
from dimp_jax.media.opencv import cv2

F32 = np.float32
Kind = Literal["identity", "shift", "flip", "blur", "rotate"]


@dataclasses.dataclass(frozen=True)
class Transform:
    """One sample of the first frame.

    kind: "blur" has `parameters` (sigma_y_px, sigma_x_px), "rotate" (angle,) in radians, positive
      counter-clockwise on the screen; the others have none.
    shift_yx: whole pixels by which the content moves after the transform.
    """

    kind: Kind
    shift_yx: tuple[int, int]
    parameters: tuple[float, ...]


def expansion_size_px(augment, crop_px):
    """Side of the enlarged patch: crop_px * expansion_factor, truncated.

    One more where its difference from `crop_px` is odd, so that the centre crop is centred.
    """
    size_px = int(F32(crop_px) * F32(augment.expansion_factor))
    return size_px + (size_px - crop_px) % 2


def num_random_shifts(augment):
    """How many transforms take a random shift: the flip, the blurs, the rotations."""
    return int(augment.flip) + len(augment.blur_sigmas_px) + len(augment.rotations_deg)


def num_samples(augment):
    """How many samples the first frame gives, those of dropout included."""
    return 1 + len(augment.shifts) + num_random_shifts(augment) + augment.dropout_samples


def build_transforms(augment, crop_px, shift_uniforms) -> tuple[Transform, ...]:
    """The transforms of an `AugmentConfig`, in the order of the samples.

    Identity, relative shifts, flip, blurs, rotations. Dropout samples are not among them: they are
    made of features, and have the box of the identity.

    Args:
      augment: `AugmentConfig`. crop_px: side of the tracker's crop.
      shift_uniforms: [num_random_shifts(augment), 2] numbers in [0, 1), (y, x) per transform: the
        shift is (u - 0.5) * crop_px * random_shift_factor, truncated.

    Raises:
      ValueError: `shift_uniforms` has another shape.
    """
    uniforms = np.asarray(shift_uniforms, F32)
    expected = (num_random_shifts(augment), 2)
    if uniforms.shape != expected:
        raise ValueError(
            f"shift_uniforms has shape {uniforms.shape}, expected {expected}: one (y, x) for each "
            "flip, blur and rotation, see num_random_shifts"
        )
    relative = np.asarray(augment.shifts, F32).reshape(-1, 2) * (F32(crop_px) / F32(2))
    random = (uniforms - F32(0.5)) * F32(crop_px) * F32(augment.random_shift_factor)

    changes: list[tuple[Kind, tuple[float, ...]]] = [("flip", ())] if augment.flip else []
    changes += [("blur", tuple(sigmas_yx)) for sigmas_yx in augment.blur_sigmas_px]
    changes += [("rotate", (math.radians(degrees),)) for degrees in augment.rotations_deg]
    return (
        Transform("identity", (0, 0), ()),
        *(Transform("shift", _truncated(shift_yx), ()) for shift_yx in relative),
        *(
            Transform(kind, _truncated(shift_yx), parameters)
            for (kind, parameters), shift_yx in zip(changes, random, strict=True)
        ),
    )


def apply_transforms(patch, transforms, output_px):
    """The samples of the first frame.

    Args:
      patch: [E, E, 3] float32, the enlarged patch, E = `expansion_size_px`.
      transforms: n of `Transform`. output_px: side of a sample.

    Returns:
      [n, output_px, output_px, 3] float32, in the range of the patch.

    Raises:
      ValueError: a transform of unknown kind, or a blur with sigma <= 0.
    """
    samples = np.empty((len(transforms), output_px, output_px, patch.shape[2]), F32)
    for sample, transform in zip(samples, transforms, strict=True):
        changed = _change(patch, transform)
        start_yx = [
            -((output_px - extent) // 2) - shift
            for extent, shift in zip(changed.shape[:2], transform.shift_yx, strict=True)
        ]
        stop_yx = [start + output_px for start in start_yx]
        sample[...] = search_crops.cut_replicated(changed, start_yx, stop_yx)
    return samples


def moved(transforms, shift_yx):
    """The transforms, each with the same further shift [2] (crop pixels, truncated)."""
    return tuple(
        dataclasses.replace(
            t, shift_yx=_truncated(a + b for a, b in zip(t.shift_yx, shift_yx, strict=True))
        )
        for t in transforms
    )


def box_shift_xy(transform):
    """What a transform adds to the (left, top) of the target's box: [2] float32, crop pixels."""
    shift_y, shift_x = transform.shift_yx
    return np.array((shift_x, shift_y), F32)


def _truncated(shift_yx):
    y, x = shift_yx
    return int(y), int(x)


def _change(patch, transform):
    match transform.kind:
        case "identity" | "shift":
            return patch
        case "flip":
            return patch[:, ::-1]
        case "blur":
            kernel_y, kernel_x = (gaussian(sigma) for sigma in transform.parameters)
            # Zeros, not the replicated border: the outermost pixels become darker.
            return cv2.sepFilter2D(patch, -1, kernel_x, kernel_y, borderType=cv2.BORDER_CONSTANT)
        case "rotate":
            return _rotate(patch, *transform.parameters)
    raise ValueError(
        f"transform kind {transform.kind!r}: expected one of {', '.join(Kind.__args__)}"
    )


def gaussian(sigma_px):
    """The kernel of a blur, of sum 1: [2 H + 1] float32 with H = ceil(2 sigma).

    Raises:
      ValueError: sigma is not positive.
    """
    if not sigma_px > 0:
        raise ValueError(f"blur sigma {sigma_px} px: expected > 0; leave the blur out instead")
    half = math.ceil(2 * sigma_px)
    x = np.arange(-half, half + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (x / sigma_px) ** 2)
    return (weights / weights.sum()).astype(F32)


def _rotate(patch, angle):
    height, width = patch.shape[:2]
    center_xy = np.array((width - 1, height - 1)) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array(((cos, sin), (-sin, cos)))
    affine = np.column_stack((rotation, center_xy - rotation @ center_xy))
    return cv2.warpAffine(
        patch, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
