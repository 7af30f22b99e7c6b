"""Files and folders that appear whole, or not at all."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path


@contextlib.contextmanager
def whole(path):
    """Gives a path beside `path` for a file or folder, which moves to `path` when the block ends.

    An error takes away what was written; a process that is killed leaves it, and a later one is not
    in its way. A file replaces the one of its name, a folder an empty one.
    """
    path = Path(path).absolute()
    # Several hosts may write the same file of a shared folder.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def write_atomically(path, text):
    """Writes `text` under `path`, so that at no time a part of it can be read there."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
