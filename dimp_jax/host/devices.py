"""`dimp-jax devices`: what jax computes on here, and whether it does.

The same command on every host of a pod or cluster, started as a training is, shows whether they
find each other.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import tyro

from dimp_jax.host import command_line, compilation, distributed, machine, terminal

UNUSABLE = 1
GIB = 2**30
# What a float32 product is computed in where nothing else is asked for.
DEFAULT_PRODUCTS = {
    "cpu": "float32",
    "gpu": "TF32 on NVIDIA cards since Ampere",
    "tpu": "operands rounded to bfloat16",
}
CUDA_13_DRIVER = 580  # the oldest major version that runs it
CUDA_PACKAGES = ("jax_cuda13_plugin", "jax_cuda12_plugin")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Shows what jax computes on: devices and their memory, processes, precision, caches, cores.

    Each device runs a small program. Exit status 1: one cannot, or there is an accelerator that jax
    does not use.
    """

    distributed: command_line.Distributed = command_line.Distributed()


def main(argv=None, prog="python -m dimp_jax.host.devices") -> int:
    """Exit status: 0; 1 if a device cannot be used; 2 for bad input, after a line on stderr."""
    answered = command_line.command(prog, ValueError)
    return answered(lambda: run(tyro.cli(Arguments, args=argv, prog=prog)))()


def run(args: Arguments) -> int:
    """Prints the report of this process; returns the exit status."""
    # To look must not take the memory from a program that runs there.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    compilation.enable_cache()
    distributed.initialize_distributed(**dataclasses.asdict(args.distributed))
    lines, errors = report(jax)
    console, to_stderr = terminal.console(), terminal.console(stderr=True)
    for line in lines:
        terminal.print_line(console, line)
    for line in errors:
        terminal.print_line(to_stderr, line)
    return UNUSABLE if errors else 0


def report(jax) -> tuple[list[str], list[str]]:
    """(lines that say what there is, lines that say what cannot be used)."""
    process, count = jax.process_index(), jax.process_count()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib"))
    backend = jax.default_backend()
    lines = [f"{versions}, Python {sys.version.split()[0]}, backend {backend}"]
    lines.append(f"process {process} of {count}, {jax.device_count()} devices in all")
    errors = []
    for device in jax.local_devices():
        lines.append(f"  {device.id}: {device.device_kind}{_memory(device)}")
        try:
            _compute(jax, device)
        except Exception as error:  # jax documents none; the drivers' are of many kinds
            said = str(error).splitlines() or [type(error).__name__]
            errors.append(f"device {device.id} cannot compute: {said[0]}")
    if count > 1 and not errors:
        lines.append(f"  processes that answered: {_answers(jax)} of {count}")
    asked = jax.config.jax_default_matmul_precision or "default"
    default = DEFAULT_PRODUCTS.get(backend, "as the backend likes")
    means = f" ({default})" if asked == "default" else ""
    lines.append(f"float32 products: {asked}{means}")
    lines.append(f"compiled programs: {jax.config.jax_compilation_cache_dir or 'are not kept'}")
    lines.append(f"CPU cores for this process: {machine.machine()['cores']}")
    unused = unused_accelerator(jax.config.jax_platforms) if backend == "cpu" else None
    return lines, errors + ([unused] if unused else [])


def unused_accelerator(platforms: str | None) -> str | None:
    """What to do about an accelerator of this machine, where jax has the CPU alone.

    Args:
      platforms: what JAX_PLATFORMS says, as jax has read it.
    """
    gpus, driver = nvidia_gpus()
    tpu = any(Path("/dev").glob("accel*"))  # not vfio, which may be something else
    if not gpus and not tpu:
        return None
    what = ", ".join(sorted(set(gpus))) or "a TPU"
    found = f"{what} is here, but jax uses the CPU"
    if platforms:
        return f"{found}: JAX_PLATFORMS={platforms} says so; unset it"
    packages = CUDA_PACKAGES if gpus else ("libtpu",)
    installed = [name for name in packages if importlib.util.find_spec(name)]
    if installed:
        return f"{found}: {installed[0]} is installed, but does not start; jax has said why"
    if not gpus:
        return f'{found}: install the extra tpu, or pip install "jax[tpu]"'
    if driver and int(driver.partition(".")[0]) < CUDA_13_DRIVER:
        return (
            f'{found}: pip install "jax[cuda12]"; its driver, {driver}, is too old for the extra '
            f"cuda, which needs {CUDA_13_DRIVER}"
        )
    return f'{found}: install the extra cuda, or pip install "jax[cuda13]"'


def nvidia_gpus() -> tuple[list[str], str | None]:
    """(names of the cards, version of the driver), as nvidia-smi says, which may not be there."""
    seen = ["an NVIDIA GPU"] * len(list(Path("/dev").glob("nvidia[0-9]*")))
    if not shutil.which("nvidia-smi"):
        return seen, None
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return seen, None
    rows = [line.rpartition(", ") for line in done.stdout.splitlines()]
    if done.returncode != 0 or not all(name and version[:1].isdigit() for name, _, version in rows):
        return seen, None
    return [name for name, _, _ in rows], rows[0][2] if rows else None


def _memory(device) -> str:
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return ""  # the CPU's is the machine's
    used, limit = stats.get("bytes_in_use", 0) / GIB, stats["bytes_limit"] / GIB
    return f", {limit:.1f} GiB for jax, {used:.1f} in use"


def _compute(jax, device):
    """A product and a convolution: each needs libraries that may not fit the driver."""
    ones = jax.device_put(jax.numpy.ones((1, 8, 8, 8)), device)

    def program(x):
        product = x.reshape(8, 64) @ x.reshape(64, 8)
        kernel = jax.numpy.ones((3, 3, 8, 8))
        dimensions = ("NHWC", "HWIO", "NHWC")
        convolved = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=dimensions
        )
        return product.max(), convolved.max()

    found = [float(value) for value in jax.jit(program)(ones)]
    if found != [64.0, 72.0]:
        raise RuntimeError(f"64 and 72 expected, got {found}")


def _answers(jax) -> int:
    from jax.experimental import multihost_utils

    return len(set(multihost_utils.process_allgather(jax.process_index()).tolist()))


if __name__ == "__main__":
    raise SystemExit(main())
