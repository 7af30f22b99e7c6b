"""Config files: found by name and path, hashable, through JSON and back, and their mistakes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints import torch_names
from dimp_jax.config import Config, MemoryConfig, ModelConfig

NAMES = sorted(p.stem for p in config.config_dir().glob("*.py") if p.stem != "__init__")


def test_shipped_names():
    assert {"dimp_lite0", "dimp18", "dimp18_vot18", "dimp50", "dimp50_vot18"} <= set(NAMES)
    assert {"dimp50_vot19", "prdimp18", "prdimp50", "prdimp50_vot18", "super_dimp"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loads_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = config.load(name)
    assert isinstance(loaded, Config)
    assert config.load(str(config.config_dir() / f"{name}.py")) == loaded
    assert config.load(f"configs/{name}.py") == loaded  # as written in the README, from anywhere
    copy = tmp_path / "mine.py"
    copy.write_text((config.config_dir() / f"{name}.py").read_text())
    assert config.load("mine.py") == config.load(str(copy)) == loaded


def test_the_untrained_config_is_the_network_of_the_default_one():
    untrained, default = config.load("dimp_lite0_untrained"), config.load("dimp_lite0")
    assert untrained.checkpoint is None
    assert (untrained.model, untrained.training) == (default.model, default.training)
    assert untrained.tracker == config.TrackerConfig()


@pytest.mark.parametrize("name", NAMES)
def test_hashable_and_frozen(name):
    loaded = config.load(name)
    assert hash(loaded) == hash(config.load(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.seed = 3


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_through_json(name):
    loaded = dataclasses.replace(config.load(name), seed=7, checkpoint="somewhere")
    back = config.from_dict(Config, json.loads(json.dumps(config.to_dict(loaded))))
    assert back == loaded and hash(back) == hash(loaded)


def test_a_local_file_comes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "dimp18.py").write_text(
        "from dimp_jax import config\n"
        "import dataclasses\n"
        "def get_config():\n"
        "    return dataclasses.replace(config.load('dimp18'), seed=99)\n"
    )
    assert config.load("configs/dimp18.py").seed == 99
    assert config.load("dimp18").seed == 0


def test_unknown_name_lists_the_near_ones():
    with pytest.raises(FileNotFoundError, match="no config 'dimp_18': .*one of: .*dimp18"):
        config.load("dimp_18")
    with pytest.raises(FileNotFoundError) as caught:
        config.load("nothing_like_it")
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(FileNotFoundError, match="no config 'elsewhere/dimp5.py': .*dimp50"):
        config.load("elsewhere/dimp5.py")


def test_not_a_config_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"mine.py: a config file must define get_config\(\)"):
        config.load(str(path))
    path.write_text("def get_config():\n    return {'seed': 1}\n")
    with pytest.raises(ValueError, match=r"get_config\(\) returned dict, expected Config"):
        config.load(str(path))


def test_unknown_field():
    values = config.to_dict(config.load("dimp18"))
    values["tracker"]["memory"]["learning_rat"] = 0.1
    with pytest.raises(ValueError, match="MemoryConfig has no field 'learning_rat'; near: learn"):
        config.from_dict(Config, values)
    with pytest.raises(ValueError, match="ModelConfig has no field 'zzz'; near: .*backbone"):
        config.from_dict(ModelConfig, {"backbone": "resnet18", "zzz": 1})


def test_changes_of_fields():
    changed = config.changed(config.load("dimp18"), {"model.predictor.num_iter": 3, "seed": 1})
    assert (changed.model.predictor.num_iter, changed.seed) == (3, 1)
    with pytest.raises(ValueError, match="PredictorConfig has no field 'num_iters': .*num_iter"):
        config.changed(config.load("dimp18"), {"model.predictor.num_iters": 3})
    changed = config.changed(changed, {"tracker.augment.rotations_deg": [5, -5.0]})
    assert changed.tracker.augment.rotations_deg == (5, -5)
    given = {
        "checkpoint": Path("w"),
        "seed": np.int64(3),
        "tracker.search_area_scale": np.float32(4),
    }
    changed = config.changed(changed, given)
    assert [changed.checkpoint, changed.seed, changed.tracker.search_area_scale] == ["w", 3, 4.0]
    assert type(changed.seed) is int and type(changed.tracker.search_area_scale) is float


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", "x", "Config.seed: 'x': expected int"),
        ("tracker.search_area_scale", "big", "TrackerConfig.search_area_scale: 'big': .* float"),
        ("tracker.refine.method", "scale-search", r"expected Literal\['iou', .*'scale_search'\]"),
        ("tracker.max_scale_change", "1", r"expected float \| None"),
        (
            "tracker.augment.shifts",
            ((0.6, 0.6), (0.6, "x")),
            r"expected tuple\[tuple\[float, float",
        ),
        ("tracker.memory", None, "TrackerConfig.memory: None: expected MemoryConfig"),
    ],
)
def test_changes_to_values_of_another_type(name, value, said):
    with pytest.raises(ValueError, match=said):
        config.changed(config.load("dimp18"), {name: value})


def test_missing_fields_are_the_defaults():
    assert config.from_dict(MemoryConfig, {"size": 3}) == MemoryConfig(size=3)


# -------------------------------------------------------- the parameter files of behaviour 6.10

VOT18_ROTATIONS = (5, -5, 10, -10, 20, -20, 30, -30, 45, -45, -60, 60)
FOUR_SHIFTS = {(0.6, 0.6), (-0.6, 0.6), (0.6, -0.6), (-0.6, -0.6)}
TABLE = {
    "dimp18": {
        "backbone": "resnet18",
        "channels": 256,
        "crop, area": (288, 5),
        "memory": (50, 0.01, 0.25),
        "train_interval": 20,
        "iterations": (10, 2, 1),
        "window": (False, False),
        "rotations": (10, -10, 45, -45),
        "blurs": ((3, 1), (1, 3), (2, 2)),
        "shifts": FOUR_SHIFTS,
        "dropout": (2, 0.2),
        "expansion": 2,
        "thresholds": (0.25, 0.8, 0.5),
        "displacement": 0.8,
        "refine": ("iou", 5, 1, 1),
    },
    "dimp18_vot18": {
        "backbone": "resnet18",
        "channels": 256,
        "crop, area": (224, 4),
        "memory": (250, 0.0075, 0),
        "train_interval": 10,
        "iterations": (25, 3, 3),
        "window": (True, True),
        "rotations": VOT18_ROTATIONS,
        "blurs": ((2, 0.2), (0.2, 2), (3, 1), (1, 3), (2, 2)),
        "shifts": FOUR_SHIFTS,
        "dropout": (7, 0.2),
        "expansion": 2,
        "thresholds": (0, 100, 0.45),
        "displacement": 0.7,
        "refine": ("iou", 5, 1, 1),
    },
    "dimp50_vot19": {
        "backbone": "resnet50",
        "channels": 512,
        "crop, area": (256, 4.5),
        "memory": (100, 0.0075, 0),
        "train_interval": 10,
        "iterations": (15, 2, 2),
        "window": (True, True),
        "rotations": (-5, 10, -30, 60),
        "blurs": ((2, 0.2), (1, 3)),
        "shifts": {(0.6, 0.6), (-0.6, -0.6)},
        "dropout": (3, 0.2),
        "expansion": 1.4,
        "thresholds": (0, 100, 0.45),
        "displacement": 0.7,
        "refine": ("iou", 3, 1, 1),
    },
}
RESNET50 = {"backbone": "resnet50", "channels": 512}
RELATIVE = {"refine": ("iou_relative", 10, 2.5e-3, 2.5e-3)}
LARGE = RESNET50 | RELATIVE | {"crop, area": (352, 6)}
TABLE["dimp50"] = TABLE["dimp18"] | RESNET50
TABLE["dimp50_vot18"] = TABLE["dimp18_vot18"] | RESNET50
TABLE["prdimp18"] = TABLE["dimp18"] | RELATIVE | {"thresholds": (0.04, 0.8, 0.5)}
TABLE["prdimp50"] = TABLE["prdimp18"] | LARGE
TABLE["super_dimp"] = TABLE["dimp18"] | LARGE
TABLE["prdimp50_vot18"] = {
    **TABLE["dimp50_vot18"],
    **RELATIVE,
    "memory": (250, 0.01, 0),
    "train_interval": 1,
    "iterations": (25, 1, 1),
    "thresholds": (0, 99999, 999999),
}


@pytest.mark.parametrize("name", TABLE)
def test_published_parameters(name):
    loaded = config.load(name)
    model, tracker = loaded.model, loaded.tracker
    augment, memory = tracker.augment, tracker.memory
    localize, refine = tracker.localize, tracker.refine
    assert len(augment.shifts) == len(set(augment.shifts)) and augment.flip
    got = {
        "backbone": model.backbone,
        "channels": model.clf_channels,
        "crop, area": (tracker.crop_size_px, tracker.search_area_scale),
        "memory": (memory.size, memory.learning_rate, memory.init_samples_minimum_weight),
        "train_interval": memory.train_interval,
        "iterations": (
            memory.init_iterations,
            memory.update_iterations,
            memory.hard_negative_iterations,
        ),
        "window": (localize.window, localize.hard_negative_without_window),
        "rotations": augment.rotations_deg,
        "blurs": augment.blur_sigmas_px,
        "shifts": set(augment.shifts),
        "dropout": (augment.dropout_samples, augment.dropout_rate),
        "expansion": augment.expansion_factor,
        "thresholds": (
            localize.not_found_threshold,
            localize.distractor_threshold,
            localize.hard_negative_threshold,
        ),
        "displacement": localize.displacement_scale,
        "refine": (refine.method, refine.iterations, refine.step_position, refine.step_size),
    }
    assert got == TABLE[name]
    border = ("inside_major", 1.5) if got["crop, area"] == (352, 6) else ("replicate", None)
    assert (tracker.border_mode, tracker.max_scale_change) == border
    softmax = "softmax" if name in ("prdimp18", "prdimp50") else "none"
    assert (localize.neighborhood_scale, localize.score_preprocess) == (2.2, softmax)
    # The same in all of the table's columns.
    assert tracker.crop_arithmetic == "2019"
    assert (memory.hard_negative_learning_rate, memory.sample_interval) == (0.02, 1)
    assert memory.low_score_threshold is None
    assert (refine.num_random_boxes, refine.top_k, refine.max_aspect_ratio) == (9, 3, 6)
    assert (refine.jitter_position, refine.jitter_size, refine.step_decay) == (0.1, 0.5, 1)
    assert (model.filter_size_cells, model.iou_channels) == (4, 256)
    assert model.clf_blocks == {"resnet18": 1, "resnet50": 0}[model.backbone]


# ------------------------------------------------- the published trainings, behaviour 4.2 and 5

TRAININGS = {  # rates of: filter initialiser, filter optimiser, classifier, IoU net, backbone
    "dimp18": ((5e-5, 5e-4, 5e-5, 1e-3, 2e-4), 26, 26_000),
    "dimp50": ((5e-5, 5e-4, 5e-5, 2e-4, 2e-5), 10, 26_000),
    "prdimp18": ((1e-3, 1e-3, 1e-3, 1e-3, 2e-4), 26, 26_000),
    "prdimp50": ((1e-3, 1e-3, 1e-3, 1e-3, 2e-5), 10, 26_000),
    "super_dimp": ((5e-5, 5e-4, 5e-5, 1e-3, 2e-5), 20, 40_000),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_published_training(name):
    training = config.load(name).training
    rates = dict(training.optim.learning_rates)
    modules = ("filter_init", "predictor", "clf", "iou", "backbone")
    per_epoch = training.save_every * training.global_batch
    got = (tuple(rates.get(m, rates.get("default")) for m in modules), training.global_batch)
    assert (*got, per_epoch) == TRAININGS[name]
    assert training.total_steps == 50 * training.save_every
    assert training.optim.decay_every_steps == 15 * training.save_every
    assert (training.optim.decay_factor, training.optim.clip_norm) == (0.2, None)

    is_super, is_dimp = name == "super_dimp", name.startswith("dimp")
    data, loss = training.data, training.loss
    assert [weight for _, weight in data.sources] == [1.0 if is_super else 0.25, 1, 1, 1]
    assert data.sampler.max_gap == (30 if is_dimp else 200)
    crop = data.crop
    assert crop.arithmetic == ("2019" if is_dimp else "2020")
    window = (crop.size_px, crop.search_area_scale, crop.border_mode, crop.max_scale_change)
    assert window == ((352, 6, "inside_major", 1.5) if is_super else (288, 5, "replicate", None))
    jitter = (crop.train_center_jitter, crop.train_scale_jitter)
    jitter += (crop.test_center_jitter, crop.test_scale_jitter, crop.flip_probability)
    assert jitter == (3, 0.25, 5.5 if is_super else 4.5, 0.5, 0.5 if is_super else 0)
    proposals = (data.proposals.kind, data.proposals.count)
    assert proposals == (("perturb", 8) if is_dimp else ("gaussian_mixture", 128))
    weights = (loss.iou, loss.initial, loss.final, loss.iterates)
    is_kl = name.startswith("prdimp")
    scores = (0.25, 0.25, 1.0) if is_kl else (100, 100, 400)
    box = 0.0025 if is_kl else 0.01 if is_super else 1.0
    assert weights == (box, *scores)
    assert loss.classification == ("kl" if is_kl else "hinge")
    assert loss.box_regression == ("iou" if is_dimp else "kl")
    assert loss.label_sigma_cells == pytest.approx(
        0.25 / crop.search_area_scale * crop.size_px / 16
    )
    predictor = config.load(name).model.predictor
    assert predictor.init_label_sigma_cells == loss.label_sigma_cells
    frozen = set()
    if is_super:  # all of the backbone but its third stage
        paths = (row.path for row in torch_names.entries(name) if row.path is not None)
        frozen = {"/".join(path[1:3]) for path in paths if path[1] == "backbone"}
        frozen = {module for module in frozen if "/layer3_" not in module}
    assert set(training.optim.frozen) == frozen
