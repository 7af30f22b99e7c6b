"""Changes of the online tracker to try: a table of them, and how they are written and applied.

A variant is {"field": value} of `TrackerConfig`, nested fields with a dot: {"memory.size": 30}. On
the command line and in files it is "memory.size=30,refine.iterations=3".
"""

import ast
import dataclasses
import difflib
import re
import typing
from pathlib import Path

from dimp_jax.config import TrackerConfig
from dimp_jax.media.images import InputError

DEFAULT = "default"


def _each(name: str, field: str, *values) -> dict[str, dict]:
    """One variant for each value of a field; `name` has a place for it."""
    return {name.format(value): {field: value} for value in values}


# What is measured unless others are asked for: one thing at a time around the default. What equals
# the config's own value is left out.
GRID = {
    "no update": {"memory.update": "none"},
    # Averages of every frame's filter, as the paper's comparison, and at the usual interval.
    "moving average": {"memory.update": "moving_average", "memory.train_interval": 1},
    "moving average every 20": {"memory.update": "moving_average", "memory.train_interval": 20},
    "update: 1 iteration": {"memory.update_iterations": 1},
    **_each("update: {} iterations", "memory.update_iterations", 2, 4, 8),
    **_each("update every {}", "memory.train_interval", 5, 10, 20, 40),
    **_each("memory {}", "memory.size", 20, 30, 50, 100),
    **_each("first frame: {} iterations", "memory.init_iterations", 0, 2, 5, 10, 20),
}
QUICK = ("no update", "moving average", "update: 4 iterations", "update every 5")

# More, to be named after --only. With a crop of 288 px a search area of 5 shows a target at
# 58 x 58 px; the first two keep that.
LISTED = GRID | {
    "crop 224, area 4": {"crop_size_px": 224, "search_area_scale": 4.0},
    "crop 256, area 4.5": {"crop_size_px": 256, "search_area_scale": 4.5},
    **_each("crop {}", "crop_size_px", 224, 256, 288),
    **_each("area {:g}", "search_area_scale", 4.0, 4.5, 5.0, 6.0),
    **_each("refine {} steps", "refine.iterations", 3, 5, 10),
    **_each("size rate {:g}", "refine.size_rate", 0.25, 0.5, 1.0),
    **_each("modulation fitted on {:g}", "refine.modulation_samples", 0, 8, 32),
    "no aspect prior": {"refine.aspect_prior_std": None},
    **_each("aspect prior {:g}", "refine.aspect_prior_std", 0.1, 0.2, 0.4),
    "normal aspect prior": {"refine.aspect_prior_dof": None},
    **_each("{} random boxes", "refine.num_random_boxes", 5, 9),
    "mean of 1 box": {"refine.top_k": 1},
    **_each("mean of {} boxes", "refine.top_k", 3, 5),
    "first frame: no shifts": {"augment.shifts": ()},
    "first frame: no flip": {"augment.flip": False},
    "first frame: no blur": {"augment.blur_sigmas_px": ()},
    "first frame: no rotations": {"augment.rotations_deg": ()},
    "first frame: no dropout": {"augment.dropout_samples": 0},
    "first frame: shifts and flip": {  # 6 samples instead of 15
        "augment.blur_sigmas_px": (),
        "augment.rotations_deg": (),
        "augment.dropout_samples": 0,
    },
    "first frame: 4 dropout samples": {"augment.dropout_samples": 4},
}


def apply(config: TrackerConfig, overrides: dict) -> TrackerConfig:
    """The configuration with some fields changed.

    Raises:
      InputError: no such field, or a value of another type.
    """
    for name, value in overrides.items():
        config = _changed(config, name.split("."), value, name)
    return config


def parse(text: str) -> dict:
    """ "refine.iterations=3,augment.shifts=()" as {"refine.iterations": 3, "augment.shifts": ()}.

    Values are Python literals; anything else is taken as text.

    Raises:
      InputError: a part without `=`, or a field twice.
    """
    overrides = {}
    # At commas before a field or at the end: those inside of tuples stay.
    for part in re.split(r",(?=[\s\w.]*(?:=|$))", text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not value:
            raise InputError(f"variant {text!r}: {part.strip()!r}: expected field=value")
        if name in overrides:
            raise InputError(f"variant {text!r}: {name} is given twice")
        try:
            overrides[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            overrides[name] = value
    return overrides


def read(path) -> dict[str, dict]:
    """Variants of a text file, one a line: `overrides` or `name: overrides`; # begins a comment.

    Raises:
      InputError: the file cannot be read, or a line cannot be parsed; the line is named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    variants = {}
    for number, line in enumerate(lines, 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        before, colon, after = line.partition(":")
        named = bool(colon) and "=" not in before
        text = (after if named else line).strip()
        name = before.strip() if named else text
        if name in variants:
            raise InputError(f"{path}, line {number}: {name!r} is there twice")
        try:
            variants[name] = parse(text)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return variants


def choose(config: TrackerConfig, *, only, add, file) -> dict[str, TrackerConfig]:
    """The configurations to measure by name, the default first; each of them once.

    Args:
      only: names of `LISTED`; None: all of `GRID`.
      add: texts for `parse`. file: for `read`, or None.

    Raises:
      InputError: a name that is not listed, or from `parse`, `read` and `apply`.
    """
    unknown = [name for name in only or () if name not in LISTED]
    if unknown:
        near = difflib.get_close_matches(unknown[0], LISTED, n=3) or list(LISTED)
        raise InputError(f"--only {unknown[0]!r}: expected one of: {'; '.join(near)}")
    variants = {name: LISTED[name] for name in (GRID if only is None else only)}
    more = {text: parse(text) for text in add} | (read(file) if file else {})
    for name in more:
        if name == DEFAULT or name in variants:
            raise InputError(f"variant {name!r}: the name is taken, choose another one")
    configs = {DEFAULT: config}
    for name, overrides in (variants | more).items():
        changed = apply(config, overrides)
        if changed not in configs.values():
            configs[name] = changed
    return configs


def _changed(config, path, value, whole):
    field, *rest = path
    types = typing.get_type_hints(type(config))
    if field not in types:
        near = difflib.get_close_matches(field, types) or list(types)
        raise InputError(
            f"variant: {whole}: {type(config).__name__} has no field {field!r}; "
            f"near: {', '.join(near)}"
        )
    present = getattr(config, field)
    if dataclasses.is_dataclass(present) != bool(rest):
        fields = ", ".join(f.name for f in dataclasses.fields(present)) if not rest else "none"
        raise InputError(f"variant: {whole}: {field!r} has the fields: {fields}")
    if rest:
        return dataclasses.replace(config, **{field: _changed(present, rest, value, whole)})
    if types[field] is float and type(value) is int:
        value = float(value)
    if not _fits(value, types[field]):
        expected = getattr(types[field], "__name__", None) if type(types[field]) is type else None
        raise InputError(f"variant: {whole}={value!r}: expected {expected or types[field]}")
    return dataclasses.replace(config, **{field: value})


def _fits(value, kind) -> bool:
    """Whether a value is of one of the types that the configuration uses."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        kinds = inner[:1] * len(value) if inner[1:] == (...,) and type(value) is tuple else inner
        return (
            type(value) is tuple
            and len(value) == len(kinds)
            and all(_fits(v, k) for v, k in zip(value, kinds, strict=True))
        )
    if inner:  # a union
        return any(_fits(value, one) for one in inner)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind
