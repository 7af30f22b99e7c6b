"""Two processes of two virtual devices each give the parameters of one process with four."""

import socket
import subprocess
import sys

import numpy as np
import pytest

from dimp_jax.training import data_parallel
from tests.training.test_data_parallel import (
    WORKER,
    assert_same,
    environment_of,
    read_states,
    states_after,
)

TIMEOUT_S = 600


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_two(folder, case):
    """Starts both processes and waits; shows what they printed if one fails."""
    coordinator = f"127.0.0.1:{free_port()}"
    logs = [folder / f"log{index}.txt" for index in range(2)]
    processes = []
    for index, log in enumerate(logs):
        command = [sys.executable, *WORKER, str(folder / f"{index}.npz"), case]
        command += ["--distributed", coordinator, "2", str(index)]
        with log.open("w") as stream:
            processes.append(
                subprocess.Popen(
                    command, env=environment_of(2), stdout=stream, stderr=subprocess.STDOUT
                )
            )
    try:
        codes = [process.wait(TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shown = "\n".join(f"--- {log.name}\n{log.read_text()}" for log in logs)
    assert codes == [0, 0], shown
    return [read_states(folder / f"{index}.npz") for index in range(2)]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("backend", data_parallel.BACKENDS)
def test_two_processes_equal_one(tmp_path, backend):
    case = f"frozen:{backend}:4"
    (first,), (second,) = (states.values() for states in run_two(tmp_path, case))
    (expected,) = states_after(tmp_path / "one.npz", 4, "frozen:pmap:4").values()
    assert first["late compilations"] == 0
    assert_same(expected, first)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
