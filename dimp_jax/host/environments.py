"""Virtual environments of our own, for programs whose packages must not meet those of this one."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from dimp_jax.host import terminal
from dimp_jax.media.images import InputError


@dataclasses.dataclass(frozen=True)
class Environment:
    """A virtual environment that is made where it is missing."""

    folder: Path
    requirements: tuple[str, ...]  # as pip takes them
    marker: str  # an empty file in the folders that may be installed into
    what: str  # is in it, for people: "OpenCV's trackers"
    option: str  # of the command that names another one

    @property
    def python(self) -> Path:
        return python_of(self.folder)

    @property
    def pip_arguments(self) -> str:
        """The requirements as one types them."""
        return " ".join(f'"{requirement}"' for requirement in self.requirements)


def python_of(folder) -> Path:
    """The interpreter of a virtual environment."""
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(environment: Environment, *, console):
    """Makes the environment, or installs again into one that an earlier call made.

    Raises:
      InputError: the folder holds something else, cannot be written, or pip failed (no network).
    """
    _check_may_install(environment)
    with terminal.status(console, f"installing {environment.what} in {environment.folder} (once)"):
        _install(environment)


def last_line(text) -> str:
    """What a failed program said last; empty if it said nothing."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _check_may_install(environment):
    """Refuses folders that are not ours: installing there could break what is in them."""
    folder = environment.folder
    ours = (folder / environment.marker).is_file()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not ours):
        raise InputError(
            f"{folder}: exists, but is no environment with {environment.what}: run "
            f"`{environment.python} -m pip install {environment.pip_arguments}` if it is a virtual "
            f"environment, or choose another {environment.option}"
        )


def _install(environment):
    folder = environment.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / environment.marker).touch()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    create = [sys.executable, "-m", "venv", str(folder)]
    install = [str(environment.python), "-m", "pip", "install"]
    quiet = [*install, "--disable-pip-version-check", *environment.requirements]
    for command in (create, quiet):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InputError(
                f"cannot install {environment.what} ({last_line(done.stderr or done.stdout)}): "
                f"with a network, run `{' '.join(create)} && {' '.join(install)} "
                f"{environment.pip_arguments}`, or give {environment.option} one that has it"
            )
