"""EfficientNet-Lite0: ReLU6, no squeeze-and-excitation, TensorFlow's SAME padding."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.feature_maps import resumed
from dimp_jax.models.layers import ConvNorm, Numerics, remat_block

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.99
STRIDE8_BLOCK, STRIDE16_BLOCK = 4, 10  # the last blocks of 40 and of 112 channels
# What is computed one after the other up to stride 16; each is a module and a map of this name.
PARTS = ("stem", *(f"block{index}" for index in range(STRIDE16_BLOCK + 1)))
TAPS = {"layer2": f"block{STRIDE8_BLOCK}", "layer3": f"block{STRIDE16_BLOCK}"}


class Stage(NamedTuple):
    """Inverted residual blocks of one width."""

    repeats: int
    kernel_size: int
    stride: int
    expansion: int
    features: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def block_specs() -> list[Stage]:
    """All 16 blocks in order, one entry (with repeats 1) a block."""
    specs = []
    for stage in STAGES:
        specs.append(stage._replace(repeats=1))
        specs += [stage._replace(repeats=1, stride=1)] * (stage.repeats - 1)
    return specs


class MBConv(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise, linear 1x1 projection."""

    spec: Stage
    numerics: Numerics

    @nn.compact
    def __call__(self, x, train: bool = False):
        spec, inputs = self.spec, x.shape[-1]
        wide = inputs * spec.expansion
        y = x
        if spec.expansion != 1:
            y = ConvNorm(wide, self.numerics, 1, activation=nn.relu6, name="expand")(y, train)
        y = ConvNorm(
            wide,
            self.numerics,
            spec.kernel_size,
            spec.stride,
            padding="same",
            depthwise=True,
            activation=nn.relu6,
            name="depthwise",
        )(y, train)
        y = ConvNorm(spec.features, self.numerics, 1, activation=None, name="project")(y, train)
        return x + y if x.shape == y.shape else y


class EfficientNetLite0(nn.Module):
    """Returns the maps `stem`, `block0` ... and, as the trackers know them, `layer2` and `layer3`.

    `num_blocks` 11 ends at stride 16, which is all that a tracker needs; 16 with `num_classes` is
    the whole classifier and adds `logits`.
    """

    numerics: Numerics
    num_blocks: int = STRIDE16_BLOCK + 1
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x, train: bool = False):
        """x: [N, H, W, 3] in (RGB - 127) / 128, or `FeatureMaps` to go on from."""
        block, stem = (remat_block(part, self.numerics) for part in (MBConv, ConvNorm))
        maps, x, done = resumed(x, PARTS)
        if not done:
            x = stem(32, self.numerics, 3, 2, padding="same", activation=nn.relu6, name="stem")(
                x, train
            )
            maps["stem"] = x
        for index, spec in enumerate(block_specs()[: self.num_blocks]):
            if f"block{index}" not in done:
                x = block(spec, self.numerics, name=f"block{index}")(x, train)
                maps[f"block{index}"] = x
        maps |= {name: maps[part] for name, part in TAPS.items() if part in maps}
        if self.num_classes is not None:
            x = ConvNorm(1280, self.numerics, 1, activation=nn.relu6, name="head")(x, train)
            maps["logits"] = nn.Dense(
                self.num_classes, precision=self.numerics.precision, name="fc"
            )(jnp.mean(x, (1, 2)))
        return maps
