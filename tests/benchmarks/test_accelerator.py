"""The parts of `python -m benchmarks accelerator` on small networks, and what does not fit."""

import dataclasses
import json
import subprocess
import types

import jax
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from benchmarks import cost_model
from benchmarks.accelerator import budget, command, frames, matrices, networks, samples, sequences
from benchmarks.accelerator import steps as training_steps
from dimp_jax import config as configs
from dimp_jax.config import MemoryConfig
from tests.support import small_tracker, small_training

SIZES = dataclasses.replace(
    budget.CPU,
    matrix=32,
    networks=("small",),
    frames=8,
    batches=(("small", 2),),
    rounds=1,
    lanes=(2,),
    updated_together=(1, 4),
    loader_s=0.1,
    frame_s={"small": 1},
    step_s={"small": 1},
    lanes_s=1,
    update_s=1,
)
CARD = "NVIDIA H100 SXM"


@pytest.fixture
def run():
    return budget.Run(SIZES, 1000, CARD)


def out_of_memory(*_):
    raise JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 9 bytes")
    yield


def test_matrix_rates(run):
    lines = list(matrices.figures(run))
    assert [line["name"] for line in lines] == [
        f"matrix product, {kind}" for kind in matrices.KINDS
    ]
    assert all(line["value"] >= 0 and line["size"] == 32 for line in lines)
    assert [line["name"].split(", ")[1] for line in lines if "of_data_sheet" in line] == [
        "float32 default",
        "bfloat16",
    ]


@pytest.mark.long
@pytest.mark.usefixtures("small_backbone")
def test_frames_and_lanes(run, monkeypatch, request):
    jax.config.update("jax_disable_most_optimizations", True)
    request.addfinalizer(lambda: jax.config.update("jax_disable_most_optimizations", False))
    memory = MemoryConfig(size=20, train_interval=5, hard_negative_iterations=2)
    tracker = small_tracker.make(small_tracker.settings("scale_search", memory=memory))
    monkeypatch.setattr(networks, "tracker", lambda name: tracker)
    monkeypatch.setattr(sequences, "NETWORK", "small")
    (line,) = frames.figures(run)
    parts = line["split_ms"]
    assert sum(parts.values()) == pytest.approx(line["frame_ms"], abs=0.01)
    assert min(parts[part] for part in ("host crop", "transfer", "program", "report")) > 0
    assert line["value"] == pytest.approx(1e3 / line["frame_ms"], rel=1e-3)
    lines = {line["name"]: line for line in sequences.figures(run)}
    assert list(lines) == [
        "2 lanes of small",
        "best number of lanes",
        "filter updates, 1 by a call",
    ]
    assert lines["best number of lanes"]["value"] == 2
    assert all(line["value"] > 0 for line in lines.values())


def test_training_takes_a_smaller_batch_where_memory_ends(run, monkeypatch):
    config = small_training.settings()
    monkeypatch.setattr(networks, "training_config", lambda name, dtype: config)
    tried = []

    def step(run, name, dtype, batch, _):
        tried.append((dtype, batch))
        return out_of_memory() if batch == 2 else iter([{"name": "it", "value": 5.0}])

    monkeypatch.setattr(training_steps, "_training", step)
    lines = list(training_steps.figures(run, "float32"))
    assert tried == [("float32", 2), ("float32", 1)]
    assert lines[0] == {
        "name": "training of small, float32",
        "error": "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes",
    }
    assert run.values == {"it": 5.0}


def test_training_step(run, monkeypatch):
    """With a step in the place of the network's, which takes long to compile."""

    def step(state, batch):
        loss = state["weight"].sum() * batch.train_box.mean()
        return {"weight": state["weight"] + loss}, {"loss": loss}

    config = small_training.settings()
    monkeypatch.setattr(networks, "training_config", lambda name, dtype: config)
    monkeypatch.setattr(networks, "variables", lambda config: {"weight": np.ones(4, np.float32)})
    monkeypatch.setattr(training_steps.steps, "init_state", lambda variables, config: variables)
    monkeypatch.setattr(training_steps.steps, "make_train_step", lambda config: step)
    (line,) = training_steps.figures(run, "bfloat16")
    assert line["batch"] == 2 and line["value"] == pytest.approx(2e3 / line["step_ms"], rel=1e-2)
    assert line["gflop_a_sample"] >= 0 and line["scratch_mib"] >= 0


def test_samples_are_of_noise_and_of_the_right_shapes():
    config = small_training.settings()
    shapes = cost_model.sample_shapes(config, 2)
    made = training_steps.noise_samples(config, 2)
    for name, shape in shapes._asdict().items():
        array = getattr(made, name)
        assert (array.shape, array.dtype) == (shape.shape, shape.dtype), name
    assert np.ptp(made.train_crops) > 200


def test_share_of_waiting(run, monkeypatch):
    monkeypatch.setattr(samples, "_rate", lambda run, name, workers: [{"name": name, "value": 30}])
    run.values["training of small, float32"] = 40.0
    _, line = samples.figures(run)
    assert line["name"] == "waiting in training of small, float32" and line["value"] == 0.25


@pytest.mark.parametrize("name", ["dimp18", "dimp_lite0"])
def test_networks_are_the_shipped_configs(name):
    config = networks.training_config(name, "bfloat16")
    assert config.model.compute_dtype == "bfloat16"
    shipped = configs.load(name)
    assert config.training.data.proposals == shipped.training.data.proposals
    made = networks.variables(config)
    assert set(made) == {"params", "batch_stats"} and "label" in made["params"]["predictor"]
    assert all(np.isfinite(leaf).all() for leaf in made["params"]["clf"]["conv"].values())


def test_what_does_not_fit_is_left_out_and_said(run):
    run.seconds = 0
    (line,) = run.attempt("a part", 7, lambda: [{"name": "a part", "value": 1.0}])
    assert line == {"name": "a part", "left_out": "takes about 7 s, and 0 s are left"}
    assert run.values == {}


def test_only_lack_of_memory_is_passed_over(run):
    def fail():
        raise JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(JaxRuntimeError, match="a bug"):
        list(run.attempt("a part", 1, fail))


@pytest.mark.parametrize("at_once", [1, 3])
def test_compiled_hands_on_results_and_errors(at_once):
    def fail():
        raise JaxRuntimeError("RESOURCE_EXHAUSTED")

    made = budget.compiled({"a": lambda: 1, "b": fail, "c": lambda: 3}, at_once)
    assert made["a"]() == 1 and made["c"]() == 3
    with pytest.raises(JaxRuntimeError):
        made["b"]()


def test_ratios_to_the_cpu(run, monkeypatch):
    run.values = {"a": 10.0, "b": 1.0}
    lines = [
        {"machine": "here"},
        {"name": "a", "value": 4.0, "batch": 2, "unit": "samples/s"},
        {"name": "b", "left_out": "takes long"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"name": "cut'

    def stopped(*_, timeout, **__):
        raise subprocess.TimeoutExpired("it", timeout, output=text.encode())

    monkeypatch.setattr(command.subprocess, "run", stopped)
    assert list(command.cpu_ratios(run)) == [
        {"name": "a", "ratio_to_cpu": 2.5, "value": 4.0, "batch": 2, "on": "cpu"},
        {"name": "b", "left_out": "takes long", "on": "cpu"},
        {"name": "ratios to the CPU", "error": "stopped: no time left"},
    ]
    failed = types.SimpleNamespace(stdout=b"", stderr=b"one\nno such module\n", returncode=1)
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: failed)
    assert list(command.cpu_ratios(run)) == [
        {"name": "ratios to the CPU", "error": "no such module"}
    ]


def test_table(capsys):
    command.print_table(
        [
            {"machine": "here"},
            {"name": "a", "value": 12.0, "unit": "frames/s", "of_model": 0.5, "compile_s": 3.0},
            {"name": "a", "value": 4.0, "ratio_to_cpu": 3.0, "on": "cpu"},
            {"name": "b", "left_out": "takes long"},
        ]
    )
    head, row, missing = capsys.readouterr().out.splitlines()
    assert head.split() == "figure value unit x CPU of model compile s peak MiB".split()
    assert row.split() == ["a", "12", "frames/s", "3.0", "0.5", "3"]
    assert missing == "b: takes long"


def test_groups_are_known():
    for sizes in (budget.ACCELERATOR, budget.CPU, budget.REFERENCE):
        assert set(sizes.groups) <= set(command.GROUPS)
        assert set(sizes.networks) == set(sizes.frame_s) == set(sizes.step_s)


def test_rows_of_the_model():
    assert cost_model.row_of("NVIDIA H100 80GB HBM3") == CARD
    assert cost_model.row_of("TPU v5 lite") == "TPU v5e"
    assert cost_model.row_of("cpu") is None
    assert set(cost_model.KINDS.values()) == set(cost_model.ACCELERATORS)
