"""The first guess of the target filter (paper, "Initial Filter Prediction")."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.layers import Conv, fan_out_init
from dimp_jax.models.roi_pool import axis_weights, roi_pool, xywh_to_xyxy
from dimp_jax.predictor.precision import EXACT

KERNEL_SIZE = 3


class ConvParameters(nn.Module):
    """Kernel [k, k, C, C] and bias [C] of a convolution that somebody else computes."""

    features: int
    zero_init: bool

    @nn.compact
    def __call__(self):
        init = nn.initializers.zeros if self.zero_init else fan_out_init
        shape = (KERNEL_SIZE, KERNEL_SIZE, self.features, self.features)
        kernel = self.param("kernel", init, shape, jnp.float32)
        zeros = nn.initializers.zeros
        return kernel, self.param("bias", zeros, (self.features,), jnp.float32)


class FilterInitializer(nn.Module):
    """3x3 convolution, pooling of the target box, mean over the images.

    All three are linear. With `pool_first` they are done in the other order, see
    `pool_then_convolve`: the same filter but for rounding. The tracker keeps the published order,
    because 25 iterations from there are chaotic enough to tell the two apart.
    """

    filter_size_cells: int
    stride_px: int = 16
    zero_init: bool = False  # the first filter of a new network is zero (PrDiMP)
    pool_first: bool = False
    precision: str | None = None  # of the convolution

    @nn.compact
    def __call__(self, feat, box_xywh):
        """feat [N, H, W, C] and box_xywh [N, 4] in crop pixels -> filter [K, K, C]."""
        cells = self.filter_size_cells
        if self.pool_first:
            kernel, bias = ConvParameters(feat.shape[-1], self.zero_init, name="conv")()
            return pool_then_convolve(
                kernel, bias, feat, box_xywh, cells, self.stride_px, self.precision
            )
        init = nn.initializers.zeros if self.zero_init else fan_out_init
        conv = Conv(
            feat.shape[-1],
            KERNEL_SIZE,
            use_bias=True,
            precision=self.precision,
            kernel_init=init,
            name="conv",
        )
        pool = lambda f, b: roi_pool(f, b[None], cells, 1 / self.stride_px)[0]
        return jax.vmap(pool)(conv(feat), xywh_to_xyxy(box_xywh)).mean(0)


def pool_then_convolve(
    kernel, bias, feat, box_xywh, filter_cells: int, stride_px: int, precision=None
):
    """The mean over the images of the pooled convolution, with some 20 times fewer operations.

    The box is pooled from the features, once for every tap of the kernel, and averaged over the
    images; of the convolution one small matmul is left. Mapped over kernels it stays a matmul,
    where XLA's CPU backend would run a grouped convolution, slower than one after the other.

    Args:
      kernel: [k, k, C, C], k odd, padding k // 2. bias: [C].
      feat: [N, H, W, C]. box_xywh: [N, 4] crop pixels; one without area gives 0.
      precision: of the convolution; pooling is exact.

    Returns:
      [K, K, C].
    """
    n, height, width, channels = feat.shape
    k = kernel.shape[0]
    box = xywh_to_xyxy(box_xywh) / stride_px
    along_y = axis_weights(box[:, 1], box[:, 3], filter_cells, height)  # [N, K, H]
    along_x = axis_weights(box[:, 0], box[:, 2], filter_cells, width)
    taps_y, taps_x = (_shifted(w, k).reshape(n, k * filter_cells, -1) for w in (along_y, along_x))
    rows = jnp.matmul(taps_y, feat.reshape(n, height, width * channels), precision=EXACT)
    rows = rows.reshape(n, k * filter_cells, width, channels)
    pooled = jnp.einsum("njx,nixc->ijc", taps_x, rows, precision=EXACT) / n
    pooled = pooled.reshape(k, filter_cells, k, filter_cells, channels)
    filt = jnp.einsum("aibjc,abco->ijo", pooled, kernel, precision=precision)
    # Outside the map there is no bias either.
    covered = jnp.einsum("ni,nj->ij", along_y.sum(-1), along_x.sum(-1), precision=EXACT) / n
    return filt + covered[..., None] * bias[None, None]


def _shifted(weights, k):
    """[N, K, S] to [N, k, K, S]: what tap t of a zero-padded convolution pools from its input."""
    size, pad = weights.shape[-1], k // 2
    padded = jnp.pad(weights, ((0, 0), (0, 0), (k, k)))
    starts = [k + pad - tap for tap in range(k)]
    return jnp.stack([padded[..., start : start + size] for start in starts], axis=1)
