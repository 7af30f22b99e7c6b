"""What a run tells: metrics.jsonl, figures and the progress bar."""

import contextlib
import time
from pathlib import Path

import jax
import numpy as np

from dimp_jax.config import Config
from dimp_jax.host import terminal
from dimp_jax.training import figures, optim, writers
from dimp_jax.training.steps import first_non_finite


class NonFiniteLoss(Exception):
    """A loss or a gradient is infinite or NaN: the parameters are no longer of use."""


@contextlib.contextmanager
def counted(console, what: str):
    """A progress bar; yields a function of (done, in all) and, if it is new, what is being done."""
    with terminal.Progress(console=console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total, what=None: progress.update(
            task, completed=done, total=total, description=what
        )


class Window:
    """The metrics of the steps since the last record, and where the time went."""

    def __init__(self):
        self.metrics = []  # (step, device scalars)
        self.waited_s = 0.0
        self.started = time.perf_counter()
        self.finished = None  # when the last of the steps was

    @contextlib.contextmanager
    def waiting(self):
        """Around the wait for data."""
        started = time.perf_counter()
        yield
        self.waited_s += time.perf_counter() - started

    def add(self, step: int, metrics):
        self.metrics.append((step, metrics))

    def fetch(self) -> dict[str, float]:
        """Waits for the steps; the mean of each metric.

        Raises:
          NonFiniteLoss: names the first step and term that are not finite.
        """
        fetched = [(step, jax.device_get(metrics)) for step, metrics in self.metrics]
        self.finished = self.finished or time.perf_counter()
        for step, metrics in fetched:
            term = first_non_finite(metrics)
            if term is not None:
                raise NonFiniteLoss(f"step {step}: {term} is {float(metrics[term])}")
        values = [metrics for _, metrics in fetched]
        return {name: float(np.mean([m[name] for m in values])) for name in values[0]}


class RunLog:
    """Process 0's log; in the others `RunLog` is made without a directory and writes nothing."""

    def __init__(self, config: Config, directory, first_step: int, console):
        self.config = config
        self.directory = None if directory is None else Path(directory)
        self.first_step, self.console = first_step, console

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        if self.directory is not None:
            training = self.config.training
            self.writer = self.stack.enter_context(
                writers.MetricsWriter(
                    self.directory,
                    resumed_step=self.first_step,
                    tensorboard=training.tensorboard,
                )
            )
            self.progress = self.stack.enter_context(counted(self.console, "training"))
            self.advance(self.first_step)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def advance(self, step: int):
        if self.directory is not None:
            self.progress(step, self.config.training.total_steps)

    def write(self, window: Window, validation: dict | None = None):
        """One record: the means over the window, rates, speed, and what validation measured."""
        values = window.fetch()  # in every process: all of them stop on a bad loss
        if self.directory is None:
            return
        training, step = self.config.training, window.metrics[-1][0]
        elapsed = max(window.finished - window.started, 1e-9)
        count = len(window.metrics)
        rates = optim.learning_rates(training.optim, step - 1)
        record = {
            **values,
            **{f"learning_rate/{name}": rate for name, rate in rates.items()},
            "steps_per_s": count / elapsed,
            "examples_per_s": count * training.global_batch / elapsed,
            "data_wait_share": window.waited_s / elapsed,
            **(validation or {}),
        }
        self.writer.write(step, record)
        self.progress(step, training.total_steps, f"training, loss {values['loss']:.4g}")
        if validation:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in validation.items())
            terminal.print_line(self.console, f"step {step}: {shown}")

    def draw(self, step: int, params, initial):
        """Pictures of the learned functions of the loss, and of the metrics so far."""
        if self.directory is None:
            return
        folder = self.directory / "figures"
        folder.mkdir(exist_ok=True)
        figures.learned_loss(
            folder / f"learned_loss_{step:07d}.png",
            params,
            initial,
            self.config.model.predictor,
            f"step {step}",
        )
        figures.curves(folder / "curves.png", writers.read(self.writer.path))
