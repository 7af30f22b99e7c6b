"""`python -m dimp_jax.convert` to and from .safetensors: what is kept, and what is left out."""

import dataclasses
import json
import os

import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints import shipped, store, weights_file
from dimp_jax.training import start
from tests.checkpoints.test_convert import refused, run
from tests.checkpoints.test_store import EXTRAS, card_of, small_variables
from tests.support import tiny_config
from tests.training.test_start import save_run

FOLDERS = ("data_dir", "sequences_dir", "cutouts_dir", "backgrounds_dir", "dir")


@pytest.fixture
def checkpoint(tmp_path):
    store.save(tmp_path / "good", small_variables(), card_of(), EXTRAS)
    return tmp_path / "good"


def test_a_directory_there_and_back(tmp_path, capsys, checkpoint):
    file, back = tmp_path / "a.safetensors", tmp_path / "back"
    assert run(checkpoint, file, "--dtype", "float32") == 0
    text = capsys.readouterr().out
    assert "dimp18" in text and f"wrote {file}: 0.0" in text and "kernels in float32" in text
    assert run(file, back) == 0
    assert f"wrote {back}" in capsys.readouterr().out
    np.testing.assert_equal(store.load(back), store.load(checkpoint))
    assert store.load_extras(back) == {}
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "back", "good"]


def test_float16_unless_told_otherwise(tmp_path, capsys, checkpoint):
    assert run(checkpoint, tmp_path / "a.safetensors") == 0
    assert "kernels in float16" in capsys.readouterr().out
    kernel = weights_file.load(tmp_path / "a.safetensors")[0]["params"]["clf"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16))


def test_a_run_without_its_machine(tmp_path, capsys):
    """The card keeps what was trained on and how, not in which folders of which machine."""
    settings = tiny_config.get_config()
    settings = config.from_dict(config.Config, with_folders(config.to_dict(settings)))
    variables, _ = start.start_variables(tiny_config.get_config())
    save_run(tmp_path / "run", settings, "/home/me/first (dimp18); fresh: iou", variables, step=7)
    file = tmp_path / "a.safetensors"
    assert run(tmp_path / "run", file) == 0
    assert "step 7, score None" in capsys.readouterr().out
    loaded, card = weights_file.load(file)
    assert set(loaded["params"]) == {"backbone", "clf", "filter_init", "iou", "predictor"}
    assert card["source"] == {
        "file": "train.py",
        "start": "first (dimp18); fresh: iou",
        "step": 7,
        "score": None,
    }
    assert "/home/me" not in json.dumps(card)
    expected = dataclasses.replace(tiny_config.get_config(), checkpoint=None)
    assert config.from_dict(config.Config, card["config"]) == expected


def with_folders(values):
    """A config tree in which every folder is named."""
    if not isinstance(values, dict):
        return values
    return {k: "/home/me/x" if k in FOLDERS else with_folders(v) for k, v in values.items()}


def test_every_folder_of_a_config_is_known():
    """A new option that names a folder is left out too, or is listed here."""

    def names(values):
        for key, value in values.items() if isinstance(values, dict) else ():
            yield key
            yield from names(value)

    found = {n for n in names(config.to_dict(config.load("dimp_lite0"))) if "dir" in n.split("_")}
    assert found <= set(FOLDERS) and {"data_dir", "sequences_dir", "cutouts_dir"} <= found


def test_shipped_weights_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    weights_file.save(shipped.file_of("dimp_lite0"), small_variables(), card_of())
    (tmp_path / "dimp_lite0").mkdir()
    assert run("dimp_lite0", "out") == 0
    assert set(store.load(tmp_path / "out")[0]["params"]) == {"clf", "predictor"}


def test_refused(tmp_path, capsys, checkpoint):
    file = tmp_path / "a.safetensors"
    assert run(checkpoint, file) == 0
    capsys.readouterr()
    new = tmp_path / "b.safetensors"
    refused(capsys, checkpoint, file, match="a.safetensors: already exists")
    refused(capsys, file, tmp_path / "x.npz", match="x.npz: only a checkpoint directory")
    refused(capsys, file, new, match="only a checkpoint directory is converted to .safetensors")
    refused(capsys, file, tmp_path / "x", "--dtype", "float16", match="--dtype float16: only from")
    refused(capsys, file, tmp_path / "x", "--config", "dimp18", match="only for a torch file")
    refused(capsys, tmp_path / "no.safetensors", tmp_path / "x", match="no.safetensors: expected")
    refused(capsys, tmp_path / "net.pth", new, match="directory is converted to .safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    refused(capsys, file, tmp_path / "x", match="a.safetensors: damaged")
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "good"]
