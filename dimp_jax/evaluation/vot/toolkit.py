"""The VOT toolkit as another program: its environment, and running its commands.

The toolkit is GPL-3, so nothing of it is imported here. Only 0.7 can run supervised experiments of
trackers with one object (0.8 and 0.9 stop with an error), and attributee 0.1.10 cannot be imported
on Python 3.11: the `vot` extra of this package pins what works.
"""

import dataclasses
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from dimp_jax.host import environments, files
from dimp_jax.host.environments import Environment
from dimp_jax.media.images import InputError

PROBE = Path(__file__).with_name("probe.py")
MARKER = "made_by_dimp_jax_vot"  # a file of the environment that may be installed into
OPTION = "--toolkit-python"
PYTHON_PROTOCOL_SINCE = (0, 9)
TAIL_BYTES = 4000  # of the toolkit's messages that are kept for the error line
# The toolkit knows its cached analyses by the trackers' names alone, so it would show those of
# fewer repetitions; text results can be read without it.
SETTINGS = {"VOT_PERSISTENT_CACHE": "false", "VOT_RESULTS_BINARY": "false"}


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """An environment with a toolkit that can be used."""

    python: Path
    version: str
    stacks: Path  # the folder of the stacks that come with it

    def read_yaml(self, path):
        """Content of a YAML file, all scalars as str. Raises InputError: it cannot be read."""
        done = _run([str(self.python), "-I", str(PROBE), str(path)])
        if done.returncode != 0:
            raise InputError(environments.last_line(done.stderr))
        return json.loads(done.stdout)

    def run(self, *arguments, folder) -> tuple[int, str]:
        """Runs a command of the toolkit in `folder`; what it prints is shown.

        Returns:
          its exit status (it is 0 after most failures), and the end of what it wrote to stderr.
        """
        command = [str(self.python), "-I", "-m", "vot", *arguments]
        environment = os.environ | SETTINGS
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE)
        tail = b""
        with process:
            # Bytes as they come: the toolkit draws its progress without line feeds.
            while chunk := process.stderr.read1(TAIL_BYTES):
                sys.stderr.write(chunk.decode(errors="replace"))
                sys.stderr.flush()
                tail = (tail + chunk)[-TAIL_BYTES:]
        return process.returncode, tail.decode(errors="replace")


def ensure(python, protocol, *, console) -> Toolkit:
    """The toolkit of the interpreter `python`; None: of our own environment, made where missing.

    Raises:
      InputError: there is none, or one that cannot run `protocol` ("trax", "python").
    """
    if python is not None:
        # Not resolved: the interpreter of a virtual environment is a link to another one.
        python = Path(os.path.abspath(Path(python).expanduser()))
        found = describe(python)
        if found is None:
            raise InputError(f"{OPTION} {python}: is no Python interpreter")
    elif protocol == "python":
        raise InputError(
            f"--protocol python: needs {OPTION}, of an environment that has both dimp_jax and "
            "vot-toolkit >= 0.9, which starts the tracker in its own interpreter"
        )
    else:
        python, found = _own_environment(console)
    check(found, python, protocol)
    return Toolkit(python, found["toolkit"], Path(found["stacks"]))


def describe(python) -> dict | None:
    """What `probe.describe` finds there; None if `python` cannot be run."""
    try:
        return json.loads(_run([str(python), "-I", str(PROBE)]).stdout)
    except (OSError, ValueError):  # it does not start, or says something else
        return None


def check(found, python, protocol):
    """Raises InputError unless an environment that was described can run the protocol."""
    pins = " ".join(f'"{name}"' for name in requirements())
    install = f"`{python} -m pip install {pins}`"
    if found["toolkit"] is None:
        raise InputError(f"{python}: has no vot-toolkit: run {install}, or leave out {OPTION}")
    if numbers(found["attributee"] or "0") >= (0, 1, 10):
        raise InputError(
            f"{python}: attributee {found['attributee']} cannot be imported by the toolkit: run "
            f'`{python} -m pip install "attributee<0.1.10"`'
        )
    if found["google_trax"] is not None:
        raise InputError(
            f"{python}: has Google's trax {found['google_trax']}, whose module hides that of the "
            f"TraX protocol: run `{python} -m pip uninstall trax`, then {install}"
        )
    version = numbers(found["toolkit"])
    if protocol == "trax" and version[:2] != (0, 7):
        raise InputError(
            f"{python}: has vot-toolkit {found['toolkit']}, which cannot run supervised "
            f"experiments of trackers with one object: run {install}, or leave out {OPTION}"
        )
    if protocol == "python" and version < PYTHON_PROTOCOL_SINCE:
        raise InputError(
            f"{python}: has vot-toolkit {found['toolkit']}; --protocol python came with 0.9"
        )
    if protocol == "python" and not found["dimp_jax"]:
        raise InputError(
            f"{python}: has no dimp_jax, and --protocol python starts the tracker with this "
            "interpreter: install both into one environment"
        )


def requirements() -> tuple[str, ...]:
    """Those of the `vot` extra of this package, its only list of the pins."""
    declared = importlib.metadata.requires("dimp_jax") or []
    pairs = [line.partition(";") for line in declared]
    return tuple(name.strip() for name, _, marker in pairs if re.search(r"extra == .vot\b", marker))


def numbers(version) -> tuple[int, ...]:
    """(0, 7, 4) of "0.7.4"."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _own_environment(console):
    folder = files.cache_folder("vot-toolkit")
    what = "the VOT toolkit"
    environment = Environment(folder, requirements(), MARKER, what, OPTION)
    found = describe(environment.python)
    if found is None or found["toolkit"] is None:
        environments.make(environment, console=console)
        found = describe(environment.python)
        if found is None:
            raise InputError(f"{folder}: {what} was installed there, but its Python does not start")
    return environment.python, found


def _run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False)
