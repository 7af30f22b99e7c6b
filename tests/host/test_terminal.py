"""What commands print: names as they are, and progress without a terminal."""

import io
import time

import pytest
from rich.console import Console
from rich.table import Table

from dimp_jax.host import terminal

NAME = "My clip [dQw4w9WgXcQ] [/red] :cat:"


def printed(console, *, draw=False):
    """The console, with a file in the place of its stream, which may pass for a terminal."""
    console.file, console.width = io.StringIO(), 120
    console._force_terminal = console.is_interactive = draw
    return console


@pytest.mark.parametrize("drawn", [False, True])
def test_names_are_shown_as_they_are(drawn, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "FIRST_LINE_S", 0.05)
    console = printed(terminal.console(), draw=drawn)
    with terminal.Progress("{task.fields[fps]} fps", console=console) as progress:
        task = progress.add_task(NAME, total=2, fps="3.5")
        progress.update(task, completed=2)
    assert NAME in console.file.getvalue()
    with terminal.status(console, f"listing {NAME}"):
        deadline = time.monotonic() + 10
        while f"listing {NAME}" not in console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert f"listing {NAME}" in console.file.getvalue()
    for show in (console.print, console.rule, lambda text: terminal.print_line(console, text)):
        console.file = io.StringIO()
        show(NAME)
        assert NAME in console.file.getvalue()
    table = Table("name")
    table.add_row(NAME)
    console.print(table)
    assert NAME in console.file.getvalue()


def test_a_log_file_gets_lines_now_and_then(monkeypatch):
    monkeypatch.setattr(terminal, "FIRST_LINE_S", 0.05)
    console = Console(file=io.StringIO(), width=40)  # of somebody else
    with terminal.Progress("{task.fields[fps]} fps", console=console) as progress:
        task = progress.add_task("[a]", total=100, fps="-")
        other = progress.add_task("b", total=None, fps="-")
        progress.update(task, completed=40)
        while not console.file.getvalue():
            time.sleep(0.01)
        progress.update(task, completed=100, fps="12.0")
        progress.advance(other)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("[a]: 40 of 100, 0:00 so far") and lines[1].startswith("b: 0,")
    assert lines.count("[a]: 100 of 100, 12.0 fps") == 1  # finished: told once
    assert lines[-1].startswith("b: 1, 0:00 so far")
    console.file = io.StringIO()
    with terminal.status(console, "compiling"):
        while "compiling: 0:00" not in console.file.getvalue():
            time.sleep(0.01)
    assert list(terminal.watched("ab", "letters", console)) == ["a", "b"]
    assert console.file.getvalue().endswith("letters: 2 of 2\n")
