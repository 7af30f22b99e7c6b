"""The pictures of all objects in one temporary file, which the worker processes share."""

import os
import sys
import tempfile
import weakref

import numpy as np


class ObjectFile:
    """Images [h, w, 4] uint8 that are appended once and then read where they lie.

    The file has no name on Linux, so that nothing is left of it however the process ends. Pickles
    as its place, for processes of this machine that live no longer than the one that wrote it.
    """

    def __init__(self):
        on_linux = sys.platform == "linux"
        kind = tempfile.TemporaryFile if on_linux else tempfile.NamedTemporaryFile
        self._file = kind(prefix="dimp_jax_objects_")
        weakref.finalize(self, self._file.close)
        self._path = self._file.name
        if on_linux:
            self._path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self._bytes = None

    def append(self, rgba) -> int:
        """Writes an image; returns its place, for `read`."""
        place = self._file.tell()
        self._file.write(np.ascontiguousarray(rgba).data)
        return place

    def read(self, place: int, size_hw) -> np.ndarray:
        """[h, w, 4] uint8, read-only: the image of this size that was written at `place`."""
        if self._bytes is None:
            if self._file is not None:
                self._file.flush()
            self._bytes = np.memmap(self._path, np.uint8, "r")
        height, width = size_hw
        return np.asarray(self._bytes[place : place + 4 * height * width]).reshape(height, width, 4)

    def __getstate__(self):
        if self._file is not None:
            self._file.flush()
        return self._path

    def __setstate__(self, path):
        self._file, self._path, self._bytes = None, path, None
