"""Reads files written by `torch.save`, with numpy only and without running anything they name.

Both containers are read: the zip of torch >= 1.6 and the consecutive pickles of before
(behaviour.md, section 8). Tensors become numpy arrays, and all else that is not plain data an
`Opaque`: see inert_pickle.py. Not read: the tar files of torch < 0.1.10, big-endian files,
TorchScript archives.
"""

import dataclasses
import hashlib
import io
import math
import struct
import zipfile
import zlib
from collections import Counter, OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np

from dimp_jax.checkpoints import CheckpointError
from dimp_jax.checkpoints.inert_pickle import ERRORS, MalformedError, Opaque, checked_key, interpret

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")  # by which people name them
# Stride 0 lets a small storage stand for any number of elements; more than this is no weight.
MAX_EXPANDED_ELEMENTS = 1 << 24
MAX_DIMENSIONS = 64  # numpy's limit

_DTYPES = {
    f"{module}.{name}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda")
    for name, dtype in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
        "ComplexFloat": "<c8",
        "ComplexDouble": "<c16",
    }.items()
}


@dataclasses.dataclass(frozen=True)
class TorchFile:
    """The content of one torch file.

    Attributes:
      value: the saved object: dicts, lists, numbers, read-only numpy arrays (views of their
        storage, as saved), `Opaque` for every class that is not known.
      container: "zip" or "legacy".
      unknown_globals: name of each unknown class or function -> how many objects are made of it
        (1 if it is only mentioned).
      sha256: hexadecimal digest of the whole file.
    """

    value: object = dataclasses.field(repr=False)
    container: str
    unknown_globals: dict[str, int]
    sha256: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Storage:
    array: np.ndarray  #: 1-D


def read(path) -> TorchFile:
    """Reads the torch file `path`.

    Raises:
      CheckpointError: the file cannot be opened, is not a torch file, or is damaged or hostile.
        Sizes are checked against the bytes there are before anything is allocated.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    unknown: Counter = Counter()
    container = "zip" if data.startswith(b"PK") else "legacy"
    try:
        if not data:
            raise MalformedError("the file is empty")
        value = (_read_zip if container == "zip" else _read_legacy)(data, unknown)
    except MalformedError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (*ERRORS, struct.error, zlib.error, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: damaged or truncated {container} torch file: {error!r:.200}"
        ) from error
    counts = {name: max(count, 1) for name, count in unknown.items() if name not in _DTYPES}
    return TorchFile(value, container, counts, hashlib.sha256(data).hexdigest())


def _read_zip(data, unknown):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {info.filename: info for info in archive.infolist()}
        roots = [name[:-9] for name in records if name.endswith("/data.pkl")]
        if len(roots) != 1 or "/" in roots[0]:
            raise MalformedError("not a torch file: a zip file without one NAME/data.pkl")
        root = roots[0]
        if f"{root}/constants.pkl" in records:
            raise MalformedError("a TorchScript archive, expected a file written by torch.save")

        def record(name, size=None):
            info = records.get(f"{root}/{name}")
            if info is None:
                raise MalformedError(f"the record {name!r:.80} is missing")
            if info.compress_type != zipfile.ZIP_STORED:
                raise MalformedError(
                    f"the record {name!r:.80} is compressed, which torch.save never does"
                )
            if size is not None and info.file_size != size:
                raise MalformedError(
                    f"the record {name!r:.80} has {info.file_size} bytes, tensors declare {size}"
                )
            return archive.read(info)  # checks the CRC

        if f"{root}/byteorder" in records and record("byteorder") != b"little":
            raise MalformedError("written on a big-endian machine, which is not supported")

        def load(key, dtype, numel):
            return np.frombuffer(record(f"data/{key}", numel * dtype.itemsize), dtype)

        return interpret(io.BytesIO(record("data.pkl")), _BUILDERS, unknown, _storage_loader(load))


def _read_legacy(data, unknown):
    stream = io.BytesIO(data)
    try:
        magic = interpret(stream, {}, Counter())
    except MalformedError:
        magic = None
    if type(magic) is not int or magic != MAGIC:
        raise MalformedError(
            f"not a torch file: it begins with {data[:16]!r}, neither a zip nor torch's pickle"
        )
    if interpret(stream, {}, Counter()) != LEGACY_PROTOCOL:
        raise MalformedError(
            f"legacy torch file of an unknown protocol, expected {LEGACY_PROTOCOL}"
        )
    if interpret(stream, {}, Counter()).get("little_endian") is not True:
        raise MalformedError("written on a big-endian machine, which is not supported")
    arrays, declared = {}, 0

    # The bytes come after the pickle: tensors are views of arrays that are filled below.
    def load(key, dtype, numel):
        nonlocal declared
        declared += numel * dtype.itemsize
        if declared > len(data):
            raise MalformedError(
                f"truncated: its tensors declare {declared} bytes or more, the file has {len(data)}"
            )
        arrays[key] = np.empty(numel, dtype)
        return arrays[key]

    value = interpret(stream, _BUILDERS, unknown, _storage_loader(load))
    keys = interpret(stream, {}, Counter())
    if sorted(keys) != sorted(arrays):
        raise MalformedError("the storages of its tensors are not those that the file lists")
    for key in keys:
        (numel,) = struct.unpack("<q", stream.read(8))
        array = arrays[key]
        if numel != array.size:
            raise MalformedError(
                f"storage {key!r:.80} has {numel} elements, tensors declare {array.size}"
            )
        raw = stream.read(array.nbytes)
        if len(raw) != array.nbytes:
            raise MalformedError(
                f"truncated: storage {key!r:.80} has {len(raw)} of {array.nbytes} bytes"
            )
        array[...] = np.frombuffer(raw, array.dtype)
    return value


def _storage_loader(load):
    """A persistent id -> `_Storage`; each key is loaded once, and has one type."""
    arrays = {}

    def resolve(pid):
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise MalformedError("a persistent id that is not a storage")
        kind, key, _, numel = pid[1:5]
        dtype = _DTYPES.get(kind.name) if type(kind) is Opaque else None
        if dtype is None:
            raise MalformedError(
                f"a storage of the unsupported type {getattr(kind, 'name', kind)!r:.80}"
            )
        if type(key) is not str or not _is_size(numel):
            raise MalformedError("a storage whose key or size is malformed")
        if key not in arrays:
            arrays[key] = load(key, dtype, numel)
        array = arrays[key]
        if array.dtype != dtype or array.size != numel:
            raise MalformedError(f"storage {key!r:.80} is declared twice, differently")
        if len(pid) == 6 and pid[5] is not None:
            _, offset, size = pid[5]
            if not (_is_size(offset) and _is_size(size) and offset + size <= numel):
                raise MalformedError(f"a view of storage {key!r:.80} reaches outside it")
            array = array[offset : offset + size]
        return _Storage(array)

    return resolve


def _is_size(value):
    return type(value) is int and 0 <= value < 1 << 62


def _tensor(storage, offset, size, stride, *_):
    """`torch._utils._rebuild_tensor*`: a read-only strided view of a storage."""
    if type(storage) is not _Storage:
        raise MalformedError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS or not all(map(_is_size, numbers)):
        raise MalformedError(
            f"a tensor of malformed offset {offset!r:.80}, size {size!r:.80} or "
            f"stride {stride!r:.80}"
        )
    array, numel = storage.array, math.prod(size)
    if numel == 0:
        return np.empty(size, array.dtype)
    if numel > max(array.size, MAX_EXPANDED_ELEMENTS):
        raise MalformedError(f"a tensor of size {size} over a storage of {array.size} elements")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= array.size:
        raise MalformedError(
            f"a tensor reaches outside its storage: size {size}, stride {stride}, offset {offset} "
            f"need {last + 1} elements, there are {array.size}"
        )
    strides = [step * array.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(array[offset:], size, strides, writeable=False)


def _parameter(data, *_):
    if type(data) is not np.ndarray:
        raise MalformedError("a parameter that is not a tensor")
    return data


def _ordered_dict(pairs=()):
    return OrderedDict((checked_key(key), value) for key, value in pairs)


def _set(members=()):
    return {checked_key(member) for member in members}


_BUILDERS = {  # the only names that are given a meaning; the functions are ours
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": lambda size=(): tuple(size),
    "builtins.set": _set,
    "__builtin__.set": _set,
}
