"""Batches of training samples from `grain`; batch k is a function of (seed, k) alone.

Sample j of batch k is drawn from (seed, k * global_batch + j), whoever reads it: the number of
workers, hosts and devices changes nothing, and a run resumes at any step without a reader's state.
"""

import functools
import os
import re
import signal
import weakref
from contextlib import nullcontext

import grain
from absl import flags

from dimp_jax.config.training import DataConfig
from dimp_jax.data.batch_slots import BatchSlots, become_worker
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.samples import BrokenFrames, check_config, make_sample
from dimp_jax.data.source import Sample
from dimp_jax.data.sources import open_sources
from dimp_jax.host import processes
from dimp_jax.media.opencv import cv2

# Answered by the training, which needs its workers until it has saved.
PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_THREADS = 8  # with num_workers=0; beyond that Python's lock leaves them waiting
_MAX_STEPS = 2**40


class Batches:
    """An endless iterator of `Sample` with a leading [local batch]; close it, or use `with`.

    `broken` counts the images that could not be read, with num_workers=0; worker processes keep
    their own counts and log the names.
    """

    def __init__(self, reader: "_Reader", broken: BrokenFrames):
        self.broken = broken
        self._reader = reader
        # If nobody closes: at exit, while grain's modules are still whole.
        self._end = weakref.finalize(self, reader.close)

    def __iter__(self):
        return self

    def __next__(self) -> Sample:
        """The next batch; raises what a worker has raised, ChildProcessError if one was ended."""
        if not self._end.alive:
            raise ValueError("the batches have been closed")
        return self._reader.read()

    def close(self):
        """Ends the worker processes and waits for them; may be called again."""
        if self._end.alive:
            try:
                self._reader.meet_all_workers()
            finally:
                self._end()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class _Reader:
    """Grain's iterator, and how to end it.

    Args:
      slots: where the workers' batches lie; None without workers.
    """

    def __init__(self, iterator, num_workers: int, slots: BatchSlots | None):
        self.iterator = iterator
        self.unseen_workers = num_workers
        self.slots = slots

    def read(self) -> Sample:
        try:
            # Grain starts its workers in threads, which it starts here.
            starts = processes.held(*PARENTS_SIGNALS) if self.unseen_workers else nullcontext()
            with starts:
                batch = next(self.iterator)
        except BaseException as error:
            self.unseen_workers = 0  # none is waited for in `close`
            ended = re.search(r"Worker process was .* exit code -?\d+", str(error))
            if isinstance(error, RuntimeError) and ended:
                raise ChildProcessError(
                    f"loader: {ended[0]}, for want of memory perhaps: fewer "
                    "training.data.num_workers need less"
                ) from error
            raise
        self.unseen_workers = max(self.unseen_workers - 1, 0)
        return batch if self.slots is None else self.slots.read(batch)

    def meet_all_workers(self):
        """Reads until each worker has delivered a batch.

        Grain starts workers in the background, and closing it forgets those that have not delivered
        yet: they would be left behind.
        """
        while self.unseen_workers:
            self.read()

    def close(self):
        if self.slots is not None:
            self.slots.close()
        self.iterator.close()
        self.iterator = None


def open_sampler(data: DataConfig, *, seed: int, training: bool) -> Sampler:
    """Opens the sources of a config.

    Args:
      data: `sources` are read in training, `validation_sources` otherwise.
      seed: of generated sequences; another one for validation.

    Raises:
      ValueError: no sources, or a source without a usable sequence. A source that is not there
        raises what its reader does.
    """
    field = "sources" if training else "validation_sources"
    named = getattr(data, field)
    if not named:
        raise ValueError(f"training.data.{field} is empty: expected (name, weight) pairs")
    names, weights = zip(*named, strict=True)
    return Sampler(tuple(open_sources(data, names, seed)), tuple(weights), data.sampler)


def batches(
    sampler: Sampler,
    data: DataConfig,
    *,
    seed: int,
    global_batch: int,
    start_step: int,
    process_index: int,
    process_count: int,
    training: bool,
) -> Batches:
    """The share of one host of the batches `start_step`, `start_step` + 1, ...

    Args:
      sampler: its sources must pickle if `data.num_workers` > 0.
      seed: of the samples; another one for validation.
      global_batch: samples a step over all hosts; host p gets the p-th contiguous share.
      training: False leaves out the brightness and the single frames' flips.

    Raises:
      ValueError: options that contradict each other, or a batch that does not divide over the
        hosts.
    """
    check_config(data)
    _check(data, seed, global_batch, start_step, process_index, process_count)
    # An error keeps its own message, to which grain would add three lines about tracebacks.
    grain.config.update("py_traceback_filtering", "off")
    local_batch = global_batch // process_count
    broken = BrokenFrames()
    samples = functools.partial(  # pickled into the workers
        _sample,
        first=process_index * local_batch,
        local_batch=local_batch,
        global_batch=global_batch,
        seed=seed,
        make=functools.partial(make_sample, sampler, data, training=training, broken=broken),
    )
    dataset = grain.MapDataset.range(start_step * local_batch, _MAX_STEPS * local_batch)
    dataset = dataset.map(samples)
    if data.num_workers == 0:
        dataset = dataset.batch(local_batch)
        threads = min(os.cpu_count() or 1, MAX_THREADS)
        ahead = max(threads, data.prefetch_batches)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        return Batches(_Reader(iter(dataset.to_iter_dataset(options)), 0, None), broken)

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads its own flags, which nobody gives here
    processes.kill_at_exit()
    slots = BatchSlots(data, local_batch, data.num_workers)
    dataset = dataset.batch(local_batch, batch_fn=slots.write)
    dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    dataset = dataset.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=data.num_workers, per_worker_buffer_size=1),
        worker_init_fn=_start_worker,
    )
    return Batches(_Reader(iter(dataset), data.num_workers, slots), broken)


def _sample(position: int, *, first: int, local_batch, global_batch, seed, make) -> Sample:
    """The sample at a position of one host's share, which begins at `first` in each batch."""
    step, offset = divmod(int(position), local_batch)
    return make(sample_draws(seed, step * global_batch + first + offset))


def _start_worker(worker_index: int, worker_count: int):
    del worker_count
    become_worker(worker_index)
    cv2.setNumThreads(0)  # the workers are the parallelism
    processes.follow_parent(*PARENTS_SIGNALS)


def _check(data, seed, global_batch, start_step, process_index, process_count):
    if seed < 0 or start_step < 0:
        raise ValueError(f"seed={seed}, start_step={start_step}: expected numbers >= 0")
    if data.num_workers < 0 or data.prefetch_batches < 0:
        raise ValueError(
            f"data.num_workers={data.num_workers}, data.prefetch_batches={data.prefetch_batches}: "
            "expected numbers >= 0"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"process_index={process_index}: expected 0..{process_count - 1}, one a host"
        )
    if global_batch < 1 or global_batch % process_count:
        below = global_batch // process_count * process_count
        nearest = f"{below} or {below + process_count}" if below > 0 else str(process_count)
        raise ValueError(
            f"global_batch={global_batch} does not divide over {process_count} hosts; nearest: "
            f"{nearest}"
        )
