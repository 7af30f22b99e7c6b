"""Which processes join which: by arguments, and as launchers of clusters say."""

import importlib.util
import os

import jax
import pytest

from dimp_jax.host import distributed, machine


@pytest.fixture
def initialized(monkeypatch):
    """Calls of `jax.distributed.initialize`, on a machine that is part of no cluster."""
    calls = []
    monkeypatch.setattr(
        jax.distributed,
        "initialize",
        lambda *args, **options: calls.append((*args, *options.items())),
    )
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TPU_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine, "has_tpu", lambda: False)
    return calls


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "t1k-0,t1k-1"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-4]"}, True),
        ({"SLURM_NTASKS": "4"}, False),  # a shell inside an allocation
    ],
)
def test_clusters_are_found(initialized, monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.initialize_distributed() is expected
    assert initialized == ([()] if expected else [])
    assert not distributed.initialize_distributed(auto=False)


@pytest.mark.parametrize(("tasks", "ids"), [("2", range(8)), ("16", None)])
def test_the_only_task_of_a_node_has_all_its_gpus(initialized, monkeypatch, tasks, ids):
    environment = {"NTASKS": tasks, "STEP_NODELIST": "n[1-2]", "GPUS_ON_NODE": "8"}
    environment |= {"STEP_NUM_TASKS": tasks, "STEP_NUM_NODES": "2"}
    for name, value in environment.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert distributed.initialize_distributed()
    assert initialized == ([(("local_device_ids", ids),)] if ids else [()])


@pytest.mark.parametrize(
    ("environment", "packages", "asked"),
    [
        ({}, ["libtpu"], True),  # the metadata server knows, and jax asks it
        ({"JAX_PLATFORMS": "tpu,cpu"}, ["libtpu"], True),
        ({"JAX_PLATFORMS": "cpu"}, ["libtpu"], False),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, ["libtpu"], False),
        ({}, [], False),
    ],
)
def test_a_host_with_tpus_asks(initialized, monkeypatch, environment, packages, asked):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in packages)
    monkeypatch.setattr(machine, "has_tpu", lambda: True)
    assert not distributed.initialize_distributed()  # this one is alone
    assert initialized == ([()] if asked else [])


def test_explicit_arguments(initialized):
    assert distributed.initialize_distributed("host:1234", 2, 1)
    assert not distributed.initialize_distributed("host:1234", 1, 0)
    assert initialized == [("host:1234", 2, 1), ("host:1234", 1, 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("host:1", None, 0), "coordinator=host:1, process_id=0 without num_processes: give all"),
        ((None, 2, None), "num_processes=2 without coordinator, process_id"),
        (("host", 2, 0), "coordinator='host': expected HOST:PORT"),
        (("host:x", 2, 0), "expected HOST:PORT"),
        (("host:1", 2, 2), "process_id=2 of num_processes=2: expected 0 <= process_id < num"),
        (("host:1", 0, 0), "num_processes=0"),
    ],
)
def test_bad_arguments(initialized, arguments, message):
    with pytest.raises(ValueError, match=message):
        distributed.initialize_distributed(*arguments)
    assert not initialized
