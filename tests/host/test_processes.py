"""Workers that do not hear SIGTERM, with which `multiprocessing` ends those that are left."""

import subprocess
import sys

from tests.support import ROOT

LEFT = """
import multiprocessing, signal, sys, time
sys.path.insert(0, {root!r})
from dimp_jax.host import processes

def work(started):
    processes.follow_parent(signal.SIGTERM)
    started.set()
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    worker = context.Process(target=work, args=(started,), daemon=True)
    worker.start()
    started.wait()
    processes.kill_at_exit()
    worker.terminate()
    worker.join(0.5)
    print("alive" if worker.is_alive() else "ended")
"""


def test_what_is_left_of_deaf_workers_is_killed_at_the_end(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(LEFT.format(root=str(ROOT)))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
