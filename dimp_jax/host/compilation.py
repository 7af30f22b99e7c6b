"""The cache that lets a second process start without compiling."""

import sys

from dimp_jax.host import files


def enable_cache() -> None:
    """Keeps compiled programs in ~/.cache/dimp_jax; JAX_COMPILATION_CACHE_DIR has precedence.

    Where no such folder can be made they are not kept.
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
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


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
