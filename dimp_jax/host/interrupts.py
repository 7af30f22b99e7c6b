"""Ctrl-C ends a command with one line, also while compiled code runs that Python cannot leave."""

import contextlib
import os
import signal
import socket
import sys
import threading

STATUS = 130
GRACE_S = 5.0  # for the command to end by itself
_SHOW_CURSOR = "\x1b[?25h"

_suspended = 0  # blocks that answer Ctrl-C themselves


class Interrupts:
    """Says once that the command was stopped."""

    def __init__(self, text: str):
        self._text, self._said = text, False

    def told(self) -> int:
        """Prints the line, if nobody has; returns the exit status."""
        if not self._said:
            self._said = True
            if sys.stderr.isatty():
                sys.stderr.write(_SHOW_CURSOR)  # a progress bar may have hidden it
            print(self._text, file=sys.stderr, flush=True)
        return STATUS


@contextlib.contextmanager
def watched(text: str):
    """Around a command, which catches KeyboardInterrupt and returns `told()`.

    A second Ctrl-C, or `GRACE_S` after the first one, ends the process: XLA compiles for many
    seconds without asking Python, and what is raised inside a callback of it may be lost.
    """
    interrupts = Interrupts(text)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    arrived = threading.Event()

    def watch(reader, _):
        while numbers := reader.recv(1):
            if numbers[0] == signal.SIGINT and not _suspended:
                arrived.set()
                reader.settimeout(GRACE_S)
                with contextlib.suppress(TimeoutError):
                    reader.recv(1)
                interrupts.told()
                os._exit(STATUS)

    # It keeps the writer open, too, as long as the process takes to end.
    thread = threading.Thread(target=watch, args=(reader, writer), name="Ctrl-C", daemon=True)
    thread.start()
    try:
        yield interrupts
    finally:
        if not arrived.is_set():  # else the process is ending, and must
            signal.set_wakeup_fd(before)
            writer.close()
            thread.join()
            reader.close()


@contextlib.contextmanager
def suspended():
    """Around code that ends in good order on Ctrl-C, however long that takes."""
    global _suspended
    _suspended += 1
    try:
        yield
    finally:
        _suspended -= 1
