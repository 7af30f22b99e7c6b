"""Builds the missing parts of a split in this process or in several, with a progress bar."""

import multiprocessing
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

from dimp_jax.data.build import parts
from dimp_jax.host import processes, terminal

_shared = None  # in a worker: (frames done by all workers, "stop" event)


class _Stop(Exception):
    """Ends a worker's part: the build was stopped."""


def build_missing(plan: parts.Plan, workers: int, console):
    """Builds what `plan.missing()` names, in several processes or, for one worker, in this one.

    Raises:
      BrokenProcessPool: a worker was killed.
      OSError: a part cannot be written.
    """
    missing = plan.missing()
    left = sum(footage.num_frames for number in missing for footage in plan.parts[number])
    name = f"{plan.directory.parent.name}:{plan.directory.name}, frames"
    with terminal.Progress(console=console) as progress:
        task = progress.add_task(name, total=plan.num_frames)
        progress.update(task, completed=plan.num_frames - left)
        on_frames = lambda count: progress.advance(task, count)
        workers = min(workers, len(missing))
        if workers > 1:
            _build_parallel(plan, missing, workers, on_frames)
        else:
            for number in missing:
                parts.build_part(*_part(plan, number), on_frames)


def _part(plan, number):
    return plan.builder, plan.request, plan.parts[number], plan.part_folder(number)


def _build_parallel(plan, missing, workers, on_frames):
    context = multiprocessing.get_context("spawn")  # threads of the progress bar: no fork
    done, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (done, stop)) as pool:
        try:
            waiting = {pool.submit(_build_in_worker, *_part(plan, number)) for number in missing}
            reported = 0
            while waiting:
                finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                on_frames(done.value - reported)
                reported = done.value
                for future in finished:
                    future.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker(done, stop):
    global _shared
    _shared = done, stop
    processes.follow_parent()


def _build_in_worker(builder, request, footage, folder):
    done, stop = _shared

    def on_frames(count):
        with done.get_lock():
            done.value += count
        if stop.is_set():
            raise _Stop

    parts.build_part(builder, request, footage, folder, on_frames)
