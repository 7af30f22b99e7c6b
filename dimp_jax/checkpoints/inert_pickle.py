"""Interprets a pickle as data: nothing that it names is imported, and nothing is called.

`pickle.Unpickler` with its own `find_class` would not do: it allocates declared sizes before
reading, hashes whatever it is given as a key, and sets attributes. `pickletools` of the standard
library decodes the opcodes; the stack machine here gives a meaning to those that carry data.
"""

import dataclasses
import pickletools
from collections import Counter, OrderedDict

ERRORS = (  # what damaged bytes make pickletools, and the conversions of their values, raise
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, EOFError,
    RuntimeError,
)  # fmt: skip


class MalformedError(Exception):
    """What is wrong with the content of a file; the reader of the file adds its name."""


@dataclasses.dataclass(eq=False)
class Opaque:
    """A class or function that a pickle names, or an object made of one: data, never called.

    `args` are those of its construction, `state` what its pickle restores (usually its
    attributes), `items` what is appended to it (a list subclass) or set (pairs, a dict subclass).
    """

    name: str
    args: tuple = ()
    state: object = dataclasses.field(default=None, repr=False)
    items: list = dataclasses.field(default_factory=list, repr=False)


def interpret(stream, builders, unknown, resolve=None):
    """The object of the pickle that begins at `stream`'s position, which is left at its end.

    Args:
      stream: a seekable binary file in memory (`io.BytesIO`): sizes are declared by the file,
        and only a stream in memory cuts them to what is there before it allocates.
      builders: "module.name" -> function of ours that stands for that global. Every other
        global, and what is made of it, becomes an `Opaque`.
      unknown: `Counter`, updated: name of such a global -> number of objects made of it.
      resolve: function of a persistent id, or None if none may occur.

    Raises:
      MalformedError: damaged, truncated, or a pickle that plain data does not need.
    """
    machine = _Machine(builders, unknown, resolve)
    position = stream.tell()
    try:
        for opcode, arg, where in pickletools.genops(stream):
            position = where
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, arg)
    except ERRORS as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise MalformedError(f"damaged pickle at byte {position} ({detail})") from error
    raise MalformedError("a pickle without an end")


def checked_key(key):
    """Returns `key`; refuses one whose hash would recurse: nested tuples stall or crash Python."""
    for part in key if type(key) is tuple else (key,):
        if not isinstance(part, str | bytes | int | float | None | Opaque):
            raise MalformedError(f"a dictionary key or set member of type {type(part).__name__}")
    return key


_PUSH = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "BYTEARRAY8".split()
)
_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, builders, unknown: Counter, resolve):
        self.builders, self.unknown, self.resolve = builders, unknown, resolve
        self.stack: list = []
        self.outer: list = []
        self.memo: dict = {}

    def pop(self):
        return self.stack.pop()

    def pop_mark(self):
        items, self.stack = self.stack, self.outer.pop()
        return items

    def run(self, name, arg):
        """Executes one opcode, named as in `pickletools`."""
        push = self.stack.append
        if name in _PUSH:
            return push(arg)
        if name in _CONSTANT:
            return push(_CONSTANT[name])
        if name in _EMPTY:
            return push(_EMPTY[name]())
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "POP":
                if self.stack:
                    self.pop()
                else:
                    self.pop_mark()
            case "POP_MARK":
                self.pop_mark()
            case "DUP":
                push(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[arg])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                self.stack[-count:] = [tuple(self.stack[-count:])]
            case "TUPLE" | "LIST" | "DICT" | "FROZENSET":
                items = self.pop_mark()
                self.stack.append(_container(name, items))
            case "APPEND" | "SETITEM":
                items = [self.pop() for _ in range(1 if name == "APPEND" else 2)][::-1]
                _extend(self.stack[-1], items, name)
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                items = self.pop_mark()
                _extend(self.stack[-1], items, name.removesuffix("S"))
            case "GLOBAL":
                push(self.named(*arg.split(" ", 1)))
            case "STACK_GLOBAL":
                qualname, module = self.pop(), self.pop()
                push(self.named(module, qualname))
            case "REDUCE" | "NEWOBJ":
                args, callee = self.pop(), self.pop()
                push(self.build(callee, args))
            case "NEWOBJ_EX":
                kwargs, args, callee = self.pop(), self.pop(), self.pop()
                push(self.build(callee, (*args, kwargs) if kwargs else args))
            case "INST":
                args = self.pop_mark()
                self.stack.append(self.build(self.named(*arg.split(" ", 1)), tuple(args)))
            case "OBJ":
                callee, *args = self.pop_mark()
                self.stack.append(self.build(callee, tuple(args)))
            case "BUILD":
                state = self.pop()
                _set_state(self.stack[-1], state)
            case "PERSID" | "BINPERSID":
                if self.resolve is None:
                    raise MalformedError("a persistent id where none is expected")
                push(self.resolve(arg if name == "PERSID" else self.pop()))
            case _:
                raise MalformedError(f"the pickle opcode {name}, which torch.save never writes")

    def named(self, module, qualname):
        if type(module) is not str or type(qualname) is not str:
            raise MalformedError("a global whose name is not text")
        name = f"{module}.{qualname}"
        if name not in self.builders:
            self.unknown.setdefault(name, 0)
        return Opaque(name)

    def build(self, callee, args):
        if type(callee) is not Opaque or type(args) is not tuple:
            raise MalformedError("an object made of something that is not a class")
        if callee.name in self.builders:
            return self.builders[callee.name](*args)
        self.unknown[callee.name] += 1
        return Opaque(callee.name, args)


def _container(name, items):
    if name == "TUPLE":
        return tuple(items)
    if name == "LIST":
        return items
    if name == "FROZENSET":
        return frozenset(map(checked_key, items))
    return {checked_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}


def _extend(target, items, operation):
    pairs = []
    if operation == "SETITEM":
        pairs = list(zip(items[::2], items[1::2], strict=True))
    if type(target) is Opaque:
        target.items.extend(pairs or items)
    elif operation == "APPEND" and type(target) is list:
        target.extend(items)
    elif operation == "SETITEM" and isinstance(target, dict):
        target.update((checked_key(key), value) for key, value in pairs)
    elif operation == "ADDITEM" and type(target) is set:
        target.update(map(checked_key, items))
    else:
        raise MalformedError(f"{operation} on an object of type {type(target).__name__}")


def _set_state(target, state):
    if type(target) is Opaque:
        target.state = state
    elif type(target) is not OrderedDict:  # whose state is torch's `_metadata`: not needed
        raise MalformedError(f"a state for an object of type {type(target).__name__}")
