"""How batches get from the loader's workers to their parent: shared memory that is used again.

New shared memory for every batch, as grain would have it, costs a worker 1 ms for a sample of six
crops of 256 px, ten times as long as stacking the samples: its pages are cleared and mapped anew.
"""

import time
from multiprocessing import shared_memory
from typing import NamedTuple

import numpy as np

from dimp_jax.config.training import DataConfig
from dimp_jax.data.samples import sample_shapes
from dimp_jax.data.source import Sample

SLOTS = 2  # of a worker: one is written while the other waits to be read
_CLOSED = SLOTS  # the byte after those that say which slots are full
_ALIGN = 64
_POLL_S = 0.001


_worker: int | None = None  # number of this process, if it is a worker


def become_worker(number: int):
    """Called in a worker, before its first batch."""
    global _worker
    _worker = number


class Ticket(NamedTuple):
    """What a worker hands over instead of a batch."""

    worker: int
    slot: int


class BatchSlots:
    """The memory of all workers. Owned by the parent; its workers get it pickled.

    Args:
      data: its crops and proposals say how large a sample is.
      batch: samples of a batch.
      workers: how many.
    """

    def __init__(self, data: DataConfig, batch: int, workers: int):
        self._places, self._slot_bytes = _layout(data, batch)
        size = _ALIGN + SLOTS * self._slot_bytes
        self._memories = [
            shared_memory.SharedMemory(create=True, size=size) for _ in range(workers)
        ]
        self._next = 0

    def __getstate__(self):
        names = [memory.name for memory in self._memories]
        return {**self.__dict__, "_memories": names}

    def write(self, samples) -> Ticket:
        """Stacks samples into the next slot, as soon as that has been read."""
        memory = self._memories[_worker]
        if isinstance(memory, str):
            memory = self._memories[_worker] = shared_memory.SharedMemory(memory)
        slot, self._next = self._next, (self._next + 1) % SLOTS
        while memory.buf[slot] and not memory.buf[_CLOSED]:
            time.sleep(_POLL_S)
        for arrays, out in zip(zip(*samples, strict=True), self._views(memory, slot), strict=True):
            np.stack(arrays, out=out, casting="no")
        memory.buf[slot] = 1
        return Ticket(_worker, slot)

    def read(self, ticket: Ticket) -> Sample:
        """The batch, copied; its slot is free then."""
        memory = self._memories[ticket.worker]
        batch = Sample(*(np.array(view) for view in self._views(memory, ticket.slot)))
        memory.buf[ticket.slot] = 0
        return batch

    def close(self):
        """Lets workers go on that wait, for them to end; no batch can be read after it."""
        for memory in self._memories:
            memory.buf[_CLOSED] = 1
            memory.close()
            memory.unlink()
        self._memories = []

    def _views(self, memory, slot):
        start = _ALIGN + slot * self._slot_bytes
        return [
            np.ndarray(shape, dtype, memory.buf, start + offset)
            for offset, shape, dtype in self._places
        ]


def _layout(data, batch):
    """[(offset, shape, dtype)] of the arrays of a batch, and the bytes that they take."""
    places, offset = [], 0
    for shape, dtype in sample_shapes(data, batch):
        places.append((offset, shape, dtype))
        size = int(np.prod(shape)) * dtype.itemsize
        offset += -(-size // _ALIGN) * _ALIGN
    return places, offset
