"""An evaluation as a list of jobs, one a sequence and run: tracked by whatever tracks them, written
as they finish, and taken up again where a killed one stopped."""

import dataclasses
import functools
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console

from dimp_jax.evaluation import results, summary
from dimp_jax.host import terminal
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import Sequence

POLL_S = 1.0  # how often one host looks for the results of the others


class Job(NamedTuple):
    """One sequence in one repeated run."""

    sequence: Sequence
    run: int


class Tracked(NamedTuple):
    """What a finished job gave, N frames."""

    boxes: np.ndarray  # [N, 4]
    times_s: np.ndarray  # [N] the first is the initialisation
    decode_s: np.ndarray | None  # [N]
    scores: np.ndarray | None = None  # [N, 2] `results.score_row` of each frame


class Failed(NamedTuple):
    """What ended a job."""

    error: Exception
    traceback_text: str


class Share(NamedTuple):
    """Which of the hosts that work on the same folder this is."""

    index: int = 0
    count: int = 1
    meet: Callable[[], object] = lambda: None  # returns once all hosts have called it


@dataclasses.dataclass(frozen=True)
class Options:
    """How an evaluation is run and scored."""

    seed: int = 0  # run r uses seed + r
    runs: int = 1
    rule: str = "visible"
    save_video: bool = False
    show: bool = False


TrackJobs = Callable[[list[Job]], Iterable[tuple[Job, Tracked | Failed]]]


def failed(error: Exception) -> Failed:
    """The outcome of a job that raised `error`."""
    return Failed(error, "".join(traceback.format_exception(error)))


def run_jobs(
    track_jobs: TrackJobs,
    sequences,
    out,
    *,
    options: Options,
    console: Console,
    share: Share | None = None,
    is_done: Callable[[Job], bool] | None = None,
) -> dict:
    """Tracks what has no results in `out` yet, and writes the summary.

    A sequence's files appear when it is finished, and not otherwise; one that fails leaves its
    traceback, and the others go on. Given again, only what is missing or failed is tracked. Several
    hosts split the jobs; all of them wait until the folder is complete.

    Args:
      track_jobs: jobs -> (job, outcome), in any order.
      sequences: of different names.
      out: made by `identity.make_folder`; shared by the hosts.
      is_done: whether a job needs no tracking; None: its own files say so.

    Returns:
      `summary.summarize`'s summary.

    Raises:
      InputError: of the only job there is. OSError: a result cannot be written.
    """
    share = share or Share()
    is_done = is_done or functools.partial(has_results, out, options=options)
    jobs = all_jobs(sequences, options.runs)
    mine = jobs[share.index :: share.count]
    todo = [job for job in mine if not is_done(job)]
    if len(todo) < len(mine):
        what = "sequences" if options.runs == 1 else "sequences of all runs"
        console.print(f"{len(mine) - len(todo)} of {len(mine)} {what} are done")
    for job in todo:
        folder = results.run_folder(out, job.run)
        folder.mkdir(exist_ok=True)
        (folder / f"{job.sequence.name}_error.txt").unlink(missing_ok=True)
    share.meet()  # no host takes an old failure of another one's for a new one
    for job, outcome in track_jobs(todo) if todo else ():
        folder = results.run_folder(out, job.run)
        if isinstance(outcome, Tracked):
            results.write_sequence(folder, job.sequence.name, *outcome)
        elif len(jobs) == 1 and isinstance(outcome.error, InputError | OSError):
            raise outcome.error  # one line says it all
        else:
            results.write_error(folder, job.sequence.name, outcome.traceback_text)
    if share.count > 1:
        _wait_for_others(out, jobs, is_done, console)
    return summary.summarize(out, sequences, options.rule, options.runs)


def all_jobs(sequences, runs: int) -> list[Job]:
    """Every sequence in every run."""
    return [Job(sequence, run) for run in range(runs) for sequence in sequences]


def has_results(out, job: Job, options: Options) -> bool:
    """Whether the complete results of a job are in `out`."""
    folder = results.run_folder(out, job.run)
    return results.is_done(folder, job.sequence, with_video=options.save_video)


def failures(out, found_summary: dict) -> Iterator[tuple[str, str]]:
    """What failed, for people: yields (sequence and run, traceback)."""
    for name, runs in found_summary["failed"].items():
        for run in runs:
            text = results.read_error(results.run_folder(out, run), name)
            where = name if found_summary["runs"] == 1 else f"{name}, run {run}"
            yield where, text or "no results, and no traceback: the process was ended"


def _wait_for_others(out, jobs, is_done, console):
    def is_ended(job):
        folder = results.run_folder(out, job.run)
        return is_done(job) or results.read_error(folder, job.sequence.name) is not None

    with terminal.status(console, "waiting for the sequences of the other hosts"):
        while not all(is_ended(job) for job in jobs):
            time.sleep(POLL_S)
