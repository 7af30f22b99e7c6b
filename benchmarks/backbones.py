"""Backbones on one 288x288 crop, as a tracker runs them, against their operations at the GEMM rate.

Operations are those of plain convolutions.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import figure, versus_gemm
from dimp_jax import config
from dimp_jax.host.operations import count_flops
from dimp_jax.models import dimp, winograd_layers

AIM = 1.5  # of the time at the GEMM rate, for ResNet-50


def network(name: str):
    """(module, its variables, those of a tracker on this machine), freshly initialised."""
    model = config.load(name).model
    folded = dimp.fold(model, dimp.init_variables(model, jax.random.key(0)))
    fast = {"params": winograd_layers.transformed(model, folded["params"])}
    return dimp.DiMP(model, folded=True), folded, jax.device_put(fast)


def backbone(net):
    """The two maps that a tracker uses."""

    def run(variables, inputs):
        maps = net.apply(variables, inputs, method="features")
        return maps["layer2"], maps["layer3"]

    return run


def figures():
    inputs = np.random.default_rng(0).standard_normal((1, 288, 288, 3))
    inputs = jnp.asarray(inputs, jnp.float32)
    for name in ("dimp18", "dimp50", "dimp_lite0"):
        net, folded, fast = network(name)
        run = backbone(net)
        flops = count_flops(run, folded, inputs)
        ratio, measured_s = versus_gemm(jax.jit(run), fast, inputs, flops=flops)
        yield figure(
            f"backbone of {name}",
            ratio,
            "x the time of its operations at the GEMM rate",
            aim=("at most", AIM) if name == "dimp50" else None,
            measured_ms=measured_s * 1e3,
            gflop=flops / 1e9,
        )
