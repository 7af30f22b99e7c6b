"""Where figures were taken. Imports no jax: that takes seconds."""

import os
import platform
from pathlib import Path


def machine() -> dict:
    """Processor, cores and Python; `load` is the mean number of running programs at the start."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "machine": _processor(),
        "cores": cores,
        "load": load,
        "python": platform.python_version(),
    }


def has_tpu() -> bool:
    """Are there devices by which TPUs are reached? With /dev/vfio it may be something else."""
    devices = Path("/dev")
    return any(devices.glob("accel*")) or any(devices.glob("vfio/[0-9]*"))


def busy_notice(here: dict) -> str | None:
    """A warning if other programs were running when `here` was taken by `machine`."""
    if here["load"] is None or here["load"] < 0.5:
        return None
    return (
        f"load {here['load']:g} on {here['cores']} cores: other programs run here, so frames/s are "
        "not what this machine can do"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
