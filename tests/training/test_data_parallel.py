"""Placement, mapping and refusals of both backends; equal results on 1, 4 and 8 devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dimp_jax.training import data_parallel

WORKER = ("-m", "tests.support.parallel_worker")  # from ROOT
TOLERANCE = 1e-5  # of each array's largest magnitude
ROUNDING = 1e-9  # in float64


@struct.dataclass
class State:
    step: jax.Array
    weight: jax.Array


def toy_step(state, batch):
    """Gradient descent on a least-squares problem, as `steps` does it: mean over the axis."""
    loss = lambda w: jnp.mean((batch["x"] @ w - batch["y"]) ** 2)
    value, grad = jax.value_and_grad(loss)(state.weight)
    value, grad = jax.lax.pmean((value, grad), data_parallel.AXIS)
    return State(state.step + 1, state.weight - 0.1 * grad), {"loss": value, "grad": grad}


def toy_batch(size=8):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((size, 3)).astype(np.float32)
    return {"x": x, "y": x @ np.array([1.0, -2.0, 3.0], np.float32)}


def toy_state():
    return State(np.int32(0), np.array([0.5, 0.5, 0.5], np.float32))


def plain_gradient(state, batch):
    return 2 * batch["x"].T @ (batch["x"] @ state.weight - batch["y"]) / len(batch["y"])


@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_gradient_is_the_mean_over_all_devices(backend, count):
    devices = jax.devices()[:count]
    place = data_parallel.placement(backend, devices)
    step = data_parallel.data_parallel(toy_step, backend, devices=devices)
    state, batch = toy_state(), toy_batch()
    after, metrics = step(place.state(state), place.batch(batch))
    np.testing.assert_allclose(metrics["grad"], plain_gradient(state, batch), rtol=1e-5)
    assert after.weight.shape == (3,) and metrics["loss"].shape == ()
    assert int(after.step) == 1 and after.step.dtype == jnp.int32


def test_check_vma_would_sum_the_gradients():
    """Why the backend turns it off: with it, the gradients are too large by the device count."""
    mesh = Mesh(np.array(jax.devices()), (data_parallel.AXIS,))
    specs = {"in_specs": (P(), P(data_parallel.AXIS)), "out_specs": P()}
    checked = jax.jit(jax.shard_map(toy_step, mesh=mesh, **specs))
    state, batch = toy_state(), toy_batch()
    _, metrics = checked(state, batch)
    expected = plain_gradient(state, batch) * jax.device_count()
    np.testing.assert_allclose(metrics["grad"], expected, rtol=1e-5)


@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
def test_nothing_compiles_after_the_first_step(backend):
    place = data_parallel.placement(backend)
    step = data_parallel.data_parallel(toy_step, backend)
    state, _ = step(place.state(toy_state()), place.batch(toy_batch()))
    compiled = []
    listener = lambda name, seconds, **_: compiled.append(name)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        state, _ = step(state, place.batch(toy_batch()))
        # A restored state is as good as one from a step.
        state, _ = step(place.state(data_parallel.to_host(state)), place.batch(toy_batch()))
        assert not [n for n in compiled if n.endswith("backend_compile_duration")]
        jax.jit(lambda x: x + jnp.float32(41))(jnp.ones(7))  # the listener does hear
        assert [n for n in compiled if n.endswith("backend_compile_duration")]
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert int(state.step) == 3


@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
def test_the_state_is_donated_and_its_source_untouched(backend):
    place = data_parallel.placement(backend)
    source = toy_state()
    placed = place.state(source)
    step = data_parallel.data_parallel(toy_step, backend)
    after, _ = step(placed, place.batch(toy_batch()))
    assert placed.weight.is_deleted()
    np.testing.assert_array_equal(source.weight, toy_state().weight)
    host = data_parallel.to_host(after)
    kept = host.weight.copy()
    jax.block_until_ready(step(after, place.batch(toy_batch())))
    np.testing.assert_array_equal(host.weight, kept)
    assert isinstance(host.weight, np.ndarray) and host.step.dtype == np.int32


@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
def test_evaluation_keeps_the_state(backend):
    place = data_parallel.placement(backend)
    metric = lambda state, batch: toy_step(state, batch)[1]
    evaluate = data_parallel.data_parallel(metric, backend, returns_state=False)
    placed, batch = place.state(toy_state()), place.batch(toy_batch())
    first, second = evaluate(placed, batch), evaluate(placed, batch)
    assert float(first["loss"]) == float(second["loss"]) and not placed.weight.is_deleted()


@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
def test_a_batch_that_does_not_divide_is_refused(backend):
    place = data_parallel.placement(backend)
    with pytest.raises(ValueError, match=r"shape \(6, 3\) does not divide over 4 local devices"):
        place.batch(toy_batch(6))


def test_unknown_backend():
    for function in (data_parallel.placement, lambda b: data_parallel.data_parallel(toy_step, b)):
        with pytest.raises(ValueError, match="backend='xmap': expected one of pmap, shard_map"):
            function("xmap")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 1, 4), "global_batch=10 does not divide over 4 devices; nearest: 8 or 12$"),
        ((26, 2, 8), "over 8 devices x 2 micro-batches; nearest: 16 or 32$"),
        ((3, 1, 4), "nearest: 4$"),
        ((0, 1, 4), "nearest: 4$"),
        ((-8, 1, 4), "global_batch=-8 does not"),
        ((8, 0, 4), "accumulate=0: expected 1 or more"),
        ((10,), "over 4 devices"),
    ],
)
def test_global_batch_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data_parallel.check_global_batch(*arguments)


def test_global_batch_accepted():
    for arguments in ((8,), (8, 2), (26, 1, 1), (32, 4, 8)):
        data_parallel.check_global_batch(*arguments)


def environment_of(devices):
    """Of a process with so many virtual devices: the last of two equal flags counts."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def states_after(path, devices, *cases):
    """Runs the worker on virtual devices; the states by case, {path in the state: array}."""
    command = [sys.executable, *WORKER, str(path), *cases]
    done = subprocess.run(command, env=environment_of(devices), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_states(path)


def read_states(path):
    states = {}
    with np.load(path) as archive:
        for key in archive.files:
            case, name = key.split("|")
            states.setdefault(case, {})[name] = archive[key]
    return states


def assert_same(state, other):
    """Parameters, both moments of Adam (the gradients, that is), statistics and metrics.

    To 1e-5 of the largest value of each array. The biases before batch norms have no gradient: what
    rounding gives them is far below `ROUNDING`, a millionth of an update.
    """
    assert state.keys() == other.keys()
    assert sum(".mu" in name and np.abs(value).max() > 1e-4 for name, value in state.items()) > 20
    for name, value in state.items():
        error = np.abs(value - other[name]).max()
        limit = TOLERANCE * np.abs(value).max() + ROUNDING
        assert error <= limit, f"{name}: off by {error:.3g}, more than {limit:.3g}"


@pytest.mark.slow
def test_1_4_and_8_devices_agree(tmp_path):
    """Two steps of the same global batch, with as many compilations as cases, in one process."""
    mapped = [f"{b}:{n}" for b, n in zip(data_parallel.BACKENDS, (4, 8), strict=True)]
    cases = ["cross_replica:jit:1", *(f"cross_replica:{m}" for m in mapped)]
    states = states_after(tmp_path / "states.npz", 8, *cases, "per_device:pmap:4")
    for case in cases:
        assert_same(states["cross_replica:jit:1"], states[case])
        assert states[case]["late compilations"] == 0
    # Own statistics of a quarter of the batch give another step, and one state all the same.
    own, whole = states["per_device:pmap:4"], states["cross_replica:jit:1"]
    assert own.keys() == whole.keys() and own["late compilations"] == 0
    assert all(np.isfinite(value).all() for value in own.values())
    # After the first step, in the first layer with a batch norm: the devices' means average to the
    # mean of all, their variances do not.
    norm = "[2]['iou']['conv3_1t']['norm']['{}']".format
    np.testing.assert_allclose(own[norm("mean")], whole[norm("mean")], rtol=1e-9)
    assert (own[norm("var")] != whole[norm("var")]).all()
    assert (own[norm("mean")] != 0).all()


@pytest.mark.long
@pytest.mark.slow
def test_the_other_counts_of_devices_agree(tmp_path):
    """pmap on 8 and shard_map on 4, for the cases above have them the other way round, and with
    running statistics."""
    cases = ["cross_replica:jit:1", "cross_replica:pmap:8", "cross_replica:shard_map:4"]
    cases += ["frozen:jit:1", "frozen:shard_map:8"]
    states = states_after(tmp_path / "states.npz", 8, *cases)
    for case in cases:
        assert_same(states[f"{case.split(':')[0]}:jit:1"], states[case])
        assert states[case]["late compilations"] == 0
