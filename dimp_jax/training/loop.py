"""The training loop: data in, checkpoints, metrics and figures out."""

import collections
import contextlib
import dataclasses
import functools
import operator
import signal
from pathlib import Path

import jax

from dimp_jax.checkpoints.run import RunCheckpoints
from dimp_jax.config import Config
from dimp_jax.data import loader, samples
from dimp_jax.host import terminal
from dimp_jax.training import (
    data_parallel,
    feature_pool,
    signals,
    steps,
    validation,
    workdir,
    writers,
)
from dimp_jax.training.log import RunLog, Window, counted
from dimp_jax.training.start import start_variables

COUNTS = (
    "total_steps",
    "global_batch",
    "log_every",
    "save_every",
    "keep_last",
    "validate_every",
    "validation_batches",
    "tracking.every_steps",
)
MAX_IN_FLIGHT = 2  # steps that are handed to the device beyond the one that it works on


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    step: int  #: the last one; there is a checkpoint of it
    signal: int | None  #: that asked for the end before `total_steps`


def train(config: Config, directory, console) -> Outcome:
    """Trains to `total_steps`, going on from the checkpoints in `directory` if there are any.

    Args:
      directory: the work directory, as in workdir.py.
      console: `rich.console.Console` for the progress bar; process 0 alone uses it.

    Raises:
      NonFiniteLoss: names the step and the term; the checkpoints before it stay.
      ChildProcessError: a worker of the loader was killed.
      ValueError, FileNotFoundError: what the config names does not exist or does not fit.
    """
    training, directory = config.training, Path(directory)
    main = jax.process_index() == 0
    _check(training)
    workdir.check(directory, config)
    data_parallel.check_global_batch(training.global_batch, training.optim.accumulate)
    feature_pool.check(config, jax.process_count())
    if training.tensorboard:
        writers.check_tensorboard()
    # What can be is refused before anything is written.
    placement = data_parallel.placement(training.parallel.backend)
    sampler = loader.open_sampler(training.data, seed=config.seed, training=True)
    measure_loss = validation.held_out_loss(config, placement)
    measure_auc = validation.tracking_auc(config)
    variables, start_name = start_variables(config)
    template = data_parallel.to_host(steps.init_state(variables, config))

    with contextlib.ExitStack() as stack:
        if main:
            stack.enter_context(workdir.alone(directory))
            workdir.prepare(directory, config, start_name)
        workdir.check_shared(directory)
        checkpoints = stack.enter_context(RunCheckpoints(directory, keep_last=training.keep_last))
        restored = checkpoints.restore(template)
        host_state = template if restored is None else restored
        first = int(host_state.step)
        if main:
            origin = start_name if restored is None else f"step {first}"
            begins = f"{directory}: from {origin} to step {training.total_steps}"
            terminal.print_line(console, begins)
        if first >= training.total_steps:
            return Outcome(first, None)

        if training.feature_pool.samples:
            read = _pooled_batches(config, variables, directory, first, console)
        else:
            read = loader.batches(
                sampler,
                training.data,
                seed=config.seed,
                global_batch=training.global_batch,
                start_step=first,
                training=True,
                **_processes(),
            )
        read = stack.enter_context(read)
        batches = _place_ahead(read, placement, training.data.prefetch_batches)
        log = stack.enter_context(RunLog(config, directory if main else None, first, console))
        stop = stack.enter_context(signals.noted(*_signals()))
        train_step = data_parallel.data_parallel(
            steps.make_train_step(config, data_parallel.AXIS), training.parallel.backend
        )
        state, window, due = placement.state(host_state), Window(), None
        in_flight = collections.deque()
        for step in range(first + 1, training.total_steps + 1):
            with window.waiting():
                batch = next(batches)
            state, metrics = train_step(state, batch)
            window.add(step, metrics)
            # Bounded, so that placed batches do not pile up on the device.
            in_flight.append(metrics["loss"])
            if len(in_flight) > MAX_IN_FLIGHT:
                in_flight.popleft().block_until_ready()
            if due is not None:
                # Only now, with the next step under way: fetching does not stall the device.
                log.write(due)
                window.started, due = due.finished, None
            last = step == training.total_steps
            stopped = _stopped(stop, checkpoints, step)
            measured = []
            if not stopped:
                measured += [measure_loss] if last or step % training.validate_every == 0 else []
                every = training.tracking.every_steps
                measured += [measure_auc] if last or step % every == 0 else []
            measured = [m for m in measured if m is not None]
            if last or stopped or measured or step % training.save_every == 0:
                window.fetch()  # a bad loss ends the run before its state could be saved
                host_state = data_parallel.to_host(state)
                values = {}
                for measure in measured:
                    values |= measure(state, host_state)
                log.write(window, values)
                if measured or last:
                    learned, initial = (
                        v["predictor"] for v in (host_state.params, variables["params"])
                    )
                    log.draw(step, learned, initial)
                checkpoints.save(host_state, score=_score(config, values))
                window = Window()
            elif step % training.log_every == 0:
                due, window = window, Window()
            log.advance(step)
            if last or stopped:
                # Among several processes, the one that was told need not be this one.
                return Outcome(step, (stop.number or signal.SIGTERM) if stopped else None)
    raise AssertionError("not reached: the last step returns")


def _processes():
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


@contextlib.contextmanager
def _pooled_batches(config, variables, directory, start_step, console):
    place = {"first_step": start_step, **_processes()}
    with contextlib.ExitStack() as stack:
        with counted(console, "features") as progress:
            pool = stack.enter_context(
                feature_pool.opened(
                    config,
                    variables,
                    directory,
                    progress=progress,
                    tell=functools.partial(terminal.print_line, console),
                    **place,
                )
            )
        yield feature_pool.batches(pool, config, start_step=start_step, **_processes())


def _place_ahead(batches, placement, count: int):
    """Yields placed batches, `count` of them on their way to the devices ahead of time."""
    ahead = collections.deque()
    while True:
        while len(ahead) <= count:
            ahead.append(placement.batch(next(batches)))
        yield ahead.popleft()


def _score(config, values) -> tuple[str, float] | None:
    """What the best checkpoint is chosen by: tracking, else the held-out loss. Larger is better."""
    tracked = config.training.tracking.sequences_dir is not None
    name, sign = ("validation/auc", 1) if tracked else ("validation/loss", -1)
    return (name, sign * values[name]) if name in values else None


def _signals():
    # In a run of several processes JAX's own service catches SIGTERM and agrees on a last step.
    return () if jax.process_count() > 1 else (signal.SIGINT, signal.SIGTERM)


def _stopped(stop, checkpoints, step) -> bool:
    if jax.process_count() > 1:
        return checkpoints.reached_preemption(step)
    return bool(stop)


def _check(training):
    """Raises ValueError for options that cannot be or do not fit each other, and names them."""
    samples.check_config(training.data)
    for name in COUNTS:
        value = operator.attrgetter(name)(training)
        if value < 1:
            raise ValueError(f"training.{name}={value}: expected 1 or more")
    frames = training.tracking.frames
    if frames is not None and frames < 1:
        raise ValueError(f"training.tracking.frames={frames}: expected 1 or more, or None")
    loss, kind = training.loss.box_regression, training.data.proposals.kind
    if (loss == "kl") != (kind == "gaussian_mixture"):
        raise ValueError(
            f"training.loss.box_regression={loss!r} and training.data.proposals.kind={kind!r}: "
            "expected 'iou' with 'perturb', or 'kl' with 'gaussian_mixture'"
        )
