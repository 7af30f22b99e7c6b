"""The figures of `python -m benchmarks.precision`."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import precision
from dimp_jax import config as configs
from dimp_jax.predictor import predict
from tests.media.test_sequences import make_sequence
from tests.support import small_tracker, small_training
from tests.support.study_problems import random_problem

pytestmark = pytest.mark.usefixtures("small_backbone")
AUC = {  # of the sequences a and b
    "highest": {"a": 0.5, "b": 0.7},
    "tf32": {"a": 0.5, "b": 0.6},
    "bfloat16": {"a": 0.8, "b": 0.7},
}


@pytest.mark.long
def test_figures(tmp_path, monkeypatch, capsys):
    for name in "ab":
        make_sequence(tmp_path / "set" / name)
    problem, config = random_problem(), configs.Config(model=small_tracker.MODEL)
    state = SimpleNamespace(memory=problem, filt=problem.initial)
    params = {"predictor": predict.init_params(config.model.predictor)}
    tracker = SimpleNamespace(
        config=config,
        network=SimpleNamespace(params=params),
        init=lambda image, box_xywh, seed: state,
    )
    of_bits = {bits: name for name, bits in precision.MANTISSA_BITS.items()}
    auc = lambda chosen, sequence, seed: AUC["highest" if chosen is tracker else chosen][
        sequence.name
    ]
    monkeypatch.setattr(precision.trackers, "build", lambda config: tracker)
    shared = []
    monkeypatch.setattr(
        precision, "share_line", lambda config: shared.append(config) or {"kind": ""}
    )
    monkeypatch.setattr(precision.accuracy, "rounded_tracker", lambda tracker, bits: of_bits[bits])
    monkeypatch.setattr(precision.accuracy, "success_auc", auc)
    assert precision.main(["--data", str(tmp_path / "set"), "--frames", "2"]) == 0
    assert len(shared) == 3
    head, *lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert head["config"] == "dimp_lite0"
    solves = [line for line in lines if line["kind"] == "solve"]
    by_name = {line["precision"]: line for line in solves}
    assert by_name["bfloat16"]["filter_off"] > by_name["tf32"]["filter_off"] > 1e-5
    tracked = {line["precision"]: line for line in lines if line["kind"] == "tracking"}
    assert list(tracked) == list(AUC)
    assert tracked["tf32"]["auc"] == pytest.approx(0.55)
    assert (tracked["tf32"]["change"], tracked["tf32"]["largest_change"]) == (-0.05, -0.1)
    assert (tracked["tf32"]["of"], tracked["bfloat16"]["of"]) == ("b", "a")
    assert tracked["bfloat16"]["largest_change"] == 0.3


@pytest.mark.long
def test_share_of_what_is_exact():
    settings = small_training.settings(small_tracker.MODEL)
    share = lambda setting: precision.share_line(
        configs.changed(settings, {"model.matmul_precision": setting})
    )["exact"]
    assert 0 < share("default") < 0.5 and share("highest") == 1
