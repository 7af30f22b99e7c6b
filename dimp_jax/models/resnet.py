"""ResNet-18 and ResNet-50 up to layer3 (stride 16), as in torchvision (He et al., 2016, v1.5)."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.feature_maps import resumed
from dimp_jax.models.layers import ConvNorm, Numerics, remat_block

WIDTHS = (64, 128, 256)
DEPTHS = {"resnet18": 18, "resnet50": 50}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
    """3x3, 3x3 and the shortcut."""

    width: int
    numerics: Numerics
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool = False):
        y = ConvNorm(self.width, self.numerics, stride=self.stride, name="conv1")(x, train)
        y = ConvNorm(self.width, self.numerics, activation=None, name="conv2")(y, train)
        return nn.relu(y + shortcut(self, x, y, train))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, and the shortcut."""

    width: int
    numerics: Numerics
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool = False):
        y = ConvNorm(self.width, self.numerics, 1, name="conv1")(x, train)
        y = ConvNorm(self.width, self.numerics, stride=self.stride, name="conv2")(y, train)
        y = ConvNorm(4 * self.width, self.numerics, 1, activation=None, name="conv3")(y, train)
        return nn.relu(y + shortcut(self, x, y, train))


def shortcut(block, x, y, train):
    """The identity, or a strided 1x1 convolution where the shape changes."""
    if x.shape == y.shape:
        return x
    return ConvNorm(
        y.shape[-1], block.numerics, 1, block.stride, activation=None, name="downsample"
    )(x, train)


# The kind of block and their number in layer1, layer2 and layer3, by the network's depth.
BLOCKS = {18: (BasicBlock, (2, 2, 2)), 50: (Bottleneck, (3, 4, 6))}


def parts(depth: int) -> tuple[str, ...]:
    """What is computed one after the other; each is a module and a map of this name."""
    counts = BLOCKS[depth][1]
    blocks = (f"layer{level}_{i}" for level, count in enumerate(counts, 1) for i in range(count))
    return ("conv1", *blocks)


def taps(depth: int) -> dict[str, str]:
    """The part that ends each of the levels that a tracker uses."""
    counts = BLOCKS[depth][1]
    return {f"layer{level}": f"layer{level}_{counts[level - 1] - 1}" for level in (2, 3)}


def unit_stride_3x3(depth: int) -> dict[tuple[str, str], int]:
    """The 3x3 convolutions of stride 1, as (block, layer), and the stride of their maps."""
    layers = ("conv1", "conv2") if depth == 18 else ("conv2",)
    blocks = [(int(part[5]), part) for part in parts(depth)[1:]]
    return {
        (block, layer): 2 ** (level + 1)
        for level, block in blocks
        for layer in layers
        if not (level > 1 and block.endswith("_0") and layer == layers[0])
    }


def max_pool(x):
    """Maxima of 3x3 cells with stride 2, x [N, H, W, C] >= 0: along one axis after the other.

    Three times as fast as XLA's own on a CPU (`benchmarks.convolutions`).
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # 0 is never above a maximum
    rows, cols = ((size - 3) // 2 + 1 for size in x.shape[1:3])
    x = functools.reduce(jnp.maximum, (x[:, i : i + 2 * rows - 1 : 2] for i in range(3)))
    return functools.reduce(jnp.maximum, (x[:, :, i : i + 2 * cols - 1 : 2] for i in range(3)))


class ResNet(nn.Module):
    """Returns the maps `conv1` (/2), those of all blocks, `layer2` (/8) and `layer3` (/16)."""

    depth: int  # 18 or 50
    numerics: Numerics

    @nn.compact
    def __call__(self, x, train: bool = False):
        """x: [N, H, W, 3], normalised by `IMAGENET_MEAN` and `IMAGENET_STD`, or `FeatureMaps`."""
        block, counts = BLOCKS[self.depth]
        block, stem = (remat_block(part, self.numerics) for part in (block, ConvNorm))
        maps, x, done = resumed(x, parts(self.depth))
        if "conv1" not in done:
            x = maps["conv1"] = stem(64, self.numerics, 7, 2, name="conv1")(x, train)
        if len(done) < 2:
            x = max_pool(x)
        for level, (width, count) in enumerate(zip(WIDTHS, counts, strict=True), start=1):
            for index in range(count):
                name = f"layer{level}_{index}"
                if name not in done:
                    stride = 2 if level > 1 and index == 0 else 1
                    x = maps[name] = block(width, self.numerics, stride, name=name)(x, train)
        maps |= {name: maps[part] for name, part in taps(self.depth).items() if part in maps}
        return maps
