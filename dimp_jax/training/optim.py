"""Adam with a learning rate for each module, a step schedule, clipping, and frozen modules.

Modules are named by their path in the parameters, "backbone/layer3_0"; a name stands for all that
is below it, and the longest name counts.
"""

import difflib
import math

import jax.numpy as jnp
import optax
from flax import traverse_util

from dimp_jax.config.training import OptimConfig

DEFAULT = "default"


def split(params, frozen):
    """Takes the frozen modules out of the parameters.

    Args:
      params: nested dicts.
      frozen: module names.

    Returns:
      (trained, frozen), nested dicts that `merge` puts together again.

    Raises:
      ValueError: a name that matches no parameter, or nothing is left to train.
    """
    flat = traverse_util.flatten_dict(params, sep="/")
    _check_names(flat, frozen, "frozen")
    kept = {path: _longest_match(path, frozen) is not None for path in flat}
    if all(kept.values()):
        raise ValueError(f"frozen={tuple(frozen)}: nothing is left to train")
    part = lambda which: traverse_util.unflatten_dict(
        {path: leaf for path, leaf in flat.items() if kept[path] is which}, sep="/"
    )
    return part(False), part(True)


def merge(trained, frozen):
    """The parameters that `split` took apart."""
    flat = traverse_util.flatten_dict(trained) | traverse_util.flatten_dict(frozen)
    return traverse_util.unflatten_dict(flat)


def schedule(config: OptimConfig, base_rate: float):
    """The learning rate of a module by the number of updates before: linear warm-up, then steps."""

    def rate(step):
        decays = step // config.decay_every_steps
        warm = jnp.minimum((step + 1) / max(config.warmup_steps, 1), 1.0)
        return jnp.float32(base_rate) * jnp.float32(config.decay_factor) ** decays * warm

    return rate


def learning_rates(config: OptimConfig, step: int) -> dict[str, float]:
    """The rate of every entry of `config.learning_rates` in the update after `step` updates."""
    return {name: float(schedule(config, base)(step)) for name, base in config.learning_rates}


def build(config: OptimConfig, params) -> optax.GradientTransformation:
    """The optimiser of the trained parameters, as `split` gives them.

    Args:
      params: all parameters, frozen ones included; arrays or `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: a field out of its range, a name that matches no parameter or is given twice, or
        a trained module without a rate.
    """
    _check_fields(config)
    rates = dict(config.learning_rates)
    trained, _ = split(params, config.frozen)
    names = [name for name in rates if name != DEFAULT]
    flat = traverse_util.flatten_dict(params, sep="/")
    _check_names(flat, names, "learning_rates")
    _check_names(flat, config.running_norms, "running_norms")
    labels = {}
    for path in traverse_util.flatten_dict(trained, sep="/"):
        labels[path] = _longest_match(path, names) or DEFAULT
        if labels[path] not in rates:
            raise ValueError(
                f"learning_rates has no entry for {path} and no {DEFAULT!r}: add one of them, or "
                "add the module to frozen"
            )
    used = {name: rates[name] for name in sorted(set(labels.values()))}
    parts = [
        optax.scale_by_adam(config.adam_b1, config.adam_b2, config.adam_eps),
        optax.partition(
            {
                name: optax.scale_by_learning_rate(schedule(config, base))
                for name, base in used.items()
            },
            traverse_util.unflatten_dict(labels, sep="/"),
        ),
    ]
    if config.clip_norm is not None:
        # Over all trained parameters together, of the plain gradient.
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)


def _longest_match(path: str, names):
    matches = [n for n in names if path == n or path.startswith(f"{n}/")]
    return max(matches, key=len, default=None)


def _check_names(flat, names, field: str):
    """Raises ValueError for a name that is no module and no parameter of the flat dict."""
    known = {}
    for path in flat:
        parts = path.split("/")
        known |= {"/".join(parts[:depth]): None for depth in range(1, len(parts) + 1)}
    for name in names:
        if name not in known:
            inside = [k for k in known if k.startswith(name)]  # "backbone/layer3": layer3_0, ...
            near = inside[:4] or difflib.get_close_matches(name, known, n=4)
            near = near or [k for k in known if "/" not in k]
            raise ValueError(f"{field}: no parameter is under {name!r}; near: {', '.join(near)}")


def _check_fields(config: OptimConfig):
    names = [name for name, _ in config.learning_rates]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"learning_rates: {name!r} is given {names.count(name)} times")
    for name, rate in config.learning_rates:
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"learning_rates: {name!r} has {rate}, expected 0 or more")
    for field, low in (("decay_every_steps", 1), ("warmup_steps", 0), ("accumulate", 1)):
        if getattr(config, field) < low:
            raise ValueError(f"{field}={getattr(config, field)}: expected {low} or more")
    for field in ("decay_factor", "adam_eps"):
        if not 0 <= getattr(config, field) < math.inf:
            raise ValueError(f"{field}={getattr(config, field)}: expected a number >= 0")
    for field in ("adam_b1", "adam_b2"):
        if not 0 <= getattr(config, field) < 1:
            raise ValueError(f"{field}={getattr(config, field)}: expected a number >= 0 and < 1")
    if config.clip_norm is not None and not config.clip_norm > 0:
        raise ValueError(f"clip_norm={config.clip_norm}: expected a positive number or None")
