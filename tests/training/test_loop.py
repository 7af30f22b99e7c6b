"""train.py from the outside: resuming bit for bit, signals, bad losses, and what is left behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dimp_jax
from dimp_jax.checkpoints import run
from dimp_jax.data.source import BrokenFrame
from dimp_jax.training import loop, steps, workdir
from dimp_jax.training.command import main
from dimp_jax.training.start import start_variables
from tests.support import LITTLE_OPTIMISATION, ROOT, tiny_config
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

CONFIG = ROOT / "tests" / "support" / "tiny_training.py"
PATIENCE_S = 240
SPEED = ("steps_per_s", "examples_per_s", "data_wait_share")


@pytest.fixture(scope="module")
def environment():
    """Two virtual devices: the last of two equal flags counts."""
    flags = f"{LITTLE_OPTIMISATION} --xla_force_host_platform_device_count=2"
    return os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}"}


def command(workdir, *options):
    line = [sys.executable, str(ROOT / "train.py"), str(CONFIG), "--workdir", str(workdir)]
    return [*line, *options]


def train(environment, workdir, *options, status=0):
    done = subprocess.run(
        command(workdir, *options),
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def records(workdir):
    path = Path(workdir) / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def start_until(environment, workdir, step, *options, start_new_session=False):
    """Starts a run and waits until it has logged `step`."""
    process = subprocess.Popen(
        command(workdir, *options),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=start_new_session,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not any(r["step"] >= step for r in records(workdir)):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.005)
    return process


@pytest.fixture(scope="module")
def straight(environment, tmp_path_factory):
    """The work directory of 20 steps without interruption."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    train(environment, workdir)
    return workdir


def restored(workdir):
    """The latest state of a run."""
    config = tiny_config.get_config()
    template = steps.init_state(start_variables(config)[0], config)
    with run.RunCheckpoints(workdir, keep_last=2) as checkpoints:
        return checkpoints.restore(template)


def digests(workdir, step):
    return run.read_meta(Path(workdir) / run.FOLDER / str(step))["digests"]


@pytest.mark.slow
def test_what_a_run_leaves_behind(straight):
    assert {p.name for p in straight.iterdir()} == {
        ".lock",
        "card.json",
        "checkpoints",
        "config.json",
        "figures",
        "metrics.jsonl",
    }
    logged = records(straight)
    assert [r["step"] for r in logged] == list(range(1, 21))
    expected = {"loss", "loss/iou", "loss/final", "loss/initial", "loss/iterates", "grad_norm"}
    expected |= {"grad_norm/clf", "grad_norm/predictor", "learning_rate/default", *SPEED}
    expected |= {"predictor/step_length", "predictor/regularization"}
    for record in logged:
        assert expected <= set(record) and all(v is not None for v in record.values())
    assert [r["step"] for r in logged if "validation/loss" in r] == [10, 20]
    pictures = {p.name for p in (straight / "figures").iterdir()}
    assert {f"learned_loss_{step:07d}.png" for step in (10, 20)} <= pictures
    assert logged[-1]["loss"] < logged[0]["loss"]


@pytest.mark.slow
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(environment, straight, tmp_path):
    process = start_until(environment, tmp_path / "run", 11)
    process.kill()
    process.communicate()
    assert 10 <= max(r["step"] for r in records(tmp_path / "run")) < 20
    done = train(environment, tmp_path / "run")
    # The last one that was whole: a save goes on beside the steps after it.
    assert any(f"from step {step} to step 20" in done.stdout for step in (5, 10, 15))
    assert digests(tmp_path / "run", 20) == digests(straight, 20)
    without_speed = lambda r: {k: v for k, v in r.items() if k not in SPEED}
    assert [without_speed(r) for r in records(tmp_path / "run")] == [
        without_speed(r) for r in records(straight)
    ]


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_0(environment, straight, tmp_path):
    """As `timeout` and SLURM send it: to the process, and to its group with the workers."""
    options = ("--training.total-steps", "100000", "--training.data.num-workers", "2")
    process = start_until(environment, tmp_path, 2, *options, start_new_session=True)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # so that both arrive
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    step = max(int(p.name) for p in (tmp_path / run.FOLDER).iterdir() if p.name.isdecimal())
    assert f"SIGTERM: saved step {step}" in output
    done = train(environment, tmp_path, "--training.total-steps", str(max(20, step)))
    assert f"from step {step}" in done.stdout
    if step < 20:
        assert digests(tmp_path, 20) == digests(straight, 20)


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_end_together_and_one_goes_on(environment, straight, tmp_path):
    """SIGTERM to one of two processes of one device; then one process of two devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = f"{environment['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    one_device = environment | {"XLA_FLAGS": flags}
    options = ("--training.total-steps", "100000", "--distributed.coordinator", address)
    options += ("--distributed.num-processes", "2", "--distributed.process-id")
    other = subprocess.Popen(
        command(tmp_path, *options, "1"),
        env=one_device,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        main = start_until(one_device, tmp_path, 2, *options, "0")
        other.send_signal(signal.SIGTERM)
        for process in (other, main):
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, output
    finally:
        for process in (other, main):
            process.kill()
    step = max(int(p.name) for p in (tmp_path / run.FOLDER).iterdir() if p.name.isdecimal())
    assert f"SIGTERM: saved step {step}" in output
    assert [r["step"] for r in records(tmp_path)] == list(range(1, step + 1))
    done = train(environment, tmp_path, "--training.total-steps", str(max(20, step)))
    assert f"from step {step}" in done.stdout
    if step < 20:
        np.testing.assert_equal(digests(tmp_path, 20), digests(straight, 20))


@pytest.mark.long
def test_a_bad_loss_stops_the_run_and_keeps_the_checkpoint_before(environment, straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    poisoned = restored(tmp_path / "run")
    poisoned.params["iou"]["iou_predictor"]["bias"][0] = np.nan
    with run.RunCheckpoints(tmp_path / "run", keep_last=2) as checkpoints:
        poisoned = poisoned.replace(step=np.asarray(21, np.int32))
        checkpoints.save(poisoned)
    done = train(environment, tmp_path / "run", "--training.total-steps", "30", status=1)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("train.py: error: step 22: loss/iou is nan; ")
    kept = [int(p.name) for p in (tmp_path / "run" / run.FOLDER).iterdir() if p.name.isdecimal()]
    assert max(kept) == 21
    assert max(r["step"] for r in records(tmp_path / "run")) == 20


@pytest.mark.slow
def test_a_trained_run_tracks(straight):
    tracker = dimp_jax.load(straight)
    assert tracker.notice is None
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    state = tracker.init(image, (30, 30, 40, 30))
    state, result = tracker.step(state, image)
    assert np.isfinite(result.box_xywh).all()
    # The same weights as those of the best step, not of the last one.
    best = run.load_variables(run.step_folder(straight))
    assert int(run.step_folder(straight).name) in (10, 20)
    kernel = best["params"]["filter_init"]["conv"]["kernel"]
    np.testing.assert_array_equal(tracker.network.params["filter_init"]["conv"]["kernel"], kernel)


def test_bad_input_is_one_line_and_nothing_is_written(environment, tmp_path):
    done = train(environment, tmp_path / "run", "--training.global-batch", "5", status=2)
    (line,) = done.stderr.strip().splitlines()
    assert line == (
        "train.py: error: global_batch=5 does not divide over 2 devices; nearest: 4 or 6"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--training.total-steps", "0"], "training.total_steps=0: expected 1 or more"),
        (
            ["--training.loss.box-regression", "kl"],
            "box_regression='kl' and training.data.proposals.kind='perturb': expected 'iou' with",
        ),
        (
            ["--training.data.proposals.kind", "gaussian_mixture"],
            "box_regression='iou' and training.data.proposals.kind='gaussian_mixture': expected",
        ),
        (["--training.data.proposals.count", "0"], "proposals.count=0: expected 1 or more"),
        (["--training.data.sources", "nowhere", "1"], "TFDS_DATA_DIR"),
        (["--checkpoint", "nowhere"], "--checkpoint nowhere and --training.start random: which"),
        (
            ["--checkpoint", "nowhere", "--training.start", "checkpoint"],
            "nowhere: expected a checkpoint directory",
        ),
        (["--training.tracking.frames", "0"], "tracking.frames=0: expected 1 or more, or None"),
        (["--training.tracking.sequences-dir", "nowhere"], "nowhere: no such folder"),
        (["--training.optim.frozen", "backbon"], "backbon"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert main([str(CONFIG), "--workdir", str(tmp_path / "run"), *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train.py: error: ") and message in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error, status", [(BrokenFrame("no image"), 2), (ChildProcessError("no worker"), 1)]
)
def test_trouble_with_the_data_is_one_line(error, status, tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise error

    monkeypatch.setattr(loop, "train", fails)
    assert main([str(CONFIG), "--workdir", str(tmp_path)]) == status
    assert re.fullmatch(rf"train.py: error: {error}.*\n", capsys.readouterr().err)


@pytest.mark.slow
def test_another_config_and_a_second_run_are_refused(straight, capsys):
    before = sorted(straight.rglob("*"))
    argv = [str(CONFIG), "--workdir", str(straight)]
    assert main([*argv, "--training.global-batch", "8"]) == 2
    assert "holds a run with training.global_batch=4, now it is 8" in capsys.readouterr().err
    with workdir.alone(straight):
        assert main(argv) == 2
    assert "another training is running in it" in capsys.readouterr().err
    assert sorted(straight.rglob("*")) == before


@pytest.mark.long
@pytest.mark.slow
def test_the_debug_config_learns(environment, tmp_path):
    """The README's first training: the loss of 60 steps falls to less than half."""
    line = [sys.executable, str(ROOT / "train.py"), "configs/debug.py", "--workdir", str(tmp_path)]
    # One device, and all optimisation that a user gets; only the code generator is the faster one.
    flags = [flag for flag in environment["XLA_FLAGS"].split() if "emitters" in flag]
    environment = environment | {"XLA_FLAGS": " ".join(flags)}
    subprocess.run(line, env=environment, cwd=ROOT, check=True, timeout=PATIENCE_S)
    losses = [r["loss"] for r in records(tmp_path)]  # means of five steps each
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    validated = [r["validation/loss"] for r in records(tmp_path) if "validation/loss" in r]
    assert len(validated) == 2 and validated[-1] < losses[0]
