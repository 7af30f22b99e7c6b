"""The cache that lets a second process start without compiling."""

import contextlib
import functools
import logging
import math
import os
import re
import sys
import warnings

from dimp_jax.host import files

DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '(?P<program>\w+)'")
_log = logging.getLogger(__name__)


def enable_cache() -> None:
    """Keeps compiled programs in ~/.cache/dimp_jax; JAX_COMPILATION_CACHE_DIR has precedence.

    Where no such folder can be made they are not kept. Traced programs lie in there, too
    (`host.traced`).
    """
    import jax  # takes seconds: callers check their input first

    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = files.cache_folder("jax")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # For what may only be read: nothing compiles for so long. jax would warn of each program.
    least_s = 0.1 if os.access(folder, os.W_OK) else math.inf
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_s)
    warnings.showwarning = functools.partial(_show_warning, folder, warnings.showwarning)


def _show_warning(folder, show, message, *args, **kwargs):
    """Removes what jax warns of as damaged and would leave there: it keeps what it compiles now."""
    damaged = DAMAGED.match(str(message))
    if damaged is None:
        return show(message, *args, **kwargs)
    _log.warning("%s: %s is damaged, and made anew", folder, damaged["program"])
    for path in folder.glob(f"{damaged['program']}-*"):
        with contextlib.suppress(OSError):
            path.unlink()


def missing_device() -> str | None:
    """What to say where jax does not find the kind of device that was asked for; else None."""
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter without a word
        said = f" ({error})" if str(error) else ""
        return (
            f"JAX_PLATFORMS={jax.config.jax_platforms}: jax finds no such device{said}: unset it, "
            "or install the jax of that device"
        )
    return None
