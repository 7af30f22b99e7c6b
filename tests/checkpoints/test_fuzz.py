"""Changed bytes and names in torch and .safetensors files: one clear error, or the same weights."""

import contextlib
import io
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dimp_jax import convert
from dimp_jax.checkpoints import CheckpointError, state_dict, torch_file, weights_file
from tests.checkpoints.test_store import card_of, small_variables
from tests.support import golden_files, torch_writer
from tests.support.torch_writer import Call

bounded = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # files are written anew
)
TENSORS = OrderedDict(
    (f"layer{k}.weight", np.arange(1, 5 + k).astype(dtype))
    for k, dtype in enumerate((np.float32, np.float16, ml_dtypes.bfloat16, np.int64))
)
VALUE = {"net": TENSORS, "constructor": Call("mine.Net", (), {"kwds": {}}), "epoch": 3}


@st.composite
def changes(draw, data):
    """The bytes cut, with flipped bits, with other bytes in the middle, or with a part twice."""
    at, end = sorted(draw(st.tuples(*[st.integers(0, len(data) - 1)] * 2)))
    match draw(st.sampled_from(["cut", "flip", "insert", "drop", "double"])):
        case "cut":
            return data[:at]
        case "flip":
            flipped = bytearray(data)
            for place in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
                flipped[place] ^= 1 << draw(st.integers(0, 7))
            return bytes(flipped)
        case "insert":
            return data[:at] + draw(st.binary(min_size=1, max_size=9)) + data[at:]
        case "drop":
            return data[:at] + data[end:]
        case "double":
            return data[:end] + data[at:]


def assert_same(actual, expected):
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (tensor.dtype, tensor.shape), name
        assert actual[name].tobytes() == tensor.tobytes(), name


def refused_in_one_line(path, out):
    """`convert` of what is no known network, or not even a file of torch."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert convert.main([str(path), str(out)]) == 2
    text = error.getvalue()
    assert text.startswith(f"convert: error: {path}") and text.count("\n") == 1, text
    assert len(text) < 1000 and not out.exists()


def test_unchanged_torch_file(tmp_path):
    """What the others change can be read, and is no network that is known."""
    for container in ("zip", "legacy"):
        path = torch_writer.write(tmp_path / "net.pth", VALUE, container)
        assert_same(state_dict.find(torch_file.read(path).value)[0], TENSORS)
        refused_in_one_line(path, tmp_path / "out")


@bounded
@given(changed=changes(torch_writer.to_bytes(VALUE, "zip")))
def test_changed_zip_torch_file(tmp_path, changed):
    """Its records have checksums: no other weights are read."""
    path = tmp_path / "net.pth"
    path.write_bytes(changed)
    with contextlib.suppress(CheckpointError):
        assert_same(state_dict.find(torch_file.read(path).value)[0], TENSORS)
    refused_in_one_line(path, tmp_path / "out")


@bounded
@given(changed=changes(torch_writer.to_bytes(VALUE, "legacy")))
def test_changed_legacy_torch_file(tmp_path, changed):
    """The container has no checksums: a number may be another, as in any reader of it."""
    path = tmp_path / "net.pth"
    path.write_bytes(changed)
    refused_in_one_line(path, tmp_path / "out")


@settings(bounded, max_examples=40)
@given(data=st.data())
def test_renamed_tensors(data):
    """Any other name, a swap of two shapes, or a tensor less: refused."""
    tensors = dict(golden_files.state_dict("dimp18"))
    counts = [name for name in tensors if name.endswith("num_batches_tracked")]
    names = [name for name in tensors if name not in counts]
    name = data.draw(st.sampled_from(names))
    tensor = tensors.pop(name)
    other = data.draw(st.none() | st.text(max_size=20) | st.sampled_from(names))
    if other is not None:
        tensors[other] = tensor
    with pytest.raises(CheckpointError) if other != name else contextlib.nullcontext():
        state_dict.from_torch(tensors, state_dict.identify(tensors))


@pytest.fixture(scope="module")
def safetensors_data(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    weights_file.save(path, small_variables(), card_of(), "float16")
    return path.read_bytes()


@bounded
@given(data=st.data())
def test_changed_safetensors_file(tmp_path, safetensors_data, data):
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors_data)
    expected = weights_file.load(path)
    path.write_bytes(data.draw(changes(safetensors_data)))
    with contextlib.suppress(CheckpointError):
        variables, card = weights_file.load(path)
        assert card == expected[1]
        np.testing.assert_equal(variables, expected[0])


@bounded
@given(data=st.data())
def test_renamed_safetensors(tmp_path, safetensors_data, data):
    """A header that is whole JSON, with another name in it."""
    path, header = tmp_path / "net.safetensors", safetensors_data
    old = data.draw(st.sampled_from([b"params/clf", b"batch_stats", b"kernel", b"F16", b"card"]))
    letters = st.sampled_from(list(b"abcps/_F32."))
    new = bytes(data.draw(st.lists(letters, min_size=len(old), max_size=len(old))))
    path.write_bytes(header.replace(old, new, 1))
    if new != old:
        with pytest.raises(CheckpointError):
            weights_file.load(path)
