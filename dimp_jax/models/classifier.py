"""Features of the target classifier."""

import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.layers import Conv, Numerics
from dimp_jax.models.mixed_precision import full_precision
from dimp_jax.models.resnet import BasicBlock


def instance_l2_norm(x, scale: float, eps: float = 1e-5):
    """Scales each [H, W, C] map of x [N, H, W, C] to a mean square of ``scale ** 2``."""
    energy = jnp.sum(jnp.square(full_precision(x)), (1, 2, 3), keepdims=True)
    size = x.shape[1] * x.shape[2] * x.shape[3]
    return x * (scale * jnp.sqrt(size / (energy + eps))).astype(x.dtype)


class ClassifierFeatures(nn.Module):
    """`num_blocks` residual blocks, a 3x3 convolution, and the instance norm (behaviour 1.2)."""

    features: int
    num_blocks: int
    filter_size_cells: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x, train: bool = False):
        """[N, H, W, C'] backbone features of stride 16 -> [N, H, W, features] float32."""
        for index in range(self.num_blocks):
            x = BasicBlock(x.shape[-1], self.numerics, name=f"block{index}")(x, train)
        numerics = self.numerics
        x = Conv(self.features, dtype=numerics.dtype, precision=numerics.precision, name="conv")(x)
        scale = (self.features * self.filter_size_cells**2) ** -0.5
        return instance_l2_norm(full_precision(x), scale)
