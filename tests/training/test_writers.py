"""metrics.jsonl: whole lines, each step once, also after a kill; TensorBoard where it is there."""

import json

import pytest

from dimp_jax.training import writers


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def write(directory, steps, resumed_step=0, **options):
    options = {"tensorboard": False} | options
    with writers.MetricsWriter(directory, resumed_step=resumed_step, **options) as writer:
        for step in steps:
            writer.write(step, {"loss": 1 / step})


def test_resumed_runs_have_every_step_once(tmp_path):
    write(tmp_path, [1, 2, 3, 4])
    write(tmp_path, [3, 4, 5], resumed_step=2)
    assert [r["step"] for r in lines(tmp_path)] == [1, 2, 3, 4, 5]
    assert lines(tmp_path)[0] == {"step": 1, "loss": 1.0}


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    write(tmp_path, [1, 2])
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "lo')
    write(tmp_path, [3], resumed_step=2)
    assert [r["step"] for r in lines(tmp_path)] == [1, 2, 3]


def test_numbers_that_json_has_not_become_null(tmp_path):
    with writers.MetricsWriter(tmp_path, resumed_step=0, tensorboard=False) as writer:
        writer.write(1, {"a": float("nan"), "b": float("inf"), "c": 2})
    assert lines(tmp_path) == [{"step": 1, "a": None, "b": None, "c": 2.0}]


def test_tensorboard_files(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")
    write(tmp_path, [1, 2], tensorboard=True)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 100 and b"loss" in events.read_bytes()


def test_without_tensorboard_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install .*\[tensorboard\]"):
        writers.check_tensorboard()
