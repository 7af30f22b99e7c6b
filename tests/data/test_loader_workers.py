"""How the worker processes of the loader end: with their parent, and by its signals alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support import ROOT

SCRIPT = """import multiprocessing, sys
sys.path.insert(0, {root!r})
from tests.data.test_loader import open_batches, with_workers
if __name__ == "__main__":
    with open_batches(None, with_workers(1)) as batches:
        for _ in batches:
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
"""


# Its process group gets SIGTERM all the time while the workers start, and a few times later.
SIGTERMS = """
import os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from tests.data.test_loader import open_batches, with_workers

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)
    ended = threading.Event()

    def send():
        while not ended.wait(0.005):
            os.killpg(0, signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with open_batches(None, with_workers(2)) as batches:
            for _ in range(4):
                next(batches)
    finally:
        ended.set()
        thread.join()
    print("four batches")
"""


def test_sigterm_is_the_parents_matter_from_the_first_moment(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SIGTERMS.format(root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-Werror", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "four batches\n", "")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_workers_end_with_their_parent(name, tmp_path):
    """Ctrl-C, which reaches the workers too; kill -9, after which nobody can end them."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT)))
    process = subprocess.Popen(
        [sys.executable, "-Werror", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 1 and is_running(workers[0])
        if name == "SIGINT":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        errors = process.communicate(timeout=60)[1]  # the worker holds the pipe as well
        until = time.monotonic() + 30
        while is_running(workers[0]):
            assert time.monotonic() < until, "the worker runs on"
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    assert errors.count("Traceback") == (name == "SIGINT"), errors
    assert errors.count("KeyboardInterrupt") == (name == "SIGINT"), errors
