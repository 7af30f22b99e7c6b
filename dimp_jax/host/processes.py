"""Worker processes that leave their end to the process that started them."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection


def follow_parent():
    """Called in a worker: Ctrl-C is the parent's matter, and the worker ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():  # however that ended: a killed parent cannot say so
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
