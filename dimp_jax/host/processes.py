"""Worker processes that leave their end to the process that started them."""

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection, resource_tracker, util


@contextlib.contextmanager
def held(*numbers):
    """Around the start of workers: these signals wait in this thread, and in the workers until
    they have said in `follow_parent` what they think of them."""
    hold = getattr(signal, "pthread_sigmask", None)  # missing on Windows
    if hold:  # a thread that starts the tracker lets go of the signals
        resource_tracker.ensure_running()
    before = hold(signal.SIG_BLOCK, numbers) if hold else None
    try:
        yield
    finally:
        if hold:
            hold(signal.SIG_SETMASK, before)


def follow_parent(*others):
    """Called in a worker: Ctrl-C is the parent's matter, and the worker ends when that is gone.

    Args:
      others: signals that are the parent's matter, too. With SIGTERM, which launchers of jobs send
        to all processes of a group, nothing but `kill` ends a worker: see `kill_at_exit`.
    """
    for number in (signal.SIGINT, *others):
        signal.signal(number, signal.SIG_IGN)

    def end_with_parent():  # however that ended: a killed parent cannot say so
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def kill_at_exit():
    """Kills the daemonic workers that are left when this process ends.

    `multiprocessing` sends them SIGTERM there and waits, in vain for those that do not hear it.
    """
    global _kills_at_exit
    if not _kills_at_exit:
        _kills_at_exit = True
        util.Finalize(None, _kill_daemons, exitpriority=0)  # after those who close in good order


_kills_at_exit = False


def _kill_daemons():
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
