"""The cache that lets a second process start without compiling."""

from dimp_jax.host import files


def enable_cache() -> None:
    """Keeps compiled programs in ~/.cache/dimp_jax; JAX_COMPILATION_CACHE_DIR has precedence."""
    import jax  # takes seconds: callers check their input first

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(files.cache_folder("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
