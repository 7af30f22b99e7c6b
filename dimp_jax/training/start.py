"""The variables that a training starts from."""

import dataclasses
import functools

import jax
import numpy as np

from dimp_jax.checkpoints import shipped
from dimp_jax.config import Config, ModelConfig
from dimp_jax.models.dimp import init_variables
from dimp_jax.tracking import weights


def start_variables(config: Config):
    """The weights that `config.training.start` asks for, and fresh ones where there are none.

    Returns:
      variables {"params", "batch_stats"}, numpy; and what they are, for people.

    Raises:
      FileNotFoundError: ImageNet weights are asked for and not to be found.
      CheckpointError (a ValueError): not a checkpoint, or one of another architecture.
      ValueError: `start` and `checkpoint` contradict each other.
    """
    start, checkpoint = config.training.start, config.checkpoint
    if start != "checkpoint":
        # A config names the shipped weights for tracking; those who train it need not undo that.
        if checkpoint is not None and not shipped.is_shipped(checkpoint):
            raise ValueError(
                f"--checkpoint {checkpoint} and --training.start {start}: which one? Leave out "
                f"--checkpoint to start from {start} weights, or give --training.start checkpoint"
            )
        config = dataclasses.replace(config, checkpoint=None)
    if start == "random":
        return fresh(config, ("backbone", *weights.HEADS)), "random numbers"
    found, name = weights.read(config)
    missing = [head for head in weights.HEADS if head not in found["params"]]
    if not missing:
        return found, name
    new = fresh(config, missing)
    variables = {group: new[group] | found.get(group, {}) for group in new}
    return variables, f"{name}; fresh: {', '.join(missing)}"


def fresh(config: Config, modules):
    """New {"params", "batch_stats"} of these modules, as numpy."""
    # This generator compiles in half the time of the default one; the seed alone decides.
    key = jax.random.key(config.seed, impl="rbg")
    return jax.tree.map(np.asarray, _draw(config.model, tuple(modules))(key))


@functools.lru_cache(maxsize=8)
def _draw(model: ModelConfig, modules):
    def draw(key):
        variables = init_variables(model, key)
        # What is not returned is not compiled.
        return {g: {m: v[m] for m in modules if m in v} for g, v in variables.items()}

    return jax.jit(draw)
