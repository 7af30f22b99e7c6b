"""The reader of torch files on hostile, damaged and foreign ones: one clear error, no effect."""

import pickle
import random
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from dimp_jax.checkpoints import CheckpointError, torch_file
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


def payloads(marker):
    """Pickle bodies that run `touch marker` when really unpickled."""
    command = f"touch {marker}".encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    return {
        "reduce": b"cos\nsystem\n" + text + b"\x85R",
        "stack_global": b"\x8c\x02os\x8c\x06system\x93" + text + b"\x85R",
        "inst": b"(" + text + b"ios\nsystem\n",
        "obj": b"(cos\nsystem\n" + text + b"o",
        "build": b"cbuiltins\nprint\n)R0cos\nsystem\n" + text + b"\x85R}b",
    }


@containers
@pytest.mark.parametrize("kind", payloads(""))
def test_nothing_is_executed(tmp_path, container, kind):
    marker = tmp_path / "executed"
    code = payloads(marker)[kind]
    try:
        pickle.loads(b"\x80\x04" + code + b".")
    except AttributeError:  # the state of "build" does not fit the result of os.system
        assert kind == "build"
    assert marker.exists(), "the payload must be live for this test to mean something"
    marker.unlink()
    file = read_value(tmp_path, {"net": Raw(code)}, container)
    assert not marker.exists()
    assert file.unknown_globals["os.system"] == 1
    assert file.value["net"].name == "os.system"


@containers
def test_nothing_is_imported(tmp_path, container, monkeypatch):
    (tmp_path / "trap_module.py").write_text("Trap = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = read_value(tmp_path, [Call("trap_module.Trap", (), {"a": 1})], container)
    assert "trap_module" not in sys.modules
    assert file.value[0].state == {"a": 1}


BAD_TENSORS = {
    "end": ((0, (4, 7), (6, 1)), "outside"),
    "offset": ((1, (24,), (1,)), "outside"),
    "stride": ((0, (2, 2), (24, 1)), "outside"),
    "huge stride": ((0, (2,), (2**61,)), "outside"),
    "huge offset": ((2**61, (1,), (1,)), "outside"),
    "negative offset": ((-1, (2,), (1,)), "malformed"),
    "negative stride": ((5, (2,), (-1,)), "malformed"),
    "negative size": ((0, (-2, 2), (1, 1)), "malformed"),
    "huge numbers": ((0, (10**5000,), (1,)), "damaged"),
    "text": ((0, ("a",), (1,)), "malformed"),
    "float": ((0, (2.0,), (1,)), "malformed"),
    "bool": ((0, (True,), (1,)), "malformed"),
    "no sequence": ((0, 3, (1,)), "damaged"),
    "fewer strides": ((0, (2, 2), (1,)), "malformed"),
    "65 dimensions": ((0, (1,) * 65, (1,) * 65), "malformed"),
    "expanded": ((0, (2**40,), (0,)), "over a storage of 24"),
    "expanded twice": ((0, (2**40, 2**40), (0, 0)), "over a storage of 24"),
    "empty and huge": ((0, (0, 2**61, 2**61), (1, 1, 1)), "damaged"),
}


@containers
@pytest.mark.parametrize("name", BAD_TENSORS)
def test_bad_tensor(tmp_path, container, name):
    (offset, size, stride), match = BAD_TENSORS[name]
    view = View(np.zeros(24, np.float32), offset, size, stride)
    with pytest.raises(CheckpointError, match=match) as caught:
        read_value(tmp_path, [view], container)
    assert "file.pth" in str(caught.value) and len(str(caught.value)) < 600


@containers
@pytest.mark.parametrize("numel", [2**50, 2**64, 25, 23, -1, 2.0, "a"])
def test_bad_storage_size(tmp_path, container, numel):
    view = View(np.zeros(24, np.float32), 0, (2,), (1,), numel)
    with pytest.raises(CheckpointError, match="file.pth"):
        read_value(tmp_path, [view], container)


HUGE = {
    "bytes": b"\x8e" + struct.pack("<Q", 2**40) + b"x",
    "bytearray": b"\x96" + struct.pack("<Q", 2**40) + b"x",
    "text": b"\x8d" + struct.pack("<Q", 2**40) + b"x",
    "more than 63 bits": b"\x8e" + struct.pack("<Q", 2**64 - 1),
    "long": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x",
    "frame": b"\x95" + struct.pack("<Q", 2**50) + b"\x8e" + struct.pack("<Q", 2**50),
    "memo, cut": b"Nr" + struct.pack("<I", 2**32 - 1) + b"\x8a",
    "storage": b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu"
    + b"\x8a\x06\x00\x00\x00\x00\x00\x01tQ",
}


@containers
@pytest.mark.parametrize("name", HUGE)
def test_declared_sizes_are_not_allocated(tmp_path, container, name):
    path = torch_writer.write(tmp_path / "file.pth", Raw(HUGE[name]), container)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="file.pth"):
            torch_file.read(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_large_memo_index_is_harmless(tmp_path):
    tracemalloc.start()
    try:
        code = b"K\x05r" + struct.pack("<I", 2**32 - 1) + b"0j" + struct.pack("<I", 2**32 - 1)
        assert read_value(tmp_path, Raw(code), "zip").value == 5
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@containers
def test_deep_nesting(tmp_path, container):
    depth = 200_000
    file = read_value(tmp_path, Raw(b"]" * depth + b"a" * (depth - 1)), container)
    assert type(file.value[0][0]) is list
    with pytest.raises(CheckpointError, match="key"):  # its hash would overflow the stack
        read_value(tmp_path, Raw(b"})" + b"\x85" * depth + b"Ns"), container)
    with pytest.raises(CheckpointError, match="key"):  # its hash would take 2 ** 60 steps
        read_value(tmp_path, Raw(b"})" + b"2\x86" * 60 + b"Ns"), container)


BAD_OPCODES = {
    "pop of nothing": b"0" * 3,
    "extension": b"\x82\x01",
    "buffer": b"\x97",
    "append to a number": b"K\x01K\x02a",
    "state of a number": b"K\x01}b",
    "call of a number": b"K\x01)R",
    "arguments are a list": b"cos\nsystem\n]R",
    "tensor without storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00)))tR",
    "parameter without tensor": b"ctorch._utils\n_rebuild_parameter\n(Nt\x52",
    "tensor without arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "persistent id": b"K\x01Q",
    "storage of no class": b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ",
    "unknown storage": b"(X\x07\x00\x00\x00storagecos\nsystem\nK\x01K\x01K\x01tQ",
    "memo": b"h\x09",
    "mark": b"t",
    "unhashable key": b"}]Ns",
    "odd items": b"}(Nu",
    "global without a name": b"K\x01K\x02\x93",
    "unknown opcode": b"\xff",
    "bad text": b"X\x01\x00\x00\x00\xff",
    "bad number": b"Iabc\n",
    "long number": b"L" + b"9" * 10_000 + b"L\n",
}


@containers
@pytest.mark.parametrize("name", BAD_OPCODES)
def test_malformed_pickle(tmp_path, container, name):
    with pytest.raises(CheckpointError, match="file.pth"):
        read_value(tmp_path, Raw(BAD_OPCODES[name]), container)


# --- damaged files and files of another kind


def small_file(container):
    base = np.arange(6, dtype=np.float32)
    value = OrderedDict(a=base, b=View(base, 0, (3, 2), (1, 3)), c=Call("x.Y", (), {"k": [1.5]}))
    return torch_writer.to_bytes({"net": value, "half": np.ones(3, np.float16)}, container)


@containers
def test_truncated_at_every_byte(tmp_path, container):
    data = small_file(container)
    read_bytes(tmp_path, data)
    for end in range(len(data)):
        with pytest.raises(CheckpointError, match="file.pth"):
            read_bytes(tmp_path, data[:end])


@pytest.mark.golden
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_recorded_checkpoint_truncated(tmp_path, path):
    data = path.read_bytes()
    for end in {*range(0, len(data), 97), len(data) - 1}:
        with pytest.raises(CheckpointError, match="file.pth"):
            read_bytes(tmp_path, data[:end])


@containers
def test_changed_bytes_never_escape(tmp_path, container):
    data, rng, refused = small_file(container), random.Random(0), 0
    for _ in range(1500):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read_bytes(tmp_path, bytes(changed))
        except CheckpointError as error:
            assert "file.pth" in str(error)
            refused += 1
    assert refused > 300


OTHER_FILES = {
    "empty": (b"", "empty"),
    "text": (b"hello\n", "not a torch file"),
    "web page": (b"<!DOCTYPE html><html>quota exceeded</html>", "DOCTYPE"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a torch file"),
    "zeros": (bytes(1000), "not a torch file"),
    "pickle": (pickle.dumps({"net": {}}), "not a torch file"),
    "zip": (torch_writer.zip_bytes({"a.npy": b"x"}), "NAME/data.pkl"),
    "two pickles": (torch_writer.zip_bytes({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "NAME/d"),
    "deeper": (torch_writer.zip_bytes({"a/b/data.pkl": b"N."}), "NAME/data.pkl"),
    "script": (
        torch_writer.zip_bytes({"a/data.pkl": b"N.", "a/constants.pkl": b")."}),
        "TorchScript",
    ),
    "big endian": (
        torch_writer.zip_bytes({"a/data.pkl": b"N.", "a/byteorder": b"big"}),
        "big-endian",
    ),
    "compressed": (
        torch_writer.zip_bytes({"a/data.pkl": b"N."}, zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "not the end": (torch_writer.zip_bytes({"a/data.pkl": b"N"}), "damaged"),
    "crc": (torch_writer.zip_bytes({"a/data.pkl": b"K\x05."}).replace(b"K\x05.", b"K\x06."), "CRC"),
    "protocol": (
        pickle.dumps(torch_writer.MAGIC, 2) + pickle.dumps(1002, 2),
        "unknown protocol",
    ),
    "big endian, legacy": (
        b"".join(pickle.dumps(p, 2) for p in (torch_writer.MAGIC, 1001, {"little_endian": False})),
        "big-endian",
    ),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_not_a_torch_file(tmp_path, name):
    data, match = OTHER_FILES[name]
    with pytest.raises(CheckpointError, match=match) as caught:
        read_bytes(tmp_path, data)
    assert "file.pth" in str(caught.value)


def test_missing_record(tmp_path):
    data = torch_writer.to_bytes([np.ones(3, np.float32)], "zip")
    with pytest.raises(CheckpointError, match="record 'data/0' is missing"):
        read_bytes(tmp_path, data.replace(b"data/0", b"data/9"))


def test_legacy_keys_must_agree(tmp_path):
    data = torch_writer.to_bytes([np.ones(3, np.float32)], "legacy")
    for wrong in ([], ["1"], ["0", "0"], ["0", "1"], [0, "0"], 5):
        changed = data.replace(pickle.dumps(["0"], 2), pickle.dumps(wrong, 2))
        assert changed != data
        with pytest.raises(CheckpointError, match="file.pth"):
            read_bytes(tmp_path, changed)


def test_unreadable_path(tmp_path):
    with pytest.raises(CheckpointError, match="absent.pth: cannot be read"):
        torch_file.read(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        torch_file.read(tmp_path)
