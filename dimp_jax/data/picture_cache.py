"""A bounded memory of what was computed or decoded last."""

import functools
import threading
from collections import OrderedDict


class BoundedCache:
    """Keeps the values used last, up to a total size; safe among threads, empty when unpickled.

    Args:
      limit: total size to keep; the newest value is kept even if it is larger alone.
      in_bytes: sizes are the values' `nbytes`; without it each counts as 1.
    """

    def __init__(self, limit, *, in_bytes=True):
        self._limit, self._in_bytes = limit, in_bytes
        self._values = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def get(self, key, make):
        """The value of `key`; ``make()`` computes it where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()  # outside the lock: two threads may both compute it, and get the same
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._total += self._size(value)
            while self._total > self._limit and len(self._values) > 1:
                _, dropped = self._values.popitem(last=False)
                self._total -= self._size(dropped)
        return value

    def _size(self, value):
        return value.nbytes if self._in_bytes else 1

    def __reduce__(self):
        return functools.partial(BoundedCache, in_bytes=self._in_bytes), (self._limit,)
