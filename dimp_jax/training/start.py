"""The variables that a training starts from."""

import jax
import numpy as np

from dimp_jax.config import Config
from dimp_jax.models.dimp import init_variables
from dimp_jax.tracking import weights


def start_variables(config: Config):
    """The weights that `config` names, and fresh ones where there are none.

    Returns:
      variables {"params", "batch_stats"}, numpy; and what they are, for people.

    Raises:
      FileNotFoundError: ImageNet weights are asked for and not to be found.
      CheckpointError (a ValueError): not a checkpoint, or one of another architecture.
    """
    fresh = jax.tree.map(np.asarray, init_variables(config.model, jax.random.key(config.seed)))
    if config.checkpoint is None and config.training.start == "random":
        return fresh, "random numbers"
    found, name = weights.read(config)
    missing = [head for head in weights.HEADS if head not in found["params"]]
    variables = {
        group: fresh[group] | {k: v for k, v in found.get(group, {}).items()} for group in fresh
    }
    return variables, name + (f"; fresh: {', '.join(missing)}" if missing else "")
