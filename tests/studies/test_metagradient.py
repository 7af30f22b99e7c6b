"""The study `metagradient`: samples, comparisons of gradients, resumption, its report."""

import dataclasses
import json

import numpy as np
import pytest

from dimp_jax.config import Config
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.config.training import CropConfig, DataConfig, SamplerConfig
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.predictor import predict
from dimp_jax.studies import __main__, metagradient, problems
from dimp_jax.studies.metagradient import measure
from tests.media.test_sequences import make_sequence
from tests.support import small_tracker, study_problems

EXACT = measure.EXACT


def test_training_samples_of_a_sequence(tmp_path):
    (found,) = sequences.load_folder(make_sequence(tmp_path / "s", count=24))
    data = DataConfig(
        sampler=SamplerConfig(train_frames=3, test_frames=2), crop=CropConfig(size_px=64)
    )
    extractor = study_problems.Extractor()
    first, second = problems.from_training(extractor, found, data, 2, 5)
    assert first.feat.shape == (3, 4, 4, 3) and first.test_feat.shape == (2, 4, 4, 3)
    assert float(first.weight.sum()) == pytest.approx(1)
    assert np.abs(first.feat - second.feat).max() > 0
    again, _ = problems.from_training(extractor, found, data, 2, 5)
    np.testing.assert_array_equal(first.test_feat, again.test_feat)


def test_too_short_sequences_are_told(tmp_path):
    (found,) = sequences.load_folder(make_sequence(tmp_path / "s", count=10))
    with pytest.raises(ValueError, match="at least 20 frames"):
        problems.from_training(study_problems.Extractor(), found, DataConfig(), 1, 0)


def test_adjoints_of_a_number_of_iterations():
    named = measure.adjoints_of(PredictorConfig(adjoint="one_step"), 10, (10, 5, 3, 2))
    assert list(named) == [
        EXACT, "checkpointed", "implicit", "one_step", "truncated(2)", "truncated(5)"
    ]  # fmt: skip
    assert named[EXACT].adjoint == EXACT
    assert named["truncated(5)"].truncate_every == 5


def test_angle_and_size():
    a, b = np.array([3.0, 4.0]), np.array([-4.0, 3.0])
    assert measure.cosine(a, a) == pytest.approx(1)
    assert measure.cosine(a, b) == pytest.approx(0)
    assert measure.cosine(a, 0 * b) is None
    assert measure.norm_ratio(2 * a, b) == pytest.approx(2)
    assert measure.norm_ratio(a, 0 * b) is None


@pytest.mark.long
def test_gradients_of_every_adjoint_against_the_exact_one(monkeypatch, tmp_path):
    own = PredictorConfig(num_bins=10, bin_width_cells=0.5)
    model = dataclasses.replace(small_tracker.MODEL, predictor=own)
    few = {
        name: config
        for name, config in measure.adjoints_of(own, 2, (1,)).items()
        if name in (EXACT, "truncated(1)")
    }
    monkeypatch.setattr(measure, "adjoints_of", lambda *_: few)
    args = metagradient.Arguments(out=tmp_path, repeats=1)
    drawn = [study_problems.random_problem(seed) for seed in (0, 1)]
    told = []
    record = measure.compare(
        Config(model=model), predict.init_params(own), drawn, "final", 2, args, told.append
    )
    assert told == list(few) == list(record["adjoints"])
    assert json.loads(json.dumps(record)) == record
    exact = record["adjoints"][EXACT]
    for group, size in record["sizes"].items():
        np.testing.assert_allclose(exact["cosine"][group], 1, err_msg=group)
        np.testing.assert_allclose(exact["ratio"][group], 1)
        assert size == {"label": 10, "mask": 10, "weight": 10, "features": 3 * 36 * 4}.get(
            group, 64 if group == "initial filter" else 1
        )
    found = record["adjoints"]["truncated(1)"]
    assert found["loss_difference"] < 1e-5
    # It lets no gradient through to the start; the exact one has it.
    assert found["cosine"]["initial filter"] == [None, None]
    assert found["ratio"]["initial filter"] == [0, 0]
    assert max(found["cosine"]["label"]) < 1 - 1e-4
    assert all(0 < value < 1 for value in record["optimality"])
    assert exact["seconds"] > 0 and exact["temporary_bytes"] > 0


# ------------------------------------------------------------------------- folder and report


def made_up_record(num_iter):
    """One vector and one number; truncation is good from 5 on."""
    groups = {"label": 10, "filter_reg": 1}

    def adjoint(cosine, ratio, seconds=0.1):
        return {
            "cosine": {"label": [cosine, cosine], "filter_reg": [1.0, 1.0]},
            "ratio": {group: [ratio, ratio] for group in groups},
            "seconds": seconds,
            "temporary_bytes": 1000 * num_iter,
            "loss_difference": 1e-7,
        }

    return {
        "samples": 2,
        "load": 0.25,
        "sizes": groups,
        "norm": {"label": [0.2, 0.3], "filter_reg": [1.5, 2.5]},
        "optimality": [0.5, 0.3],
        "adjoints": {
            EXACT: adjoint(1.0, 1.0),
            "implicit": adjoint(None, 0.0),
            "one_step": adjoint(0.6, 0.4, 0.05),
            "truncated(2)": adjoint(0.9, 0.7),
            "truncated(5)": adjoint(0.995, 0.9),
        },
    }


def test_stopped_it_goes_on_and_then_reports(monkeypatch, tmp_path, capsys):
    make_sequence(tmp_path / "data" / "s", count=24)
    allowed = iter([True, False, True, True, True])
    seen = []

    def compare(config, learned, drawn, loss, num_iter, args, tell):
        if not next(allowed):
            raise KeyboardInterrupt
        seen.append((loss, num_iter))
        return made_up_record(num_iter)

    tracker = study_problems.Tracker()
    monkeypatch.setattr(study_problems.Tracker.network, "params", {"predictor": {}}, raising=False)
    monkeypatch.setattr(measure.trackers, "build", lambda config: tracker)
    monkeypatch.setattr(measure, "draw", lambda *_: [])
    monkeypatch.setattr(measure, "compare", compare)
    out = tmp_path / "out"
    argv = ["metagradient", "--out", str(out), "--data", str(tmp_path / "data")]
    argv += ["--iterations", "2", "10"]
    assert __main__.main(argv) == 130
    assert [p.name for p in (out / "units").iterdir()] == ["final-2.json"]
    assert __main__.main(argv) == 0
    assert seen == [("final", 2), ("final", 10), ("whole", 2), ("whole", 10)]
    text = (out / "report.md").read_text()
    assert "2 training samples (3 train and 3 test frames each" in text
    # Cosines of the label and of the one number, and the label's ratio, after two iterations.
    assert "| one_step | 0.6 | 1 | 0.4 |" in text and "| implicit | - | 1 | 0 |" in text
    assert "After 2 iterations" in text and "Optimality of the solve: 0.4." in text
    assert "| final | 10 | one_step | 50 | 0.5 | 0.01 | 1 |" in text
    assert "began: 0.25 to 0.25" in text
    costs = (out / "cost.csv").read_text().splitlines()
    assert len(costs) == 1 + 4 * 5 and "whole,2,one_step,50.0,0.5,0.002,1.0" in costs
    for name in ("gradients_final", "gradients_whole", "cost"):
        assert f"({name}.png)" in text and (out / f"{name}.png").stat().st_size > 1000
    rows = (out / "summary.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 5 * 2 and "whole,10,one_step,label,0.6,0.4,0.25,0.4" in rows
    lines = (out / "gradients.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 5 * 2 * 2
    assert __main__.main([*argv, "--samples", "9"]) == 2
    assert "another options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "--samples 0: expected 1 or more"),
        ({"iterations": (5, 0)}, "--iterations 5 0: expected numbers of 1 or more"),
        ({"iterations": ()}, "--iterations: expected one or more"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        metagradient.checked(metagradient.Arguments(out=tmp_path, **changes))


def test_quick_never_enlarges(tmp_path):
    quick = lambda **changes: metagradient.quick(
        metagradient.Arguments(out=tmp_path, **changes), ()
    )
    assert quick().iterations == (2, 10) and quick().losses == ("final",)
    assert quick(iterations=(3, 4, 5)).iterations == (3, 4)
    assert quick(samples=1, frames=30).frames == 30
