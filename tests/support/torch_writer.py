"""Writes small torch files, both containers, without torch: inputs for the tests of the reader."""

import dataclasses
import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_NAMES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


@dataclasses.dataclass(eq=False)
class View:
    """A tensor over a 1-D array; `numel` is what is declared, by default the truth."""

    storage: np.ndarray
    offset: int
    size: tuple
    stride: tuple
    numel: int | None = None


@dataclasses.dataclass(eq=False)
class Call:
    """REDUCE: `name` called with `args`, then BUILD with `state` if it is not None."""

    name: str
    args: tuple = ()
    state: object = None


@dataclasses.dataclass(eq=False)
class Raw:
    """Opcodes that leave one object on the stack."""

    code: bytes


class Emitter:
    """One object as pickle opcodes; `storages` collects the arrays of its tensors."""

    def __init__(self, container):
        self.container = container
        self.storages = {}

    def emit(self, value):
        if isinstance(value, Raw):
            return value.code
        if isinstance(value, Call):
            built = b"" if value.state is None else self.emit(value.state) + b"b"
            return self.named(value.name) + self.emit(value.args) + b"R" + built
        if isinstance(value, np.ndarray):
            strides = np.zeros(value.shape, np.int8).strides  # in elements, C order
            flat = np.ascontiguousarray(value).reshape(-1)
            return self.emit(View(flat, 0, value.shape, strides))
        if isinstance(value, View):
            return self.tensor(value)
        if isinstance(value, OrderedDict):
            items = b"".join(self.emit(k) + self.emit(v) for k, v in value.items())
            return b"ccollections\nOrderedDict\n)R(" + items + b"u"
        if isinstance(value, dict):
            return b"}(" + b"".join(self.emit(k) + self.emit(v) for k, v in value.items()) + b"u"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.emit, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.emit, value)) + b"e"
        return pickle.dumps(value, 2)[2:-1]  # plain data; without PROTO and STOP

    def named(self, name):
        module, _, qualname = name.rpartition(".")
        return f"c{module}\n{qualname}\n".encode()

    def tensor(self, view):
        key = next((k for k, a in self.storages.items() if a is view.storage), None)
        if key is None:
            key = str(len(self.storages))
            self.storages[key] = view.storage
        kind = Raw(self.named(f"torch.{STORAGE_NAMES[view.storage.dtype.name]}Storage"))
        numel = view.storage.size if view.numel is None else view.numel
        pid = ("storage", kind, key, "cuda:0", numel)
        pid += (None,) if self.container == "legacy" else ()
        args = (Raw(self.emit(pid) + b"Q"), view.offset, view.size, view.stride, False)
        return self.emit(Call("torch._utils._rebuild_tensor_v2", (*args, OrderedDict())))


def to_bytes(value, container):
    """`value` as the bytes of a "zip" or "legacy" torch file."""
    emitter = Emitter(container)
    code = b"\x80\x02" + emitter.emit(value) + b"."
    if container == "legacy":
        info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, info))
        keys = pickle.dumps(list(emitter.storages), 2)
        raw = (struct.pack("<q", a.size) + a.tobytes() for a in emitter.storages.values())
        return head + code + keys + b"".join(raw)
    records = {"data.pkl": code, "byteorder": b"little"}
    records |= {f"data/{key}": a.tobytes() for key, a in emitter.storages.items()}
    records["version"] = b"3\n"
    return zip_bytes({f"archive/{name}": data for name, data in records.items()})


def zip_bytes(records, compression=zipfile.ZIP_STORED):
    """A zip file of name -> bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return stream.getvalue()


def write(path, value, container):
    """Writes `value` as a torch file and returns `path`."""
    path.write_bytes(to_bytes(value, container))
    return path
