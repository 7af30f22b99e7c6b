"""Weights on disk: torch files read without torch, their names, and Orbax directories."""


class CheckpointError(ValueError):
    """A file or directory of weights that cannot be used; the message names it and says why."""
