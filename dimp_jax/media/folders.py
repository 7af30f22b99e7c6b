"""The one place that lists folders of data, without what operating systems leave in them."""

import os
from pathlib import Path

LEFT_BY_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"}


def listed(folder, pattern="*") -> list[Path]:
    """What is in a folder, sorted; no hidden things (`._1.png`, `.DS_Store`, `Thumbs.db`).

    Nothing, if there is no such folder.
    """
    paths = Path(folder).iterdir() if Path(folder).is_dir() else ()
    return sorted(path for path in paths if path.match(pattern) and not is_hidden(path.name))


def name_of(folder) -> str:
    """Its last part; "." and ".." have one, too."""
    return os.path.basename(os.path.abspath(folder))


def is_hidden(name) -> bool:
    """Whether operating systems leave files and folders of that name."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS
