"""One experiment as a config, and the files that hold one.

A config file is a Python file with `get_config() -> Config`; `load("dimp18")` finds the ones that
ship with the package, `load("path/to/mine.py")` any other.
"""

import dataclasses
import difflib
import numbers
import os
import runpy
import sys
import typing
from pathlib import Path

from dimp_jax.config.network import ModelConfig
from dimp_jax.config.tracker import TrackerConfig
from dimp_jax.config.training import TrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment: a network, a tracker, its training, and the weights to start from."""

    model: ModelConfig  #: The network and the model predictor.
    tracker: TrackerConfig = TrackerConfig()  #: What the tracker does online.
    training: TrainingConfig = TrainingConfig()  #: How it is trained.
    #: The name of shipped weights ("dimp_lite0"), a .safetensors file, or a checkpoint made by
    #: `python -m dimp_jax.convert` or by a training; None: ImageNet weights of the backbone from
    #: the `imagenet` extra, with untrained heads.
    checkpoint: str | None = None
    seed: int = 0  #: Of all randomness: the same seed gives the same boxes, bit for bit.


def config_dir() -> Path:
    """The folder of the shipped config files: inside a wheel, or beside the package in its tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def shipped_names() -> list[str]:
    """What `load` takes as a name: "dimp18", "ablations/no_label"."""
    files = [path.relative_to(config_dir()) for path in config_dir().rglob("*.py")]
    return sorted(p.with_suffix("").as_posix() for p in files if p.stem != "__init__")


def load(name_or_path: str) -> Config:
    """Loads a shipped config by name ("dimp18", "ablations/no_label") or any file by path.

    What lies beside a file that does not ship can be imported from then on, the file itself, too.

    Raises:
      FileNotFoundError: neither a shipped name (the near matches are listed) nor a file.
      ValueError: the file has no `get_config`, or it does not return a `Config`.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        path = config_dir() / f"{name_or_path}.py"
    elif not path.is_file() and "configs" in path.parts[:-1]:
        # As written in the README, from anywhere.
        last = len(path.parts) - 1 - path.parts[::-1].index("configs")
        path = config_dir().joinpath(*path.parts[last + 1 :])
    if not path.is_file():
        names = shipped_names()
        near = [
            *difflib.get_close_matches(name_or_path, names, n=3),
            *difflib.get_close_matches(Path(name_or_path).stem, names, n=3),
        ]
        near = list(dict.fromkeys(near)) or names
        raise FileNotFoundError(
            f"no config {name_or_path!r}: expected a .py file or one of: {', '.join(near)}"
        )
    beside = str(path.resolve().parent)
    if not path.resolve().is_relative_to(config_dir()) and beside not in sys.path:
        sys.path.append(beside)  # parts of one's own, "module:function", may lie there
    module = runpy.run_path(str(path))
    if "get_config" not in module:
        raise ValueError(f"{path}: a config file must define get_config() -> Config")
    config = module["get_config"]()
    if not isinstance(config, Config):
        raise ValueError(f"{path}: get_config() returned {type(config).__name__}, expected Config")
    return config


def changed(config, values: dict):
    """The config tree with other values of some fields: {"model.predictor.num_iter": 5, ...}.

    Raises:
      ValueError: no such field, or a value of another type.
    """
    for name, value in values.items():
        field, _, inside = name.partition(".")
        known = [each.name for each in dataclasses.fields(config)]
        if field not in known:
            raise ValueError(
                f"{type(config).__name__} has no field {field!r}: expected one of "
                f"{', '.join(difflib.get_close_matches(field, known) or known)}"
            )
        if inside:
            value = changed(getattr(config, field), {inside: value})
        value = _plain(value)
        _check_type(
            f"{type(config).__name__}.{field}", value, typing.get_type_hints(type(config))[field]
        )
        config = dataclasses.replace(config, **{field: value})
    return config


def _plain(value):
    """What a program may give for Python's own types: lists, paths, numbers of numpy."""
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool | int | float):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def _check_type(name, value, hint):
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    try:
        check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError as error:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ValueError(f"{name}: {value!r:.80}: expected {wanted}") from error


def differences(old, new, prefix=""):
    """Yields (dotted name, old, new) of the leaves in which two config trees differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(k for k in old if k not in new)]:
            name = f"{prefix}.{key}" if prefix else key
            yield from differences(old.get(key), new.get(key), name)
    elif old != new:
        yield prefix, old, new


def to_dict(config) -> dict:
    """The config tree as JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls, values: dict):
    """Rebuilds a config dataclass from `to_dict`'s result, after a trip through JSON.

    Raises:
      ValueError: a field that `cls` does not have, named with its near matches.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        near = difflib.get_close_matches(unknown[0], hints) or sorted(hints)
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; near: {', '.join(near)}")
    fields = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            fields[name] = from_dict(hints[name], value)
        else:
            fields[name] = _tuples(value)
    return cls(**fields)


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
