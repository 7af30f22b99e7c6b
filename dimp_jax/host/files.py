"""Files and folders that appear whole, or not at all; locks."""

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

_NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)  # of some network file systems


@contextlib.contextmanager
def alone(path, busy: Exception):
    """Holds the file `path` as a lock while the block runs; makes missing folders.

    A process that ends, in whatever way, lets go of it. The file stays: were it removed, one that
    has opened it already could hold it beside one that makes it anew. Where the system has no locks
    nothing is held.

    Args:
      busy: raised if the lock is held already.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            import fcntl  # Windows has none, and no such locks

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        except ImportError:
            pass
        yield


@contextlib.contextmanager
def whole(path, suffix=""):
    """Gives a path beside `path` for a file or folder, which moves to `path` when the block ends.

    An error takes away what was written; a process that is killed leaves it, and a later one is not
    in its way. A file replaces the one of its name, a folder an empty one.

    Args:
      suffix: of the path that is given, for those who look at it.

    Raises:
      OSError: with the name `path`, and never that of the part.
    """
    path = Path(path).absolute()
    # Several hosts may write the same file of a shared folder.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part{suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        named = error.filename is None or str(error.filename).startswith(str(partial))
        if named and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def write_atomically(path, text):
    """Writes `text` under `path`, so that at no time a part of it can be read there."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def cache_folder(name) -> Path:
    """~/.cache/dimp_jax/NAME; XDG_CACHE_HOME has precedence.

    Raises:
      OSError: the user has no home folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    if not cache:
        try:
            cache = Path.home() / ".cache"
        except RuntimeError as error:  # in a container, with a user that has no name there
            raise OSError("no home folder for caches: set HOME or XDG_CACHE_HOME") from error
    return Path(cache) / "dimp_jax" / name
