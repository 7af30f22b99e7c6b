"""One file of weights: nothing but arrays, nothing lost unsaid, and any damage noticed."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from dimp_jax.checkpoints import CheckpointError, shipped, store, weights_file
from tests.checkpoints.test_store import BAD_CARDS, card_of, small_variables

FLOAT32 = np.float32
KERNEL = "params/clf/conv/kernel"
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 0.0}  # half a step, at most


def raw_header(path):
    """The header of a .safetensors file, read without the library: JSON after its length."""
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "saved.safetensors"
    weights_file.save(path, small_variables(), card_of())
    return path


@pytest.mark.parametrize("dtype", ROUNDING)
def test_save_and_load(tmp_path, dtype):
    path, before = tmp_path / "new" / "a.safetensors", small_variables()
    change, name = weights_file.save(path, before, card_of(), dtype)
    after, card = weights_file.load(path)
    assert card == json.loads(json.dumps(card_of()))
    kernel, given = after["params"]["clf"]["conv"]["kernel"], before["params"]["clf"]["conv"]
    assert kernel.dtype == FLOAT32 and kernel.shape == (3, 3, 2, 4)
    error = np.abs(kernel - given["kernel"])
    assert (error <= ROUNDING[dtype] * np.abs(given["kernel"])).all()
    assert change == pytest.approx(error.max() / np.abs(given["kernel"]).max())
    if dtype != "float32":
        assert name == KERNEL and change > 0
    # Vectors and scalars keep all their bits.
    assert after["params"]["predictor"]["reg"] == FLOAT32(0.1)
    assert after["params"]["predictor"]["reg"].shape == ()
    np.testing.assert_array_equal(after["batch_stats"]["backbone"]["norm"]["var"], np.ones(4))
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def test_the_file_holds_arrays_and_text_only(tmp_path):
    path = tmp_path / "a.safetensors"
    weights_file.save(path, small_variables(), card_of(), "bfloat16")
    header = raw_header(path)
    metadata = header.pop("__metadata__")
    assert {k: (v["dtype"], v["shape"]) for k, v in header.items()} == {
        KERNEL: ("BF16", [3, 3, 2, 4]),
        "params/predictor/reg": ("F32", []),
        "batch_stats/backbone/norm/var": ("F32", [4]),
    }
    assert sorted(metadata) == ["card", "sha256"] and json.loads(metadata["card"])
    size = path.stat().st_size
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert size == 8 + length + 72 * 2 + 4 + 4 * 4  # no byte is left for anything else


def test_values_that_16_bits_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with_kernel = lambda value: {"params": {"k": np.array(value, FLOAT32)}}
    cases = [
        ([[1.0, np.nan]], "float32", "params/k is not finite"),
        ([1.0, np.inf], "float32", "params/k is not finite"),
        ([[1.0, 7e4]], "float16", r"values up to 7e\+04, too large for float16: use --dtype bf"),
        ([[3.4e38, 1.0]], "bfloat16", "too large for bfloat16"),
        ([[1e-8, 2e-8]], "float16", "below 2e-08, which float16 would change by 100.0%"),
    ]
    for value, dtype, match in cases:
        with pytest.raises(CheckpointError, match=match):
            weights_file.save(path, with_kernel(value), card_of(), dtype)
        assert not any(tmp_path.iterdir())
    # The range of a vector, as the variances of a batch norm, is no matter.
    vector = [0.0, 1e-30, 1e30]
    weights_file.save(path, with_kernel(vector), card_of(), "float16")
    np.testing.assert_array_equal(
        weights_file.load(path)[0]["params"]["k"], np.array(vector, FLOAT32)
    )


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"params": {}},
        {"batch_stats": {"a": np.ones(1, FLOAT32)}},
        {"params": {"a": np.zeros(3)}},
        {"params": {"a": np.zeros((0, 2), FLOAT32)}},
        {"params": {"a": np.ones(1, FLOAT32)}, "optimizer": {}},
    ],
)
def test_what_is_no_variables_is_refused(tmp_path, variables):
    with pytest.raises(CheckpointError, match="a.safetensors: .*expected"):
        weights_file.save(tmp_path / "a.safetensors", variables, card_of())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("card", "match"), BAD_CARDS)
def test_bad_card(tmp_path, card, match):
    with pytest.raises(CheckpointError, match=match):
        weights_file.save(tmp_path / "a.safetensors", small_variables(), card)
    assert not any(tmp_path.iterdir())


def test_an_existing_file_is_kept(saved):
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="saved.safetensors: already exists"):
        weights_file.save(saved, small_variables(), card_of())
    assert saved.read_bytes() == before


def test_failing_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        weights_file.save(tmp_path / "a.safetensors", small_variables(), card_of())
    assert not any(tmp_path.iterdir())


def test_every_changed_byte_and_every_truncation_is_noticed(saved):
    data = saved.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert b"sha256" in data[: 8 + length]
    for at in [*range(0, len(data), 13), *range(8 + length, len(data))]:
        if data[at : at + 1] == b" ":
            continue  # padding of the header
        saved.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CheckpointError, match="saved.safetensors: "):
            weights_file.load(saved)
    for end in range(0, len(data), 23):
        saved.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match="saved.safetensors: damaged, or no .safetensors"):
            weights_file.load(saved)
    saved.write_bytes(data)
    weights_file.load(saved)


def test_other_files(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="a.safetensors: cannot be read: No such file"):
        weights_file.load(path)
    one = np.ones((2, 2), FLOAT32)
    cases = [
        ({"params/a": one}, None, "its metadata has no card: expected a file made by"),
        ({"params/a": one}, {"card": "{"}, "its metadata has no card"),
        ({"model.weight": one}, None, "tensor 'model.weight' of type F32: expected params/"),
        ({"params/a": one.astype(np.int32)}, None, "tensor 'params/a' of type I32"),
        ({"params": one}, None, "tensor 'params' of"),
        ({"params/a": one, "params/a/b": one}, None, "tensor 'params/a' of"),
        ({"params/a": one}, {"card": "{}", "sha256": "0"}, "damaged: its bytes are not those"),
    ]
    for tensors, metadata, match in cases:
        path.write_bytes(safetensors.numpy.save(tensors, metadata))
        with pytest.raises(CheckpointError, match=match):
            weights_file.load(path)
    path.write_bytes(b"PK\x03\x04 a zip file, for example")
    with pytest.raises(CheckpointError, match="damaged, or no .safetensors file"):
        weights_file.load(path)
    for text, match in (("{", "its card is not JSON"), ("[]", "damaged card: expected a dict")):
        tensors = {"params/a": one.astype(ml_dtypes.bfloat16)}
        digest = weights_file._digest(text, tensors)
        path.write_bytes(safetensors.numpy.save(tensors, {"card": text, "sha256": digest}))
        with pytest.raises(CheckpointError, match=match):
            weights_file.load(path)


# --- as one of the things that `store` reads


def test_the_store_reads_files_and_shipped_names(saved, tmp_path, monkeypatch):
    np.testing.assert_equal(store.load(saved), weights_file.load(saved))
    assert store.read_card(str(saved)) == store.load(saved)[1] and store.load_extras(saved) == {}

    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="'dimp_lite0', .* missing from this installation"):
        store.load("dimp_lite0")
    saved.rename(tmp_path / "dimp_lite0.safetensors")
    # A directory of that name does not hide the shipped weights; its path means the directory.
    other = small_variables()
    other["params"]["predictor"]["reg"] = FLOAT32(7)
    store.save(tmp_path / "dimp_lite0", other, card_of())
    reg = lambda where: float(store.load(where)[0]["params"]["predictor"]["reg"])
    assert reg("dimp_lite0") == pytest.approx(0.1) and store.load_extras("dimp_lite0") == {}
    assert reg("./dimp_lite0") == reg(tmp_path / "dimp_lite0") == 7


def test_what_is_no_checkpoint_names_what_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    match = r"dimp_lite: expected a checkpoint .*name of shipped weights \(dimp_lite0\), found noth"
    with pytest.raises(CheckpointError, match=match):
        store.load("dimp_lite")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match="notes.txt: expected .*found a file"):
        store.load("notes.txt")
