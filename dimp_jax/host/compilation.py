"""The cache that lets a second process start without compiling."""

import os
from pathlib import Path


def enable_cache() -> None:
    """Keeps compiled programs in ~/.cache/dimp_jax; JAX_COMPILATION_CACHE_DIR has precedence."""
    import jax  # takes seconds: callers check their input first

    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "dimp_jax" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
