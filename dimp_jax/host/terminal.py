"""What commands print: names as they are, and progress that also works where no terminal is."""

import contextlib
import threading
import time

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

FIRST_LINE_S, LINES_S = 5.0, 60.0  # the first line of a log file, and the longest time between two


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that takes `[brackets]` and `:colons:` in names for what they are."""
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False)


class Progress(rich.progress.Progress):
    """A bar for each task; lines now and then where there is no terminal to draw it on.

    Lines come after 5, 15, 35 seconds, then once a minute, and when a task is finished.
    """

    def __init__(self, *fields: str, console: Console):
        """`fields`: shown after the count, as formats of `task`: "{task.fields[fps]} fps"."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            *(TextColumn(field, markup=False) for field in fields),
            TimeRemainingColumn(),
        )
        self._drawn, self._formats, self._told = _draws(console), fields, set()
        self._lines = contextlib.ExitStack()
        super().__init__(*columns, console=console, disable=not self._drawn)

    def start(self):
        super().start()
        if not self._drawn:
            self._lines.enter_context(_now_and_then(lambda _: self._tell()))

    def stop(self):
        super().stop()
        if not self._drawn:
            self._lines.close()
            self._tell()

    def _tell(self):
        for task in self.tasks:
            if task.id not in self._told:
                print_line(self.console, self._line(task))
            if task.finished:
                self._told.add(task.id)

    def _line(self, task) -> str:
        total = "" if task.total is None else f" of {task.total:g}"
        said = [f"{task.description}: {task.completed:g}{total}"]
        said += [text for f in self._formats if "-" not in (text := f.format(task=task)).split()]
        if not task.finished:
            said.append(f"{_minutes(task.elapsed or 0)} so far")
            if task.time_remaining:
                said.append(f"about {_minutes(task.time_remaining)} left")
        return ", ".join(said)


def watched(items, what: str, console: Console):
    """Yields the items, with the progress through them."""
    with Progress(console=console) as progress:
        task = progress.add_task(what, total=len(items))
        for item in items:
            yield item
            progress.advance(task)


@contextlib.contextmanager
def status(console: Console, text: str):
    """Shows that something takes long: a spinner, or lines now and then."""
    if _draws(console):
        with console.status(Text(text)):
            yield
    else:
        with _now_and_then(lambda passed_s: print_line(console, f"{text}: {_minutes(passed_s)}")):
            yield


def print_line(console: Console, text: str) -> None:
    """Prints plain text; the terminal, not rich, wraps it."""
    console.print(printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Names that are not UTF-8 with escapes in them, which would end a print."""
    return text.encode(errors="backslashreplace").decode()


def _draws(console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


@contextlib.contextmanager
def _now_and_then(tell):
    """Calls `tell(seconds so far)` from a thread, ever more rarely."""
    ended, began = threading.Event(), time.monotonic()

    def run():
        pause_s = FIRST_LINE_S
        while not ended.wait(pause_s):
            tell(time.monotonic() - began)
            pause_s = min(2 * pause_s, LINES_S)

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
