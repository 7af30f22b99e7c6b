"""What a training costs, computed from its traced step: not measured on any accelerator.

python -m benchmarks.cost_model dimp18 dimp50

Operations and bytes are those of the matrix products and convolutions of the whole step (forward,
backward, update), each operand and result moved once. A step's time is the larger of operations at
`EFFICIENCY` of the peak and bytes at `EFFICIENCY` of the memory rate; the all-reduce of the
gradients is set beside it.
"""

import json
import sys

import jax
import jax.numpy as jnp

from benchmarks.measure import plain_convolutions
from dimp_jax import config as configs
from dimp_jax.data import samples
from dimp_jax.data.source import Sample
from dimp_jax.host.operations import count_bytes, count_flops
from dimp_jax.models.dimp import init_variables
from dimp_jax.training import optim, steps

EFFICIENCY = 0.35  # of peak; an assumption, typical of convolution networks of this size
# Vendors' data sheets: dense FLOP/s in bfloat16 and in float32 as JAX multiplies it by default
# (TF32 on these GPUs, bfloat16 passes on TPUs), bytes/s of memory, bytes/s between devices.
ACCELERATORS = {
    "NVIDIA A100 80 GB": (312e12, 156e12, 2.0e12, 600e9),
    "NVIDIA H100 SXM": (989e12, 495e12, 3.35e12, 900e9),
    "NVIDIA H200": (989e12, 495e12, 4.8e12, 900e9),
    "NVIDIA RTX 4090": (165e12, 82e12, 1.0e12, 32e9),
    "TPU v4": (275e12, 275e12, 1.2e12, 300e9),
    "TPU v5e": (197e12, 197e12, 0.82e12, 200e9),
    "TPU v5p": (459e12, 459e12, 2.77e12, 600e9),
}

KINDS = {  # a part of what jax calls the device
    "A100": "NVIDIA A100 80 GB",
    "H100": "NVIDIA H100 SXM",
    "H200": "NVIDIA H200",
    "RTX 4090": "NVIDIA RTX 4090",
    "TPU v4": "TPU v4",
    "TPU v5 lite": "TPU v5e",
    "TPU v5e": "TPU v5e",
    "TPU v5p": "TPU v5p",
}


def row_of(device_kind: str) -> str | None:
    """The row of `ACCELERATORS` of a `jax.Device.device_kind`, None where there is none."""
    return next((row for part, row in KINDS.items() if part in device_kind), None)


def sample_shapes(config: configs.Config, batch: int) -> Sample:
    """Shapes and types of a batch of samples."""
    arrays = samples.sample_shapes(config.training.data, batch)
    return Sample(*(jax.ShapeDtypeStruct(*array) for array in arrays))


def least_s(flops: float, bytes_moved: float, peak: float, memory: float) -> tuple[float, float]:
    """Seconds that the operations and that the bytes take, at `EFFICIENCY` of the rates."""
    return flops / (peak * EFFICIENCY), bytes_moved / (memory * EFFICIENCY)


def cost(config: configs.Config, device_batch: int) -> dict:
    """Operations, bytes and sizes of one step of `device_batch` sequences on one device."""
    variables = jax.eval_shape(lambda: init_variables(config.model, jax.random.key(0)))
    state = jax.eval_shape(lambda v: steps.init_state(v, config), variables)
    step, batch = steps.make_train_step(config), sample_shapes(config, device_batch)
    trained, _ = optim.split(variables["params"], config.training.optim.frozen)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    held = lambda tree: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    itemsize = jnp.dtype(config.model.compute_dtype).itemsize
    with plain_convolutions():
        flops = count_flops(step, state, batch)
        moved = count_bytes(step, state, batch, itemsize=itemsize)
    return {
        "device_batch": device_batch,
        "parameters": count(variables["params"]),
        "trained_parameters": count(trained),
        "step_flops": flops,
        "step_bytes": moved,
        "all_reduce_bytes": 4 * count(trained),
        "state_bytes": held(state),
        "batch_bytes": held(batch),
    }


def hours(config: configs.Config, costs: dict, accelerator: str, devices: int) -> dict:
    """Computed time of a step and of the whole training, with all its samples.

    The published batch is spread over the devices, rounded up to a batch that divides.
    """
    training, sampler = config.training, config.training.data.sampler
    in_bfloat16, in_float32, memory, link = ACCELERATORS[accelerator]
    peak = in_bfloat16 if config.model.compute_dtype == "bfloat16" else in_float32
    device_batch = -(-training.global_batch // devices)
    share = device_batch / costs["device_batch"]
    step = share * costs["step_flops"], share * costs["step_bytes"]
    compute_s, memory_s = least_s(*step, peak, memory)
    reduce_s = 2 * (devices - 1) / devices * costs["all_reduce_bytes"] / link
    step_s = max(compute_s, memory_s) + reduce_s
    samples = training.total_steps * training.global_batch
    global_batch = device_batch * devices
    return {
        "accelerator": accelerator,
        "devices": devices,
        "global_batch": global_batch,
        "bound": "compute" if compute_s > memory_s else "memory",
        "step_ms": 1e3 * step_s,
        "all_reduce_ms": 1e3 * reduce_s,
        "crops_per_s": global_batch * (sampler.train_frames + sampler.test_frames) / step_s,
        "hours": samples / global_batch * step_s / 3600,
    }


def main(names) -> int:
    for name in names or ["dimp18", "dimp50"]:
        config = configs.load(name)
        costs = cost(config, device_batch=2)
        print(json.dumps({"config": name, "computed": True, **costs}))
        for accelerator in ACCELERATORS:
            for devices in (1, 8):
                line = hours(config, costs, accelerator, devices)
                rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in line.items()}
                print(json.dumps({"config": name, "computed": True, **rounded}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
