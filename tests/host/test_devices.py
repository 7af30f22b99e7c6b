"""`dimp-jax devices`: what it says of this machine, and of cards that jax does not use."""

import importlib.util
import os

import jax
import pytest

from dimp_jax.host import devices


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts a program `nvidia-smi` into PATH that prints the given text."""

    def make(text, status=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return make


@pytest.fixture
def no_plugin(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_of_this_machine(capsys):
    status = devices.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"jax {jax.__version__}, jaxlib ")
    assert lines[1] == f"process 0 of 1, {jax.device_count()} devices in all"
    assert [line.split(":")[0] for line in lines[2 : 2 + jax.device_count()]] == [
        f"  {device.id}" for device in jax.local_devices()
    ]
    rest = lines[2 + jax.device_count() :]
    assert [line.split(":")[0] for line in rest] == [
        "float32 products",
        "compiled programs",
        "CPU cores for this process",
    ]
    assert int(rest[-1].split()[-1]) >= 1
    assert status in (0, devices.UNUSABLE)  # there may be a card that jax does not use


def test_options_that_contradict_each_other_are_one_line(capsys):
    assert devices.main(["--distributed.num-processes", "2"], prog="dimp-jax devices") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dimp-jax devices: error: distributed: num_processes=2 without")


@pytest.mark.usefixtures("no_plugin")
@pytest.mark.parametrize(
    ("driver", "advice"),
    [
        ("580.95.05", 'install the extra cuda, or pip install "jax[cuda13]"'),
        (
            "535.183.01",
            'pip install "jax[cuda12]"; its driver, 535.183.01, is too old for the extra cuda, '
            "which needs 580",
        ),
    ],
)
def test_a_card_that_jax_does_not_use(smi, driver, advice):
    smi(f"NVIDIA A100, {driver}\\nNVIDIA A100, {driver}\\n")
    assert devices.nvidia_gpus() == (["NVIDIA A100"] * 2, driver)
    said = devices.unused_accelerator(None)
    assert said == f"NVIDIA A100 is here, but jax uses the CPU: {advice}"


def test_a_card_that_was_hidden(smi):
    smi("NVIDIA A100, 580.1\\n")
    assert devices.unused_accelerator("cpu").endswith(": JAX_PLATFORMS=cpu says so; unset it")


def test_a_plugin_that_does_not_start(smi, monkeypatch):
    smi("NVIDIA A100, 580.1\\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "jax_cuda13_plugin")
    said = devices.unused_accelerator(None)
    assert said.endswith(": jax_cuda13_plugin is installed, but does not start; jax has said why")


@pytest.mark.parametrize(("text", "status"), [("NVIDIA-SMI failed\\n", 9), ("No devices\\n", 0)])
def test_an_nvidia_smi_without_cards(smi, monkeypatch, text, status):
    monkeypatch.setattr(devices.Path, "glob", lambda *_: iter(()))
    smi(text, status)
    assert devices.nvidia_gpus() == ([], None)
    assert devices.unused_accelerator(None) is None


def test_a_device_that_computes_nonsense_is_told(monkeypatch):
    def broken(jax, device):
        if device.id == 1:
            raise RuntimeError("no kernel image\nand more")

    monkeypatch.setattr(devices, "_compute", broken)
    errors = devices.report(jax)[1]
    assert errors[0] == "device 1 cannot compute: no kernel image"
