"""Which convolutions of a tracked frame take Winograd's form, and their parameters for it."""

import jax
import numpy as np
from flax import traverse_util

from dimp_jax.config import ModelConfig
from dimp_jax.models import resnet
from dimp_jax.models.convolutions.winograd import transform_kernel

# Multiplications a tap and pixel of the crop from which it pays in a frame: the ResNets' have 256.
# dimp_lite0's have 144 at most: with them its frame is no faster.
LEAST_WORK = 200


def convolutions(model: ModelConfig) -> dict[tuple[str, ...], int]:
    """Paths of the 3x3 convolutions of stride 1 in every frame, and the stride of their maps."""
    found: dict[tuple[str, ...], int] = {("clf", "conv"): 16}
    for index in range(model.clf_blocks):
        found |= {("clf", f"block{index}", name, "conv"): 16 for name in ("conv1", "conv2")}
    for level, stride in ((3, 8), (4, 16)):
        found |= {("iou", f"conv{level}_{i}t", "conv"): stride for i in (1, 2)}
    depth = resnet.DEPTHS.get(model.backbone)
    if depth is not None:
        strides = resnet.unit_stride_3x3(depth)
        found |= {("backbone", *path, "conv"): stride for path, stride in strides.items()}
    return found


def transformed(model: ModelConfig, params):
    """Folded parameters (`dimp.fold`) with the kernels of `convolutions` in Winograd's form.

    They stay as they are where that form does not pay: small ones, on other backends than the CPU,
    whose own convolutions are fast, and in bfloat16, for which it is not exact enough.
    """
    if jax.default_backend() != "cpu" or model.compute_dtype != "float32":
        return params
    flat = traverse_util.flatten_dict(params)
    for path, stride in convolutions(model).items():
        if (*path, "kernel") in flat:  # heads may be missing
            kernel = np.asarray(flat[*path, "kernel"])
            if kernel.shape[2] * kernel.shape[3] >= LEAST_WORK * stride**2:
                del flat[*path, "kernel"]
                flat[*path, "winograd"] = transform_kernel(kernel)
    return traverse_util.unflatten_dict(flat)
