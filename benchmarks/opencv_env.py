"""The environment of OpenCV's trackers (opencv-contrib-python), and jobs that run in it.

opencv-contrib-python and the opencv-python of this project install the same module `cv2` over each
other, so the trackers get a virtual environment of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dimp_jax.evaluation.images import InputError

WORKER = Path(__file__).with_name("opencv_worker.py")
REQUIREMENT = "opencv-contrib-python>=5.0"
MARKER = "made_by_dimp_jax_baselines"  # a file of the environments that may be installed into


def default_env() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "dimp_jax" / "baselines"


def python_of(env) -> Path:
    """The interpreter of a virtual environment."""
    return Path(env) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(env, trackers, *, console) -> dict:
    """Makes the environment unless it is there, and returns the worker's `describe`.

    Raises:
      InputError: it cannot be made (no network), or its OpenCV lacks one of `trackers`.
    """
    env = Path(env).expanduser()
    found = _describe(env)
    if found is None:
        _check_may_install(env)
        with console.status(f"installing {REQUIREMENT} in {env} (once)"):
            _install(env)
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
            raise InputError(f"{where}: {_last_line(done.stderr) or f'exit {done.returncode}'}")
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


def _check_may_install(env):
    """Refuses folders that are not ours: installing there could break what is in them."""
    if env.is_file() or (env.is_dir() and any(env.iterdir()) and not (env / MARKER).is_file()):
        raise InputError(
            f"{env}: exists, but is no environment with OpenCV's trackers: run `{python_of(env)} "
            f'-m pip install "{REQUIREMENT}"` if it is a virtual environment, or choose another '
            "--env"
        )


def _install(env):
    try:
        env.mkdir(parents=True, exist_ok=True)
        (env / MARKER).touch()
    except OSError as error:
        raise InputError(f"{env}: cannot be written ({error.strerror})") from error
    create = [sys.executable, "-m", "venv", str(env)]
    install = [str(python_of(env)), "-m", "pip", "install", "--disable-pip-version-check"]
    for command in (create, [*install, REQUIREMENT]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = _last_line(done.stderr or done.stdout)
            raise InputError(
                f"cannot install {REQUIREMENT} for the baselines ({why}): with a network, run "
                f'`{" ".join(create)} && {" ".join(install[:4])} "{REQUIREMENT}"`, or give --env '
                "an environment that has it"
            )


def _last_line(text):
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
