"""Evaluation in several processes of this host, each with a tracker of its own."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal

from dimp_jax.evaluation import jobs
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.host import processes
from dimp_jax.media.images import InputError

_tracker = None  # of a worker process, built with its first job


class _CannotBuild(Exception):
    """The tracker itself cannot be built: no job will do better."""


def in_processes(build, todo, *, workers: int, options: jobs.Options, console):
    """Tracks jobs in `workers` processes: yields (job, outcome) as they end.

    The cores are divided among the workers: programs of one core do not wait for each other.

    Args:
      build: makes the tracker, compiled, in each process; picklable; InputError if it cannot.

    Raises:
      InputError: the tracker cannot be built, or the processes end (out of memory).
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's threads
    numbers = context.Queue()
    workers = min(workers, len(todo))
    for number in range(workers):
        numbers.put(number)
    with contextlib.ExitStack() as stack:
        pool = concurrent.futures.ProcessPoolExecutor(
            workers, context, _start_worker, (numbers, workers)
        )
        # Not waited for: what is queued would still be tracked after Ctrl-C.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        stack.push(_end_workers)
        progress = stack.enter_context(one_by_one.progress_of_frames(console))
        total = sum(job.sequence.frames.count or 0 for job in todo)
        task = progress.add_task(
            f"{len(todo)} sequences, {workers} processes", total=total, fps="-"
        )
        with processes.held(signal.SIGINT):
            started = {pool.submit(_work, build, job, options.seed + job.run): job for job in todo}
        for future in concurrent.futures.as_completed(started):
            job = started[future]
            try:
                outcome = future.result()
            except _CannotBuild as error:
                raise InputError(str(error)) from error
            except concurrent.futures.process.BrokenProcessPool as error:
                raise InputError(
                    f"a worker process was ended, perhaps for memory: give less than {workers} "
                    "--workers; the same command goes on with the missing sequences"
                ) from error
            progress.advance(task, job.sequence.frames.count or 0)
            yield job, outcome


def _end_workers(kind, *_):
    """After Ctrl-C, which they do not see, nobody waits for the sequences they are at."""
    if kind is KeyboardInterrupt:
        for child in multiprocessing.active_children():
            child.terminate()


def _start_worker(numbers, workers):
    """Divides what the processes share before JAX is imported."""
    processes.follow_parent()
    number = numbers.get()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if workers <= len(cores):
            os.sched_setaffinity(0, cores[number::workers])
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / workers:.2f}")


def _work(build, job, seed):
    global _tracker
    if _tracker is None:
        try:
            _tracker = build()
        except InputError as error:
            raise _CannotBuild(str(error)) from None
    try:
        return one_by_one.track_job(_tracker, job.sequence, seed)
    except Exception as error:  # told at the end, by the process that asked for it
        outcome = jobs.failed(error)
        # Not every exception survives the way to another process.
        kept = error if isinstance(error, InputError) else RuntimeError(str(error))
        return outcome._replace(error=kept)
