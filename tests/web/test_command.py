"""`dimp-jax demo` as a command: what it refuses, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from dimp_jax.web import __main__ as command
from tests.support import ROOT


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--port", "70000"], "--port 70000: expected 0 to 65535; 0 is any free one"),
        (["--host", "none.invalid"], "--host none.invalid: cannot listen there ("),
        (["--frames", "0"], "--frames 0: expected at least 1"),
        (["--max-upload-mb", "0"], "--max-upload-mb 0: expected more than 0"),
        (["--max-upload-mb", "nan"], "--max-upload-mb nan: expected more than 0"),
        (["--max-upload-mb", "inf"], "--max-upload-mb inf: expected more than 0, and finite"),
        (["no_config"], "no config 'no_config'"),
    ],
)
def test_refused(capsys, argv, message):
    assert command.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"demo: error: {message}")


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert command.main(["--port", str(port)]) == 2
    assert f"--port {port}: is taken by another program" in capsys.readouterr().err


def test_the_extra_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(command, "NEEDED", ("starlette", "not_there"))
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert error == 'demo: error: the page needs not_there: pip install "dimp_jax[web]"\n'


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "http://localhost:"), ("0.0.0.0", "http://localhost:")]
)
def test_the_address_to_open(host, address):
    with command.listen(host, 0) as listening:
        assert command.address_of(listening).startswith(address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])  # the latter by way of SIGTERM
def test_a_signal_ends_it_and_its_folder_goes(tmp_path, number):
    """Also while it compiles."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", "dimp_jax", "demo", "--port", "0"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(argv, cwd=ROOT, env=environment, **options)
    try:
        address = process.stdout.readline().split(" ")[0]
        assert address.startswith("http://localhost:")
        with urllib.request.urlopen(f"{address}settings", timeout=30) as answer:
            assert json.load(answer)["tracker"].startswith("dimp_lite0 (efficientnet_lite0)")
        (folder,) = tmp_path.glob("dimp-jax-demo-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert list(tmp_path.glob("dimp-jax-demo-*")) == []
    if number == signal.SIGINT:
        assert process.returncode == 130 and error == "stopped\n"
    else:
        assert process.returncode == -signal.SIGTERM and "Traceback" not in error
