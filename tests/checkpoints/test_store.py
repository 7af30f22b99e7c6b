"""The Orbax directory with its card: written whole, and any damage noticed."""

import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dimp_jax
from dimp_jax import config
from dimp_jax.checkpoints import CheckpointError, store, weights_file
from tests.support import ROOT

FLOAT32 = np.float32


def assert_same_bits(actual, expected):
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape), name
        assert actual[name].tobytes() == array.tobytes(), name


def card_of(architecture="dimp18", contains=("backbone",)):
    return {
        "format": 1,
        "architecture": architecture,
        "config": config.to_dict(config.load("dimp18")),
        "contains": list(contains),
        "source": {"file": "a.pth", "sha256": "0", "container": "zip", "unknown_globals": {}},
        "dimp_jax": "0.1.0",
    }


def small_variables():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(FLOAT32)
    return {
        "params": {"clf": {"conv": {"kernel": kernel}}, "predictor": {"reg": FLOAT32(0.1)}},
        "batch_stats": {"backbone": {"norm": {"var": np.ones(4, FLOAT32)}}},
    }


EXTRAS = {
    "a.b": np.arange(3),
    "a.b.c": np.float16([1, 2]),
    "a/b": np.array(7, np.int64),
    "%2E é": np.array([True, False]),
}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "saved"
    store.save(path, small_variables(), card_of(), EXTRAS)
    return path


def test_save_and_load(saved):
    variables, card = store.load(saved)
    expected = jax.tree.map(np.asarray, small_variables())
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for actual, array in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
        assert type(actual) is np.ndarray and (actual.dtype, actual.shape) == (FLOAT32, array.shape)
        assert actual.tobytes() == array.tobytes()
    assert card == store.read_card(saved) == json.loads(json.dumps(card_of()))
    assert config.from_dict(config.Config, card["config"]) == config.load("dimp18")
    assert_same_bits(store.load_extras(saved), EXTRAS)
    files = {entry.name for entry in saved.iterdir()}
    assert files == {"card.json", "checksums.json", "variables", "extras"}
    assert [entry.name for entry in saved.parent.iterdir()] == ["saved"]


def test_without_extras(tmp_path):
    store.save(
        tmp_path / "new" / "parents", jax.tree.map(jnp.asarray, small_variables()), card_of()
    )
    assert store.load_extras(tmp_path / "new" / "parents") == {}
    assert not (tmp_path / "new" / "parents" / "extras").exists()


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.save("here", small_variables(), card_of(), EXTRAS)
    assert store.load("here")[1] == store.load(tmp_path / "here")[1]


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_existing_path_is_refused(tmp_path, kind):
    path = tmp_path / "there"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="there: already exists"):
        store.save(path, small_variables(), card_of())
    assert path.is_symlink() or path.is_dir() or path.read_text() == "mine"


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((0, 2), FLOAT32), np.zeros(2, np.int32), 1.5]
)
def test_arrays_that_are_no_weights_are_refused(tmp_path, array):
    with pytest.raises(
        CheckpointError, match=r"variables\['params'\]\['a'\] is .*expected float32"
    ):
        store.save(tmp_path / "new", {"params": {"a": array}}, card_of())
    assert not any(tmp_path.iterdir())


def damage_card(**changes):
    return {**card_of(), **changes}


BAD_CARDS = [
    ([], "expected a dict"),
    (damage_card(format=2), "format 2, this version reads 1"),
    (damage_card(format="1"), "format '1'"),
    ({k: v for k, v in card_of().items() if k != "format"}, "'format' is None, expected int"),
    (damage_card(architecture=None), "'architecture' is None, expected str"),
    (damage_card(contains="backbone"), "'contains' is 'backbone', expected list"),
    (damage_card(source=None), "'source'"),
    (damage_card(dimp_jax=1), "'dimp_jax'"),
    (damage_card(config={"modell": {}}), "no valid config.*'modell'"),
    (damage_card(config={}), "no valid config"),
    (damage_card(config={"model": {"backbone": "resnet18", "predictor": 3}}), "no valid config"),
]


@pytest.mark.parametrize(("card", "match"), BAD_CARDS)
def test_bad_card(tmp_path, saved, card, match):
    with pytest.raises(CheckpointError, match=match):
        store.save(tmp_path / "new", small_variables(), card)
    assert not (tmp_path / "new").exists()
    (saved / "card.json").write_text(json.dumps(card))
    for function in (store.load, store.read_card, store.load_extras):
        with pytest.raises(CheckpointError, match=f"saved: .*{match}"):
            function(saved)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
@pytest.mark.parametrize("name", ["card.json", "checksums.json"])
def test_damaged_json(saved, name, text):
    (saved / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=f"saved/{name}: damaged"):
        store.load(saved)


@pytest.mark.parametrize("text", ["[]", '{"variables": 3}', "{}", '{"variables": {}}'])
def test_wrong_checksums(saved, text):
    (saved / "checksums.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        store.load(saved)


def test_not_a_checkpoint_directory(tmp_path):
    with pytest.raises(CheckpointError, match="absent: expected a checkpoint .*nothing there"):
        store.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file: expected .*found a file"):
        store.load(tmp_path / "file")
    with pytest.raises(CheckpointError, match="card.json: cannot be read"):
        store.load(tmp_path)


def test_not_finite(tmp_path, monkeypatch):
    """Neither written nor, from files of before or of a failed training, read."""
    variables = small_variables()
    variables["batch_stats"]["backbone"]["norm"]["var"][2] = np.inf
    name = "batch_stats/backbone/norm/var is not finite"
    with pytest.raises(CheckpointError, match=name):
        store.save(tmp_path / "new", variables, card_of())
    assert not (tmp_path / "new").exists()
    for module in (store, weights_file):
        monkeypatch.setattr(module, "refuse_not_finite", lambda *_: None)
    store.save(tmp_path / "old", variables, card_of())
    monkeypatch.setattr(weights_file, "_stored", lambda array, *_: (np.asarray(array), 0.0))
    weights_file.save(tmp_path / "old.safetensors", variables, card_of())
    monkeypatch.undo()
    for path in (tmp_path / "old", tmp_path / "old.safetensors"):
        with pytest.raises(CheckpointError, match=f"{path}: {name}"):
            store.load(path)


def test_torch_file_is_to_be_converted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hint = "python -m dimp_jax.convert net.pth.tar net`"
    (tmp_path / "net.pth.tar").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=hint):
        store.load("net.pth.tar")
    with pytest.raises(ValueError, match=hint):
        dimp_jax.load("net.pth.tar")
    with pytest.raises(ValueError, match="absent.pt: expected .*found nothing there"):
        dimp_jax.load("absent.pt")


def array_files(path):
    return sorted(file for file in (path / "variables").rglob("*") if file.is_file())


@pytest.mark.parametrize("damage", ["removed", "truncated", "changed"])
def test_every_damaged_array_file_is_noticed(saved, damage, capfd):
    files = array_files(saved)
    assert len(files) > 3
    for file in files:
        data = file.read_bytes()
        if damage == "removed":
            file.unlink()
        elif damage == "truncated":
            file.write_bytes(data[:-1])
        else:
            middle = len(data) // 2
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        match = "saved/variables: .* is (missing|damaged)"
        with pytest.raises(CheckpointError, match=match) as caught:
            store.load(saved)
        assert file.name in str(caught.value)
        file.write_bytes(data)
    store.load(saved)
    assert capfd.readouterr() == ("", "")  # Orbax would have logged pages


def test_unreadable_by_orbax(saved):
    """Files that agree with their checksums, but are not what Orbax writes."""
    file = saved / "variables" / "_METADATA"
    file.write_text("{}")
    checksums = json.loads((saved / "checksums.json").read_text())
    checksums["variables"]["_METADATA"] = store.hashlib.sha256(b"{}").hexdigest()
    (saved / "checksums.json").write_text(json.dumps(checksums))
    with pytest.raises(CheckpointError, match="saved/variables: damaged: Orbax cannot read it"):
        store.load(saved)


@pytest.mark.parametrize("stage", ["_digests", "write_json", "_escape"])
def test_failing_save_leaves_nothing(tmp_path, monkeypatch, stage):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, stage, fail)
    with pytest.raises(KeyboardInterrupt):
        store.save(tmp_path / "new", small_variables(), card_of(), EXTRAS)
    assert not any(tmp_path.iterdir())


def test_killed_save_leaves_nothing_that_loads(tmp_path):
    """Killed when all but the card is written: the latest point at which nothing may load."""
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.checkpoints import test_store as t; from dimp_jax.checkpoints import store\n"
        "def kill(path, value):\n"
        "    if path.name == 'card.json': os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.write_json, written = kill, store.write_json\n"
        "store.save(sys.argv[1], t.small_variables(), t.card_of())\n"
    )
    path = tmp_path / "new"
    command = [sys.executable, "-c", code, str(path), str(ROOT)]
    process = subprocess.run(command, env=os.environ, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not path.exists()
    (partial,) = tmp_path.iterdir()
    assert (partial / "variables").is_dir()
    with pytest.raises(CheckpointError, match="card.json: cannot be read"):
        store.load(partial)
    store.save(path, small_variables(), card_of())  # what is left is not in the way
    store.load(path)
