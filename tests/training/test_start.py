"""From weights to a training, and from a training back to torch names."""

import dataclasses

import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax import convert
from dimp_jax.checkpoints import CheckpointError, run, shipped, state_dict, store, weights_file
from dimp_jax.training import start, steps, workdir
from tests.support import golden_files, tiny_config

HEADS = {"clf", "filter_init", "iou", "predictor"}


def training_of(name, checkpoint):
    """A shipped config that starts from `checkpoint`, its backbone frozen to keep it small."""
    config = dataclasses.replace(configs.load(name), checkpoint=str(checkpoint))
    optim = dataclasses.replace(
        config.training.optim, frozen=("backbone",), learning_rates=(("default", 1e-3),)
    )
    training = dataclasses.replace(config.training, optim=optim, start="checkpoint")
    return dataclasses.replace(config, training=training)


def save_run(directory, config, name, variables, step=5):
    """A work directory with one checkpoint, as a training leaves it."""
    workdir.prepare(directory, config, name)
    state = steps.init_state(variables, config).replace(step=np.asarray(step, np.int32))
    with run.RunCheckpoints(directory, keep_last=1) as checkpoints:
        import jax

        checkpoints.save(jax.tree.map(np.asarray, state))


def write_checkpoint(path, name, architecture, variables, extras=None):
    card = workdir.card(configs.load(name), "a test") | {
        "architecture": architecture,
        "contains": sorted(variables["params"]),
    }
    store.save(path, variables, card, extras)


@pytest.fixture(scope="module")
def dimp18(tmp_path_factory):
    """A converted DiMP-18 and its state dict."""
    tensors = golden_files.state_dict("dimp18")
    path = tmp_path_factory.mktemp("dimp18") / "converted"
    variables, extras = state_dict.from_torch(tensors, "dimp18")
    write_checkpoint(path, "dimp18", "dimp18", variables, extras)
    return path, tensors


def test_from_a_dimp_checkpoint_and_back_bit_for_bit(dimp18, tmp_path):
    path, tensors = dimp18
    config = training_of("dimp18", path)
    variables, name = start.start_variables(config)
    assert set(variables["params"]) == HEADS | {"backbone"} and "fresh" not in name
    (tmp_path / "run" / "extras").mkdir(parents=True)  # of a start that was killed
    save_run(tmp_path / "run", config, name, variables)
    convert.to_npz(tmp_path / "run", tmp_path / "back.npz")
    with np.load(tmp_path / "back.npz") as back:
        assert list(back.files) == list(tensors)
        for key, tensor in tensors.items():
            np.testing.assert_array_equal(back[key], tensor, err_msg=key)


def test_from_imagenet_weights_the_heads_are_fresh(dimp18, tmp_path):
    complete, _ = store.load(dimp18[0])
    backbone = {k: {"backbone": v["backbone"]} for k, v in complete.items()}
    write_checkpoint(tmp_path / "imagenet", "dimp18", "resnet18", backbone)
    config = training_of("dimp18", tmp_path / "imagenet")
    variables, name = start.start_variables(config)
    assert set(variables["params"]) == HEADS | {"backbone"}
    assert name.endswith("fresh: clf, filter_init, predictor, iou")
    kernel = lambda v: v["params"]["backbone"]["conv1"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel(variables), kernel(complete))
    conv = variables["params"]["clf"]["conv"]["kernel"]  # N(0, 2 / (k k out))
    assert conv.std() == pytest.approx((2 / (9 * conv.shape[-1])) ** 0.5, rel=0.02)
    again, _ = start.start_variables(config)
    np.testing.assert_array_equal(again["params"]["clf"]["conv"]["kernel"], conv)

    # layer4 and fc were never there: a strict loader gets zeros, and the person is told.
    save_run(tmp_path / "run", config, name, variables)
    lines = convert.to_npz(tmp_path / "run", tmp_path / "back.npz")
    assert "are zeros: layer4 and fc" in lines[-1]
    with np.load(tmp_path / "back.npz") as back:
        assert not back["feature_extractor.fc.weight"].any()
        assert back["classifier.filter_optimizer.filter_reg"] == pytest.approx(0.1)


def test_another_network_is_refused(dimp18):
    path, _ = dimp18
    with pytest.raises(CheckpointError, match="does not fit the config's network"):
        start.start_variables(training_of("dimp50", path))


def test_a_run_of_another_network_has_no_torch_names(tmp_path):
    config = tiny_config.get_config()
    variables, name = start.start_variables(config)
    assert name == "random numbers"
    save_run(tmp_path / "run", config, name, variables)
    with pytest.raises(CheckpointError, match="only dimp18, dimp50, .* have a torch state dict"):
        convert.to_npz(tmp_path / "run", tmp_path / "back.npz")
    assert not (tmp_path / "back.npz").exists()


def starting(config, start, checkpoint=None):
    training = dataclasses.replace(config.training, start=start)
    return dataclasses.replace(config, training=training, checkpoint=checkpoint)


@pytest.mark.parametrize("choice", ["checkpoint", "imagenet"])
def test_without_weights_the_error_says_what_to_do(choice):
    with pytest.raises(FileNotFoundError, match="convert a torch file of the"):
        start.start_variables(starting(tiny_config.get_config(), choice))


@pytest.mark.parametrize("choice", ["imagenet", "random"])
def test_two_starts_are_one_too_many(choice, dimp18):
    config = starting(configs.load("dimp18"), choice, str(dimp18[0]))
    match = f"converted and --training.start {choice}: which one\\? Leave out --checkpoint to start"
    with pytest.raises(ValueError, match=match):
        start.start_variables(config)


def test_who_trains_a_shipped_config_need_not_unname_its_weights(tmp_path, monkeypatch):
    """`checkpoint` names shipped weights, for tracking: "imagenet" and "random" pass them by."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    config = tiny_config.get_config()
    variables, name = start.start_variables(starting(config, "random", "dimp_lite0"))
    assert name == "random numbers" and set(variables["params"]) == HEADS | {"backbone"}
    with pytest.raises(FileNotFoundError, match="resnet18 has no weights to start from"):
        start.start_variables(starting(config, "imagenet", "dimp_lite0"))
    with pytest.raises(CheckpointError, match="missing from this installation"):
        start.start_variables(starting(config, "checkpoint", "dimp_lite0"))

    card = workdir.card(config, name)
    weights_file.save(shipped.file_of("dimp_lite0"), variables, card)
    again, name = start.start_variables(starting(config, "checkpoint", "dimp_lite0"))
    assert name == "dimp_lite0 (dimp-resnet18)"
    np.testing.assert_equal(again, variables)
