"""The environment of OpenCV's trackers (opencv-contrib-python), and jobs that run in it.

opencv-contrib-python and the opencv-python of this project install the same module `cv2` over each
other, so the trackers get a virtual environment of their own.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dimp_jax.host import environments
from dimp_jax.host.environments import Environment, python_of
from dimp_jax.media.images import InputError

WORKER = Path(__file__).with_name("opencv_worker.py")
REQUIREMENT = "opencv-contrib-python>=5.0"
MARKER = "made_by_dimp_jax_baselines"  # a file of the environments that may be installed into


def ensure(env, trackers, *, console) -> dict:
    """Makes the environment unless it is there, and returns the worker's `describe`.

    Raises:
      InputError: it cannot be made (no network), or its OpenCV lacks one of `trackers`.
    """
    env = Path(env).expanduser()
    found = _describe(env)
    if found is None:
        environment = Environment(env, (REQUIREMENT,), MARKER, "OpenCV's trackers", "--env")
        environments.make(environment, console=console)
        found = _describe(env)
        if found is None:
            raise InputError(f"{env}: OpenCV was installed there but cannot be imported")
    missing = [name for name in trackers if name not in found["trackers"]]
    if missing:
        raise InputError(
            f"{env}: OpenCV {found['opencv']} has no tracker {missing[0]}: give --env an "
            f"environment with {REQUIREMENT}, or leave it out of --trackers"
        )
    return found


def run_job(env, job: dict, *, worker=WORKER) -> dict:
    """Runs the worker on one job (`opencv_worker.run`) and checks what it returns.

    Raises:
      InputError: the worker failed, or its result is not one box and one time a frame.
    """
    where = f"{job['tracker']}, {Path(job['images'][0]).parent}"
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("job.json", "result.json")]
        paths[0].write_text(json.dumps(job), encoding="utf-8")
        command = [str(python_of(Path(env).expanduser())), "-I", str(worker), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InputError(
                f"{where}: {environments.last_line(done.stderr) or f'exit {done.returncode}'}"
            )
        result = json.loads(paths[1].read_text(encoding="utf-8"))
    boxes, seconds = np.array(result["boxes"], float), np.array(result["seconds"], float)
    count = len(job["images"])
    if boxes.shape != (count, 4) or seconds.shape != (count,) or not np.isfinite(boxes).all():
        raise InputError(f"{where}: {boxes.shape} boxes, {seconds.shape} times for {count} frames")
    return result | {"boxes": boxes, "seconds": seconds}


def _describe(env):
    """The worker's `describe`; None if there is no environment with OpenCV."""
    if not python_of(env).is_file():
        return None
    command = [str(python_of(env)), "-I", str(WORKER), "--describe"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None
