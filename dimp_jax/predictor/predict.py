"""The model predictor: features and boxes in, target filter out."""

import functools
import inspect
import math
import typing

import jax
import jax.numpy as jnp

from dimp_jax.config.predictor import PartMode
from dimp_jax.predictor import parts
from dimp_jax.predictor.objectives import Samples
from dimp_jax.predictor.solve import Solve, at_iteration

# Leaves of the loss that the config can fix, share or set back (`config.LearnedParts`).
LEARNED_PARTS = ("label", "mask", "weight", "filter_reg", "log_step_length")
WITHOUT_MAPS = ("l2", "kl")  # their labels are not learned
SOLVER_ARGUMENTS = ("step_length", "damping", "adjoint")  # what every solver takes by name
IN_ORDER = {"solver": 3, "objective": 3, "adjoint": 4}  # arguments that a part takes by their place


def init_params(config):
    """Initial loss parameters: Gaussian label, tanh mask, uniform weight (paper, "Learning the
    Discriminative Learning Loss").

    Args:
      config: `PredictorConfig`.

    Returns:
      dict: label, mask, weight [num_bins]; log_step_length, filter_reg [] and `own_parameters`.
      A part that is learned per iteration has a leading [num_iter].

    Raises:
      ValueError: a part that does not exist, a parameter's name that is taken, or a mode of one
        that is none.
    """
    parts.check_names(config)
    _check_own(config)
    values = initial_values(config)
    for name in values:
        if mode_of(config, name) == "per_iteration":
            values[name] = jnp.stack([values[name]] * config.num_iter)
    return values


def own_parameters(config) -> dict:
    """Name and initial value, a number or "module:function", of what the parts of a
    `PredictorConfig` learn beside `LEARNED_PARTS`."""
    return dict((*config.objective_parameters, *config.solver_parameters))


def is_number(config, name: str) -> bool:
    """Whether a parameter is one number, or one for each iteration."""
    return initial_values(config)[name].ndim == 0


def mode_of(config, name: str) -> PartMode:
    """How a parameter is learned."""
    return dict(config.learned_own).get(name, getattr(config.learned, name, "shared"))


def initial_values(config):
    """`init_params` without the per-iteration axis."""
    distance = jnp.arange(config.num_bins, dtype=jnp.float32) * config.bin_width_cells
    label = jnp.exp(-0.5 * (distance / config.init_label_sigma_cells) ** 2)
    offset = 0.5 if config.mask_activation == "linear" else 0.0
    maps = {
        "label": label - jnp.min(label),
        "mask": config.init_mask_factor * jnp.tanh(2.0 - distance) + offset,
        "weight": jnp.ones(config.num_bins, jnp.float32),
    }
    scalars = {
        "log_step_length": jnp.float32(math.log(config.init_step_length)),
        "filter_reg": jnp.float32(config.init_filter_reg),
    }
    for name, initial in own_parameters(config).items():
        if isinstance(initial, str):
            initial = parts.find(f"parameter {name}", initial, {})(config)
        scalars[name] = jnp.asarray(initial, jnp.float32)
    return scalars if config.objective in WITHOUT_MAPS else maps | scalars


def _check_own(config):
    """Raises ValueError for a name among `own_parameters` and options that stands for two things
    or is given twice, and for a mode of `learned_own` that is none, or of no parameter."""
    own, modes = own_parameters(config), typing.get_args(PartMode)
    for field in ("objective_options", "adjoint_options", "learned_own"):
        names = [name for name, _ in getattr(config, field)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"predictor.{field}: {name!r} is given twice: leave one out")
    named = (*config.objective_parameters, *config.solver_parameters, *config.solver_options)
    names = [name for name, _ in named]
    for name in names:
        if name in (*LEARNED_PARTS, *SOLVER_ARGUMENTS) or names.count(name) > 1:
            raise ValueError(
                f"predictor parameter {name!r}: the name is taken by the loss or the solver; "
                "choose another one in solver_parameters, objective_parameters or solver_options"
            )
    for name, mode in config.learned_own:
        if name not in own or mode not in modes:
            raise ValueError(
                f"predictor.learned_own: {name!r} {mode!r}: expected one of "
                f"{', '.join(own) or 'the parameters of your own (there are none)'} "
                f"and one of {', '.join(modes)}"
            )


def adapt_params(params, config):
    """Parameters of one predictor config (of a checkpoint) for another one.

    What the config adds (a solver's own parameters) starts at its initial value, and what it has no
    use for is left out. A shared part that is now learned per iteration starts as that many copies;
    more iterations than before start with the last one's values.

    Args:
      params: dict of arrays.

    Returns:
      (params, names of those that are at their initial values because there were none).

    Raises:
      ValueError: a part was learned per iteration, and is to be one for all.
    """
    wanted = init_params(config)
    missing = sorted(set(wanted) - set(params))
    adapted = {}
    for name, initial in wanted.items():
        value = params.get(name, initial)
        mode = mode_of(config, name)
        more_axes = jnp.ndim(value) - (jnp.ndim(initial) - (mode == "per_iteration"))
        if mode == "per_iteration":
            stack = jnp.asarray(value) if more_axes else jnp.asarray(value)[None]
            value = at_iteration(stack, jnp.arange(len(initial)))
        elif more_axes and mode == "initial":
            value = initial
        elif more_axes == 1:
            field = "learned_own" if name in own_parameters(config) else "learned"
            raise ValueError(
                f"predictor/{name} was learned per iteration, {jnp.shape(value)}: the config has "
                f"{mode!r} in predictor.{field}, expected 'per_iteration' or 'initial'"
            )
        adapted[name] = value
    return adapted, missing


def effective_params(params, config):
    """The parameters as the solve uses them: some fixed, some back at their initial values."""
    initial = initial_values(config)
    effective = dict(params)
    for name in (*LEARNED_PARTS, *own_parameters(config)):
        mode = mode_of(config, name)
        if name in params and mode == "initial":
            effective[name] = initial[name].astype(params[name].dtype)
        elif name in params and mode == "fixed":
            effective[name] = jax.lax.stop_gradient(params[name])
    return effective


def objective_of(params, samples: Samples, config):
    """The objective that the config names: (filter, iteration) -> `solve.Local`.

    Args:
      params: as from `effective_params`.

    Raises:
      PartError (a ValueError): there is no such objective, or it does not read what the config
        gives, or reads what that does not give.
    """
    unread = ", ".join(name for name, _ in config.objective_parameters)
    if unread and config.objective in parts.OBJECTIVES:
        raise parts.PartError(
            f"predictor.objective_parameters: {config.objective} does not read {unread}: leave "
            "that out, or name the objective that does"
        )
    make = _reading(params, config, _with_options("objective", config))
    used = ("label", "mask", "weight", "filter_reg", *dict(config.objective_parameters))
    each = {
        name: params[name]
        for name in used
        if name in params and mode_of(config, name) == "per_iteration"
    }
    if not each:
        # The maps are made once, outside the loop.
        return _reading(params, config, make(params, samples, config))

    def objective(filt, iteration):
        now = {name: at_iteration(values, iteration) for name, values in each.items()}
        return make(params | now, samples, config)(filt, iteration)

    return _reading(params, config, objective)


def _reading(params, config, function):
    """`function`, which reads parameters and options by name; what is not there is told of."""

    def reading(*args):
        try:
            return function(*args)
        except KeyError as error:
            raise parts.PartError(
                f"predictor.objective={config.objective!r} reads {error}, which is missing; "
                f"parameters are {', '.join(params)}: name it and its initial value in "
                "objective_parameters, or, an option, in objective_options"
            ) from error

    return reading


def optimize_filter(
    params, filt, feat, box_xywh, sample_weight, config, *, num_iter: int, stride_px: int = 16
) -> Solve:
    """Fits one target filter to its samples (paper, algorithm 1), by the parts that `config` names.

    Args:
      params: the loss parameters, as from `init_params`; every leaf gets a gradient, as far as
        `config.learned` and `config.adjoint` let one through.
      filt: [K, K, C] initial filter.
      feat: [N, H, W, C] normalised classification features.
      box_xywh: [N, 4] target boxes in crop pixels.
      sample_weight: [N]; slots with weight 0 change nothing, so N can be a fixed memory size.
      config: `PredictorConfig` (static).
      num_iter: static.

    Returns:
      `Solve`: iterates [I + 1, K, K, C], losses [I + 1], step lengths [I].

    Raises:
      PartError (a ValueError): at trace time, a part that does not exist, or that the config gives
        what it does not take, or not all that it takes.
    """
    samples = Samples(feat, box_xywh, sample_weight, stride_px, filt.shape[0])
    params = effective_params(params, config)
    own = {name: params[name] for name, _ in config.solver_parameters}
    later = dict.fromkeys(SOLVER_ARGUMENTS, "solver") | dict.fromkeys(own, "solver_parameters")
    solver = _with_options("solver", config, later)
    # Ours name their precision; this is for parts of other packages.
    with jax.default_matmul_precision("highest"):
        return solver(
            objective_of(params, samples, config),
            filt,
            num_iter,
            step_length=jnp.exp(params["log_step_length"]),
            damping=config.alpha_eps,
            adjoint=_adjoint(config),
            **own,
        )


def _adjoint(config):
    """The adjoint that the config names; its options have precedence over the fields of ours."""
    if config.adjoint == "truncated":
        return _with_options("adjoint", config, every=config.truncate_every)
    if config.adjoint == "implicit":
        return _with_options(
            "adjoint",
            config,
            max_iterations=config.implicit_iterations,
            tolerance=config.implicit_tolerance,
        )
    return _with_options("adjoint", config)


def _with_options(field, config, later=None, **ours):
    """The function that a field of the config names, with `ours` and its options as arguments;
    `later`: further ones that it will be given, {name: field of the config it is from}."""
    name, options = getattr(config, field), dict(getattr(config, f"{field}_options"))
    function = parts.find(field, name, parts.FIELDS[field])
    given = dict.fromkeys(ours, field) | (later or {}) | dict.fromkeys(options, f"{field}_options")
    _check_arguments(field, name, function, given)
    return functools.partial(function, **(ours | options))


def _check_arguments(part, name, function, given):
    """Raises PartError unless `function` can be called as a solver, objective or adjoint is, with
    the further arguments `given`: {name: field it is from}."""
    signature = inspect.signature(function)
    taken = signature.parameters
    any_name = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    for argument, field in given.items():
        if argument not in taken and not any_name:
            raise parts.PartError(
                f"predictor.{field}: {name} has no argument {argument!r}, which it is given; "
                f"it takes {', '.join(taken)}"
            )
    try:
        signature.bind(*range(IN_ORDER[part]), **given)
    except TypeError as error:
        fields = "solver_parameters or solver_options" if part == "solver" else f"{part}_options"
        first = ", ".join(list(taken)[: IN_ORDER[part]])
        raise parts.PartError(
            f"predictor.{part}={name!r}: {error}; name in {fields} what it takes beside {first}"
        ) from error
