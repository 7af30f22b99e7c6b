"""The filter initialiser with its two linear parts in the other order: pooled, then convolved.

The box can be pooled from the features first, once for every tap of the kernel and averaged over
the images; of the convolution one small matmul is left. The same filter but for rounding, with some
20 times fewer operations. And mapped over kernels it is a matmul, where XLA's CPU backend runs a
mapped convolution as a grouped one, many times slower than one after the other.
"""

import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.classifier import FilterInitializer
from dimp_jax.models.roi_pool import axis_weights, xywh_to_xyxy


def initial_filter(kernel, bias, feat, box_xywh, filter_cells: int, stride_px: int):
    """As `FilterInitializer`.

    Args:
      kernel: [k, k, C, C], k odd. bias: [C].
      feat: [N, H, W, C]. box_xywh: [N, 4] crop pixels.

    Returns:
      [K, K, C].
    """
    n, height, width, channels = feat.shape
    k = kernel.shape[0]
    box = xywh_to_xyxy(box_xywh) / stride_px
    along_y = axis_weights(box[:, 1], box[:, 3], filter_cells, height)  # [N, K, H]
    along_x = axis_weights(box[:, 0], box[:, 2], filter_cells, width)
    taps_y, taps_x = (_shifted(w, k).reshape(n, k * filter_cells, -1) for w in (along_y, along_x))
    rows = taps_y @ feat.reshape(n, height, width * channels)
    rows = rows.reshape(n, k * filter_cells, width, channels)
    pooled = jnp.einsum("njx,nixc->ijc", taps_x, rows) / n
    pooled = pooled.reshape(k, filter_cells, k, filter_cells, channels)
    filt = jnp.einsum("aibjc,abco->ijo", pooled, kernel)
    # Outside the map there is no bias either.
    covered = jnp.einsum("ni,nj->ij", along_y.sum(-1), along_x.sum(-1)) / n
    return filt + covered[..., None] * bias[None, None]


def _shifted(weights, k):
    """[N, K, S] to [N, k, K, S]: what tap t of a zero-padded convolution pools from its input."""
    size, pad = weights.shape[-1], k // 2
    padded = jnp.pad(weights, ((0, 0), (0, 0), (k, k)))
    starts = [k + pad - tap for tap in range(k)]
    return jnp.stack([padded[..., start : start + size] for start in starts], axis=1)


def instead():
    """A context in which `FilterInitializer` computes that way, with the same parameters."""
    return nn.intercept_methods(_intercept)


def _intercept(call, args, kwargs, context):
    module = context.module
    if not isinstance(module, FilterInitializer) or context.method_name != "__call__":
        return call(*args, **kwargs)
    conv = module.variables["params"]["conv"]
    sizes = (module.filter_size_cells, module.stride_px)
    return initial_filter(conv["kernel"], conv["bias"], *args, *sizes, **kwargs)
