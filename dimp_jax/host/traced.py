"""Traced programs, kept beside the compiled ones: the next process need not trace them again.

An entry is a program of `jax.export`: what jax makes of a Python function before it compiles it. By
that program jax itself finds the compiled form (`compilation.enable_cache`), so that nothing here
depends on flags of the compiler.
"""

import functools
import hashlib
import importlib.metadata
import logging
import os
import sys
from pathlib import Path

import jax
from jax import export

from dimp_jax.host import files

# Options of jax by which the same function is traced into another program.
OPTIONS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)
# With these somebody looks for errors, or has chosen a device: the function itself is wanted.
PLAIN = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs", "jax_default_device")
DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


def kept(function, made_from: str):
    """`function`, for `jax.jit`, which then reads its traced program instead of tracing it.

    What it computes is the same, bit for bit. It cannot be transformed any more (`jax.vmap`,
    `jax.grad`); `inspect.unwrap` gives what can. A missing, damaged or outdated entry is made anew.
    Where nothing can be kept it is `function` itself: without a cache of compiled programs, or
    after a change of the package's files in a running process.

    Args:
      function: of pytrees of arrays; keyword arguments are static.
      made_from: all that it depends on beside its arguments and the source of this package.
    """

    @functools.wraps(function)
    def traced(*args, **static):
        whole = functools.partial(function, **static)
        folder = _folder()
        if folder is None or _sources() is None:
            return whole(*args)
        leaves, structure = jax.tree.flatten(args)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        described = (made_from, sorted(static.items()), structure, shapes, *_surroundings())
        key = hashlib.sha256(repr(described).encode()).hexdigest()
        path = folder / f"{function.__name__}-{key}"
        program = _read(path)
        if program is None:
            jitted, specs = jax.jit(whole), jax.tree.unflatten(structure, shapes)
            jitted.trace(*specs)  # once: what is raised below is not of the function
            try:
                program = export.export(
                    jitted, disabled_checks=[export.DisabledSafetyCheck.platform()]
                )(*specs)
                data = program.serialize()
            except (NotImplementedError, TypeError, ValueError) as error:  # no form on disk
                _log.info("%s is not kept: %s", function.__name__, error)
                return whole(*args)
            _write(path, data)
        return program.call(*args)

    return traced


def _folder() -> Path | None:
    """Where the entries lie; None where nothing is kept."""
    config = jax.config
    compiled = config.jax_compilation_cache_dir
    if not compiled or not config.jax_enable_compilation_cache or "://" in compiled:
        return None
    return None if any(getattr(config, name) for name in PLAIN) else Path(compiled) / "traced"


def _surroundings() -> tuple:
    """What a traced program depends on beside the function."""
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")]
    devices = (jax.default_backend(), jax.devices()[0].device_kind)
    return (versions, devices, [getattr(jax.config, name) for name in OPTIONS])


@functools.cache
def _sources() -> bytes | None:
    """Digest of the files of this package; None if this process may have loaded others."""
    sha = hashlib.sha256()
    package = sys.modules["dimp_jax"]  # not imported: it imports the tracker
    paths = sorted(Path(package.__file__).parent.rglob("*.py"))
    for path in paths:
        if path.stat().st_mtime > package.IMPORTED_S:
            return None
        sha.update(path.read_bytes())
    return sha.digest() if paths else None


def _digest(path: Path, sources: bytes, program: bytes) -> bytes:
    """Of an entry; with its name, so that it counts under no other."""
    return hashlib.sha256(path.name.encode() + sources + program).digest()


def _read(path: Path):
    """The program of a whole entry of these sources, or None."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    sources, digest = data[:DIGEST_BYTES], data[DIGEST_BYTES : 2 * DIGEST_BYTES]
    program = data[2 * DIGEST_BYTES :]
    if _digest(path, sources, program) != digest:
        _log.warning("%s is damaged, and made anew", path)
        return None
    return export.deserialize(bytearray(program)) if sources == _sources() else None


def _write(path: Path, program: bytes) -> None:
    sources = _sources.__wrapped__()  # once more: files may have changed while this one was traced
    if sources is None or sources != _sources():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as partial:
            partial.write_bytes(sources + _digest(path, sources, program) + program)
    except OSError as error:  # the next process traces, too
        _log.info("%s is not kept: %s", path, os.strerror(error.errno or 0))
