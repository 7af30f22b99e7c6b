"""Weights on disk: torch files read without torch, their names, and Orbax directories."""

import os


class CheckpointError(ValueError):
    """A file or directory of weights that cannot be used; the message names it and says why."""


def refuse_existing(path) -> None:
    """Raises CheckpointError if there is anything at `path`."""
    if os.path.lexists(path):
        raise CheckpointError(f"{path}: already exists; remove it or choose another name")
