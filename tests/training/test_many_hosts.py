"""Four processes of two virtual devices train on a built data set: one is killed, one sees another
folder; all of them end, and what goes on has the bits of an uninterrupted run."""

import signal
import socket
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from dimp_jax.checkpoints import run
from dimp_jax.data.build import __main__ as build
from dimp_jax.evaluation import demo
from dimp_jax.media.images import InputError
from tests.support import ROOT
from tests.training.test_loop import CONFIG, digests, environment, records  # noqa: F401
from tests.training.test_multihost import free_port

pytestmark = [pytest.mark.long, pytest.mark.slow]
PROCESSES, STEPS = 4, 24
PATIENCE_S = 400


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A real video as a built data set: the demo's frames before the target is hidden."""
    try:
        clip = demo.load()
    except InputError as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("data")
    folder = root / "videos" / "cyclist"
    (folder / "img").mkdir(parents=True)
    boxes = []
    for number, ((_, image), box) in enumerate(zip(clip.frames, clip.groundtruth, strict=True), 1):
        cv2.imwrite(str(folder / "img" / f"{number:04d}.jpg"), image[..., ::-1])
        boxes.append(",".join(f"{value:.2f}" for value in box))
    (folder / "groundtruth.txt").write_text("\n".join(boxes))
    argv = ["sequence_folder", "--source", str(root / "videos"), "--out", str(root / "built")]
    assert build.main([*argv, "--name", "clip", "--workers", "1"]) == 0
    return root / "built"


class Hosts:
    """The processes of a run; `with` ends them."""

    def __init__(self, variables, folder, workdirs, *options):
        folder.mkdir(exist_ok=True)
        flags = f"{variables['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
        given = ("--distributed.coordinator", f"127.0.0.1:{free_port()}")
        given += ("--distributed.num-processes", str(PROCESSES), "--training.global-batch", "8")
        self.logs = [folder / f"log{index}.txt" for index in range(PROCESSES)]
        self.processes = []
        for index, (log, workdir) in enumerate(zip(self.logs, workdirs, strict=True)):
            command = [sys.executable, str(ROOT / "train.py"), str(CONFIG), "--workdir"]
            command += [str(workdir), *given, "--distributed.process-id", str(index), *options]
            with log.open("w") as stream:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env=variables | {"XLA_FLAGS": flags},
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                    )
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def ends(self):
        """The exit statuses, once all have ended."""
        until = time.monotonic() + PATIENCE_S
        return [process.wait(until - time.monotonic()) for process in self.processes]

    @property
    def said(self):
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in self.logs)


def options_for(data_dir):
    return (
        *("--data-dir", str(data_dir), "--training.data.sources", "clip", "1"),
        *("--training.data.validation-sources", "clip", "1"),
        *("--training.total-steps", str(STEPS), "--training.save-every", "8"),
    )


def test_a_killed_process_ends_all_and_all_go_on_to_the_bit(environment, data_dir, tmp_path):  # noqa: F811
    options = options_for(data_dir)
    with Hosts(environment, tmp_path / "a", [tmp_path / "whole"] * PROCESSES, *options) as hosts:
        assert hosts.ends() == [0] * PROCESSES, hosts.said
    broken = [tmp_path / "broken"] * PROCESSES
    with Hosts(environment, tmp_path / "b", broken, *options) as hosts:
        until = time.monotonic() + PATIENCE_S
        while not any(record["step"] >= 12 for record in records(broken[0])):
            assert time.monotonic() < until, hosts.said
            assert all(process.poll() is None for process in hosts.processes), hosts.said
            time.sleep(0.02)
        hosts.processes[2].send_signal(signal.SIGKILL)
        codes = hosts.ends()
    assert codes[2] == -signal.SIGKILL and 0 not in codes, hosts.said
    assert not (broken[0] / run.FOLDER / str(STEPS)).exists()
    with Hosts(environment, tmp_path / "c", broken, *options) as hosts:
        assert hosts.ends() == [0] * PROCESSES, hosts.said
        assert "from step " in hosts.said
    assert digests(broken[0], STEPS) == digests(tmp_path / "whole", STEPS)
    np.testing.assert_array_equal(
        *([r["loss"] for r in records(folder)] for folder in (broken[0], tmp_path / "whole"))
    )


def test_a_work_directory_that_one_host_does_not_see(environment, data_dir, tmp_path):  # noqa: F811
    workdirs = [tmp_path / "run"] * (PROCESSES - 1) + [tmp_path / "elsewhere" / "run"]
    options = options_for(data_dir)
    with Hosts(environment, tmp_path / "logs", workdirs, *options) as hosts:
        assert hosts.ends() == [2] * PROCESSES, hosts.said
    name = socket.gethostname()
    for log, workdir in zip(hosts.logs, workdirs, strict=True):
        (line,) = [line for line in log.read_text().splitlines() if "error" in line]
        assert line == (
            f"train.py: error: --workdir {workdir}: process 3 on {name} cannot see what process 0 "
            f"on {name} writes there: give a folder that all hosts share"
        )
    assert {p.name for p in workdirs[0].iterdir()} == {"card.json", "config.json", ".lock"}
    assert not workdirs[-1].exists()
