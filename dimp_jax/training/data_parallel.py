"""Data parallelism over all devices of all hosts: `jax.pmap`, or `jax.shard_map` behind it.

Both run the same step body, with the state replicated and the batch split; both give and take the
same state (without a leading device axis), so a checkpoint knows nothing of the backend.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"
BACKENDS = ("pmap", "shard_map")


class Placement(NamedTuple):
    """Puts host data where the mapped functions want it; nothing is copied or compiled again."""

    # Host-local numpy [local B, ...] of a batch pytree -> arrays on the devices. Asynchronous: call
    # it for the next batch while a step runs.
    batch: Callable
    state: Callable  # numpy of a state pytree, the same in every process -> replicated arrays


def placement(backend: str, devices=None) -> Placement:
    """The placement of batches and states for `data_parallel` with the same arguments.

    Raises:
      ValueError: unknown backend; on use, a local batch that does not divide over the devices.
    """
    _check_backend(backend)
    local = _local(devices)
    # With pmap every process maps over its own devices and holds whole arrays of them.
    mesh = Mesh(np.array(local), (AXIS,)) if backend == "pmap" else _global_mesh(devices)
    shards, replicated = NamedSharding(mesh, P(AXIS)), NamedSharding(mesh, P())
    if backend == "pmap":
        split = lambda x: x.reshape(len(local), -1, *x.shape[1:])
        put = lambda x: jax.device_put(split(np.asarray(x)), shards)
        replicate = lambda x: jax.device_put(np.asarray(x), replicated)
    else:
        put = lambda x: jax.make_array_from_process_local_data(shards, np.asarray(x))
        replicate = lambda x: jax.make_array_from_process_local_data(replicated, np.asarray(x))

    def place_batch(batch):
        for leaf in jax.tree.leaves(batch):
            if np.ndim(leaf) == 0 or np.shape(leaf)[0] % len(local):
                raise ValueError(
                    f"batch: an array of shape {np.shape(leaf)} does not divide over "
                    f"{len(local)} local devices along its first axis"
                )
        return jax.tree.map(put, batch)

    return Placement(place_batch, lambda state: jax.tree.map(replicate, state))


def data_parallel(step, backend: str, *, returns_state: bool = True, devices=None):
    """Maps `step` over the devices.

    Args:
      step: ``(state, batch) -> (state, metrics)``, made for the axis name `AXIS`: its results must
        be the same on every device. With `returns_state` False: ``(state, batch) -> metrics``.
      backend: "pmap" or "shard_map".
      returns_state: the state that goes in is donated: its buffers are used for the new one.
      devices: None for all devices of all processes.

    Returns:
      The mapped function, for arguments from the `placement` of the same backend and devices.

    Raises:
      ValueError: unknown backend.
    """
    _check_backend(backend)
    donated = (0,) if returns_state else ()
    if backend == "pmap":
        return jax.pmap(
            step,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,
            donate_argnums=donated,
            devices=devices,
        )
    # With check_vma, shard_map itself sums the gradients of replicated parameters; the step's own
    # mean would then leave them too large by the number of devices.
    mapped = jax.shard_map(
        step,
        mesh=_global_mesh(devices),
        in_specs=(P(), P(AXIS)),
        out_specs=P(),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donated)


def to_host(state):
    """numpy copies of a replicated state, in every process and for both backends.

    Copies, not views: a view of a buffer would change when the buffer is donated.
    """
    own = lambda x: x.addressable_shards[0].data if isinstance(x, jax.Array) else x
    return jax.tree.map(lambda x: np.array(own(x)), state)


def check_global_batch(global_batch: int, accumulate: int = 1, device_count: int | None = None):
    """Raises ValueError unless the global batch divides over devices and micro-batches.

    Args:
      device_count: None for all devices of all processes.
    """
    devices = jax.device_count() if device_count is None else device_count
    if accumulate < 1:
        raise ValueError(f"accumulate={accumulate}: expected 1 or more")
    unit = devices * accumulate
    if global_batch >= 1 and global_batch % unit == 0:
        return
    below = global_batch // unit * unit
    nearest = [str(n) for n in (below, below + unit) if n > 0]
    micro = f" x {accumulate} micro-batches" if accumulate > 1 else ""
    raise ValueError(
        f"global_batch={global_batch} does not divide over {devices} devices{micro}; "
        f"nearest: {' or '.join(nearest)}"
    )


def _local(devices):
    if devices is None:
        return jax.local_devices()
    return [d for d in devices if d.process_index == jax.process_index()]


def _global_mesh(devices):
    return Mesh(np.array(jax.devices() if devices is None else devices), (AXIS,))


def _check_backend(backend: str):
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: expected one of {', '.join(BACKENDS)}")
