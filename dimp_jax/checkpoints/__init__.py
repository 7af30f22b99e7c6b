"""Weights on disk: torch files read without torch, their names, and Orbax directories."""

import os

import numpy as np


class CheckpointError(ValueError):
    """A file or directory of weights that cannot be used; the message names it and says why."""


def refuse_existing(path) -> None:
    """Raises CheckpointError if there is anything at `path`."""
    if os.path.lexists(path):
        raise CheckpointError(f"{path}: already exists; remove it or choose another name")


def refuse_not_finite(tree, where, name="") -> None:
    """Raises CheckpointError if an array in nested dicts has a NaN or an infinity."""
    for key, value in tree.items():
        path = f"{name}/{key}" if name else key
        if isinstance(value, dict):
            refuse_not_finite(value, where, path)
        elif not np.isfinite(value).all():
            raise CheckpointError(f"{where}: {path} is not finite: a training that failed?")
