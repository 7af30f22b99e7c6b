"""Worker processes that leave their end to the process that started them."""

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection


@contextlib.contextmanager
def interrupts_held():
    """Around the start of workers: Ctrl-C waits in this process, and never reaches the others."""
    hold = getattr(signal, "pthread_sigmask", None)  # missing on Windows
    before = hold(signal.SIG_BLOCK, {signal.SIGINT}) if hold else None
    try:
        yield
    finally:
        if hold:
            hold(signal.SIG_SETMASK, before)


def follow_parent():
    """Called in a worker: Ctrl-C is the parent's matter, and the worker ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():  # however that ended: a killed parent cannot say so
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
