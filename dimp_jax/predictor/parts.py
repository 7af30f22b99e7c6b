"""The parts that a config can name: solvers, objectives, adjoints, and those of other packages."""

import difflib
import importlib
import sys

from dimp_jax.predictor import adjoints, objectives
from dimp_jax.predictor.solvers.conjugate_gradient import conjugate_gradient
from dimp_jax.predictor.solvers.gradient_descent import gradient_descent
from dimp_jax.predictor.solvers.initializer_only import initializer_only
from dimp_jax.predictor.solvers.momentum import momentum
from dimp_jax.predictor.solvers.newton import newton
from dimp_jax.predictor.solvers.steepest_descent import steepest_descent

SOLVERS = {
    "steepest_descent": steepest_descent,
    "gradient_descent": gradient_descent,
    "momentum": momentum,
    "conjugate_gradient": conjugate_gradient,
    "newton": newton,
    "initializer_only": initializer_only,
}
OBJECTIVES = {"hinge": objectives.hinge, "l2": objectives.l2, "kl": objectives.kl}
ADJOINTS = {
    "unrolled": adjoints.unrolled,
    "truncated": adjoints.truncated,
    "checkpointed": adjoints.checkpointed,
    "one_step": adjoints.one_step,
    "implicit": adjoints.implicit,
}
FIELDS: dict[str, dict] = {"solver": SOLVERS, "objective": OBJECTIVES, "adjoint": ADJOINTS}
PARAMETERS = ("solver_parameters", "objective_parameters")


class PartError(ValueError):
    """A part does not exist or does not fit what the config gives; the message is one line."""


def find(field: str, name: str, ours: dict):
    """The function that `name` stands for: one of `ours`, or "module:function" of any package.

    Raises:
      PartError: no such function; says what was expected.
    """
    if name in ours:
        return ours[name]
    _check_form(field, name, ours)
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise PartError(f"predictor.{field}={name!r}: {error}; {_expected(ours)}") from error
    if not callable(found):
        raise PartError(
            f"predictor.{field}={name!r}: {module} has no function {function!r}; {_expected(ours)}"
        )
    return found


def check_names(config) -> None:
    """Refuses a `PredictorConfig` with a part of ours that does not exist; imports nothing.

    Raises:
      PartError: as `find`.
    """
    for field, ours in FIELDS.items():
        name = getattr(config, field)
        if name not in ours:
            _check_form(field, name, ours)
    for field in PARAMETERS:
        for _, initial in getattr(config, field):
            if isinstance(initial, str):
                _check_form(field, initial, {})


def _check_form(field, name, ours):
    """Raises PartError unless `name`, which is none of `ours`, looks like "module:function"."""
    module, colon, function = name.partition(":")
    if colon and module and function:
        return
    near = difflib.get_close_matches(name, ours, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise PartError(f"predictor.{field}={name!r}: {meant}{_expected(ours)}")


def _expected(ours):
    named = f"one of {', '.join(ours)}," if ours else "a number"
    return f"expected {named} or module:function"


def of_others(config) -> tuple[str, ...]:
    """The "module:function" names of a `PredictorConfig`: code that using it would import."""
    names = [getattr(config, field) for field in FIELDS]
    names += [initial for field in PARAMETERS for _, initial in getattr(config, field)]
    return tuple(name for name in names if isinstance(name, str) and ":" in name)


def check_imported(config, where) -> None:
    """Refuses the `PredictorConfig` of a checkpoint that names code nobody has imported.

    A checkpoint is data, and must not run code by itself.

    Raises:
      ValueError: it does; `where` is the checkpoint, for people.
    """
    for name in of_others(config):
        module = name.partition(":")[0]
        if module not in sys.modules:
            raise ValueError(
                f"{where}: its predictor is made with {name}: import {module} first if you trust "
                "it (commands do for a CONFIG that names it)"
            )
