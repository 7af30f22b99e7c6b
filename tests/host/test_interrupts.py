"""Ctrl-C, missing devices and homes, full disks: one line each, and an end."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from dimp_jax.host import command_line, compilation, files
from tests.support import ROOT

# A command that waits where no KeyboardInterrupt arrives, as compiled code does.
DEAF = """
import signal, sys, time
from dimp_jax.host import command_line, interrupts
interrupts.GRACE_S = float(sys.argv[1])
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

@command_line.command("deaf", stopped="it goes on")
def main():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass

raise SystemExit(main())
"""


def interrupted(command, *, times=1, ready="ready"):
    """(exit status, stderr) of a process that gets Ctrl-C once it has said that it is ready."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if ready:
        assert process.stdout.readline() == f"{ready}\n"
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize(("grace_s", "times"), [("0.1", 1), ("600", 2)])
def test_what_does_not_hear_ends_all_the_same(grace_s, times):
    done = interrupted([sys.executable, "-c", DEAF, grace_s], times=times)
    assert done == (130, "stopped: it goes on\n")


def test_while_the_modules_are_imported(tmp_path):
    code = (
        "import importlib, os, signal, sys\n"
        "from dimp_jax import __main__ as commands\n"
        "importlib.import_module = lambda name: os.kill(os.getpid(), signal.SIGINT)\n"
        "raise SystemExit(commands.main(['evaluate']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_command_goes_on_as_before_without_ctrl_c():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    assert command_line.command("c")(lambda: 7)() == 7
    assert signal.set_wakeup_fd(-1) == before
    signal.set_wakeup_fd(before)


def test_a_device_that_jax_does_not_find_is_one_line():
    code = (
        "from dimp_jax.host import command_line\n"
        "@command_line.command('track')\n"
        "def main():\n"
        "    import jax.numpy\n"
        "    jax.numpy.zeros(3)\n"
        "raise SystemExit(main())\n"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cuda"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("track: error: JAX_PLATFORMS=cuda: jax finds no such device")


def test_other_errors_of_a_command_keep_their_traceback():
    @command_line.command("c", ValueError)
    def main():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        main()


def test_without_a_home_nothing_is_kept(monkeypatch):
    import jax

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(files.Path, "home", homeless)
    with pytest.raises(OSError, match="no home folder for caches: set HOME or XDG_CACHE_HOME"):
        files.cache_folder("jax")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        compilation.enable_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_full_disk_names_the_file(tmp_path, capsys):
    """And never that of the part."""
    path = tmp_path / "weights.bin"

    @command_line.command("write", OSError)
    def main():
        with files.whole(path):
            raise OSError(28, os.strerror(28))

    assert main() == 2
    assert capsys.readouterr().err == f"write: error: {path}: No space left on device\n"
    with pytest.raises(OSError) as caught, files.whole(path, suffix=".mp4") as partial:
        assert partial.name.endswith(".part.mp4")
        partial.mkdir()
        (partial / "inside").write_text("")
        (partial / "inside" / "deeper").write_text("")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError) as caught, files.whole(tmp_path / "none" / "a.txt") as partial:
        partial.write_text("")
    assert caught.value.filename == str(tmp_path / "none" / "a.txt")
    with pytest.raises(FileNotFoundError) as caught, files.whole(path):
        (tmp_path / "read").read_text()
    assert caught.value.filename == str(tmp_path / "read")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_held_by_one_and_by_nobody_where_there_are_none(tmp_path, monkeypatch):
    path = tmp_path / "new" / ".lock"
    with files.alone(path, KeyError("held")):
        opened = path.open("w")  # by one that comes to lock it only later
    with opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(KeyError, match="held"), files.alone(path, KeyError("held")):
            pass
    with files.alone(path, KeyError("held")):
        with pytest.raises(KeyError, match="held"), files.alone(path, KeyError("held")):
            pass
        assert path.exists()

        def refused(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", refused)
        code = errno.ENOLCK
        with files.alone(path, KeyError("held")):
            pass
        code = errno.EIO
        with pytest.raises(OSError, match="Input/output"), files.alone(path, KeyError("held")):
            pass
