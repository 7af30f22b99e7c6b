"""Layers: convolutions with batch normalisation, and how it is folded away."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dimp_jax.models.convolutions import depthwise, plain, pointwise, window, winograd
from dimp_jax.models.mixed_precision import full_precision

# N(0, 2 / (k k out)): the backbones, classifier features and filter initialiser.
fan_out_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# Kaiming normal: the IoU network.
fan_in_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
depthwise_init = nn.initializers.variance_scaling(
    2.0, "fan_out", "normal", in_axis=(), out_axis=(), batch_axis=(2, 3)
)


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How layers compute, the same for a whole network."""

    folded: bool = False  # batch norms are already folded into the convolutions
    dtype: jnp.dtype = jnp.float32  # of activations; parameters are float32
    precision: str | None = None  # of products and convolutions; None: jax's own setting
    norm_eps: float = 1e-5
    norm_momentum: float = 0.9  # share of the running statistics that is kept
    norm_axis: str | None = None  # pmap axis over which batch statistics are averaged
    # Paths of modules ("backbone", "backbone/layer1_0") whose batch norms never use or move batch
    # statistics, also in training.
    frozen: tuple[str, ...] = ()
    remat: bool = False  # stem and blocks keep their input alone for the backward pass


def is_under(path: str, prefixes) -> bool:
    """Whether a module path is one of `prefixes` or inside one: "a/b" is under "a", not "a/bc"."""
    return any(path == p or path.startswith(f"{p}/") for p in prefixes)


def remat_block(block, numerics: "Numerics"):
    """A module class called with (x, train), rematerialised if `numerics` says so."""
    return nn.remat(block, static_argnums=(2,)) if numerics.remat else block  # 0 is self


class Conv(nn.Module):
    """Convolution of NHWC images in the form that is fast for its kernel.

    The kernel is the parameter `kernel`, or `winograd`: what `winograd.transform_kernel` gives.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: window.Padding = "torch"
    use_bias: bool = False
    depthwise: bool = False
    dtype: jnp.dtype = jnp.float32
    precision: str | None = None
    kernel_init: Callable = fan_out_init

    @nn.compact
    def __call__(self, x):
        x = self._convolved(x.astype(self.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            x = x + bias.astype(self.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return x

    def _convolved(self, x):
        if self.has_variable("params", "winograd"):
            if not self._is_3x3_of_stride_1():
                raise ValueError(f"{'/'.join(self.path)}: Winograd's form is for 3x3 of stride 1")
            return winograd.convolve_transformed(
                x, self.get_variable("params", "winograd"), self.precision
            )
        inputs = 1 if self.depthwise else x.shape[-1]
        shape = (self.kernel_size, self.kernel_size, inputs, self.features)
        # A depthwise kernel has one output a group: its fan-out is k k, as in EfficientNet.
        init = depthwise_init if self.depthwise else self.kernel_init
        kernel = self.param("kernel", init, shape, jnp.float32).astype(self.dtype)
        pads = window.pad_amounts(x.shape[1:3], self.kernel_size, self.stride, self.padding)
        if self.depthwise:
            return depthwise.convolve(x, kernel, self.stride, pads)
        if self.kernel_size == 1:
            return pointwise.convolve(x, kernel, self.stride, self.precision)
        if self._is_3x3_of_stride_1() and winograd.pays(x):
            return winograd.convolve(x, kernel, self.precision)
        return plain.convolve(x, kernel, self.stride, pads, self.precision)

    def _is_3x3_of_stride_1(self):
        return (self.kernel_size, self.stride, self.padding) == (3, 1, "torch")


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last.

    Unlike `nn.BatchNorm`, the running variance is the unbiased one, as in the published networks.
    """

    numerics: Numerics
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x, train: bool = False):
        features = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, features, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        frozen = is_under("/".join(self.path), self.numerics.frozen)
        if train and not frozen and not self.is_initializing():
            axes = tuple(range(x.ndim - 1))
            values = full_precision(x)
            batch_mean, batch_var = values.mean(axes), values.var(axes)
            count = x.size // x.shape[-1]
            if self.numerics.norm_axis is not None:
                axis = self.numerics.norm_axis
                # Exact for any means, in one collective: no difference of large squares.
                means, variances = jax.lax.all_gather((batch_mean, batch_var), axis)
                batch_mean = means.mean(0)
                batch_var = (variances + (means - batch_mean[None]) ** 2).mean(0)
                count = count * jax.lax.axis_size(axis)
            keep = self.numerics.norm_momentum
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = keep * mean.value + (1 - keep) * batch_mean
            var.value = keep * var.value + (1 - keep) * unbiased
        else:
            batch_mean, batch_var = mean.value, var.value
        gain = scale * jax.lax.rsqrt(batch_var + self.numerics.norm_eps)
        row = lambda v: v.reshape((1,) * (x.ndim - 1) + (-1,)).astype(x.dtype)
        return (x - row(batch_mean)) * row(gain) + row(bias)


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation. Folded: convolution with bias, activation."""

    features: int
    numerics: Numerics
    kernel_size: int = 3
    stride: int = 1
    padding: window.Padding = "torch"
    use_bias: bool = False
    depthwise: bool = False
    activation: Callable | None = nn.relu
    kernel_init: Callable = fan_out_init
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.padding,
            self.use_bias or self.numerics.folded,
            self.depthwise,
            self.numerics.dtype,
            self.numerics.precision,
            self.kernel_init,
            name="conv",
        )(x)
        if not self.numerics.folded:
            x = BatchNorm(self.numerics, self.scale_init, name="norm")(x, train)
        return x if self.activation is None else self.activation(x)


class LinearNorm(nn.Module):
    """Linear layer with bias, batch norm, ReLU. Folded: linear layer, ReLU."""

    features: int
    numerics: Numerics
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Dense(
            self.features,
            dtype=self.numerics.dtype,
            precision=self.numerics.precision,
            kernel_init=fan_in_init,
            name="linear",
        )(x)
        if not self.numerics.folded:
            x = BatchNorm(self.numerics, self.scale_init, name="norm")(x, train)
        return nn.relu(x)


def fold_batch_norm(params, batch_stats, eps: float):
    """Folds every batch norm (evaluation mode) into the convolution or linear layer before it.

    In numpy: on the device every shape would be compiled for one multiplication.

    Args:
      params, batch_stats: nested dicts; a node with a `norm` child has one of `conv`, `linear`.
      eps: that of the batch norms below this node.

    Returns:
      params without `norm` nodes, for a network with `Numerics(folded=True)`.
    """
    if not isinstance(params, dict):
        return params
    if "norm" not in params:
        return {k: fold_batch_norm(v, batch_stats.get(k, {}), eps) for k, v in params.items()}
    (layer,) = set(params) - {"norm"}
    scale, bias = params["norm"]["scale"], params["norm"]["bias"]
    mean, var = batch_stats["norm"]["mean"], batch_stats["norm"]["var"]
    gain = scale / np.sqrt(var + eps)
    kernel = params[layer]["kernel"]
    offset = params[layer].get("bias", 0.0) - mean
    shape = (1,) * (kernel.ndim - 1) + (-1,)
    return {layer: {"kernel": kernel * gain.reshape(shape), "bias": bias + offset * gain}}
