"""The study learned_loss: the functions of checkpoints, as numbers, maps and plots."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from dimp_jax.config import Config, ModelConfig, PredictorConfig
from dimp_jax.config.predictor import LearnedParts
from dimp_jax.media.images import InputError
from dimp_jax.predictor import predict
from dimp_jax.studies.learned_loss import figures as study_figures
from dimp_jax.studies.learned_loss import functions as learned
from dimp_jax.studies.learned_loss import sensitivity
from dimp_jax.training import figures

CONFIG = PredictorConfig()


def params(config=CONFIG, **changes):
    """Initial parameters as numpy arrays, some of them replaced."""
    return {n: np.asarray(v) for n, v in predict.init_params(config).items()} | changes


def per_iteration(*names):
    return dataclasses.replace(
        CONFIG, learned=LearnedParts(**dict.fromkeys(names, "per_iteration"))
    )


# ------------------------------------------------------------------------------- functions


def test_functions_are_those_of_the_paper_before_training():
    functions = figures.loss_functions(params(), CONFIG)
    assert functions.label.shape == functions.mask.shape == functions.weight.shape == (1, 100)
    assert functions.distance_cells[20] == pytest.approx(2.0)
    assert functions.label[0, 0] == pytest.approx(1.0)
    assert functions.mask[0, 20] == pytest.approx(0.5)  # the sigmoid of 0 at two cells
    np.testing.assert_array_equal(functions.weight, 1.0)


def test_a_linear_mask_is_shown_as_it_is():
    linear = dataclasses.replace(CONFIG, mask_activation="linear")
    mask = figures.loss_functions(params(linear), linear).mask
    assert mask[0, 20] == pytest.approx(0.5) and mask[0, 0] > 3


@pytest.mark.parametrize("objective", predict.WITHOUT_MAPS)
def test_objectives_without_maps_have_no_functions(objective, tmp_path):
    config = dataclasses.replace(CONFIG, objective=objective)
    values = params(config)
    assert figures.loss_functions(values, config) is None
    figures.learned_loss(tmp_path / "a.png", values, values, config, "step 1")
    assert list(tmp_path.iterdir()) == []
    loss = learned.Loss("it", config, values)
    assert learned.function_rows([loss]) == learned.deviation_rows([loss]) == []
    assert [row["number"] for row in learned.scalar_rows([loss])] == ["step_length", "lambda"]
    assert sensitivity.parts_of(config, values) == ["filter_reg", "log_step_length"]


def test_maps_are_the_functions_at_the_cells_distances():
    label = np.linspace(1, 0, 100, dtype=np.float32)
    weight = np.linspace(2, 1, 100, dtype=np.float32)
    values = params(label=label, weight=weight, mask=np.full(100, np.log(3), np.float32))
    maps = learned.maps(values, CONFIG, 19)
    assert maps.label.shape == (19, 19)
    for row, col, cells in ((9, 9, 0.0), (9, 11, 2.0), (12, 13, 5.0)):
        index = round(cells / CONFIG.bin_width_cells)
        assert maps.label[row, col] == pytest.approx(label[index], rel=1e-5)
        assert maps.above[row, col] == pytest.approx(weight[index] ** 2, rel=1e-5)
        assert maps.below[row, col] == pytest.approx((0.75 * weight[index]) ** 2, rel=1e-5)


def test_numbers_beside_their_initial_values():
    values = params(log_step_length=np.float32(0.0), filter_reg=np.float32(1e-6))
    rows = learned.scalar_rows([learned.Loss("it", CONFIG, values, 7)])
    assert [(r["step"], r["number"]) for r in rows] == [(7, "step_length"), (7, "lambda")]
    assert rows[0]["value"] == 1.0 and rows[0]["initial"] == pytest.approx(0.9)
    assert rows[1]["value"] == pytest.approx(1e-6)  # the floor, 1e-3 squared
    assert rows[1]["initial"] == pytest.approx(0.01)


def test_deviation_says_how_much_and_where():
    change = np.zeros(100)
    change[[10, 40]] = 3.0, -4.0
    found = learned.deviation(change, np.arange(100) * 0.1)
    expected = {"max": 4.0, "max at (cells)": 4.0, "L2": 5.0, "half of it within (cells)": 4.0}
    assert found == expected
    none = learned.deviation(np.zeros(100), np.arange(100) * 0.1)
    assert none["L2"] == 0 and none["max at (cells)"] is none["half of it within (cells)"] is None


def test_parts_of_each_iteration_are_rows_and_curves():
    config = per_iteration("label", "log_step_length")
    values = params(config)
    values["label"] = values["label"] * np.arange(1, 6, dtype=np.float32)[:, None]
    loss = learned.Loss("it", config, values)
    rows = learned.function_rows([loss])
    assert len(rows) == 500 and rows[400]["iteration"] == 5
    assert rows[400]["label"] == pytest.approx(5.0) and rows[400]["initial_label"] == 1.0
    assert rows[400]["weight"] == 1.0  # shared by all iterations
    largest = [r["max"] for r in learned.deviation_rows([loss]) if r["part"] == "label"]
    assert largest == pytest.approx([0, 1, 2, 3, 4])
    assert learned.maps(values, config, 9).label[4, 4] == pytest.approx(5.0)  # the last iteration
    axes = Figure().subplots(1, 3)
    initial = figures.loss_functions(loss.initial, config)
    figures.draw_functions(axes, initial, [("it", "C0", loss.functions)])
    assert [len(axis.lines) for axis in axes] == [1 + 5, 1 + 1, 1 + 1]
    opacity = [line.get_alpha() for line in axes[0].lines[1:]]
    assert opacity == sorted(opacity) and opacity[-1] == 1 and opacity[0] < 0.5
    legend = figures.legend(axes[0], axes[:1])
    assert [text.get_text() for text in legend.get_texts()] == ["initial", "it"]


def test_steps_of_a_training_come_in_order(tmp_path, monkeypatch):
    for step in ("5", "10", "tmp"):
        (tmp_path / "checkpoints" / step).mkdir(parents=True)
    card = {"config": {"model": {"backbone": "resnet18", "predictor": {"num_bins": 100}}}}
    variables = lambda step: {"params": {"predictor": params(filter_reg=np.float32(step))}}
    monkeypatch.setattr(learned.store, "read_card", lambda where: card)
    monkeypatch.setattr(learned.run, "load_variables", lambda folder: variables(int(folder.name)))
    losses = learned.read(str(tmp_path))
    assert [loss.step for loss in losses] == [5, 10]
    assert losses[1].params["filter_reg"] == 10 and losses[1].title == f"{tmp_path}, step 10"
    study_figures.functions(tmp_path / "a.png", losses, along_training=True, title="it")
    records = [{"step": 1, "predictor/step_length": 0.9, "predictor/regularization": 0.01}]
    assert study_figures.along(tmp_path / "b.png", records, [0.9, 0.01], "it")
    assert not study_figures.along(tmp_path / "c.png", [{"step": 1, "loss": 2.0}], [1, 1], "it")
    assert (tmp_path / "b.png").is_file() and not (tmp_path / "c.png").exists()


def test_weights_without_a_trained_predictor_are_refused(monkeypatch):
    monkeypatch.setattr(learned.weights, "read", lambda config: ({"params": {}}, "backbone"))
    whole = Config(model=ModelConfig(backbone="resnet18"))
    with pytest.raises(InputError, match="backbone: has no trained predictor, so no learned loss"):
        learned.of_tracker(whole)
