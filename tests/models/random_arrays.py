"""Arrays and trees of random numbers."""

import jax
import numpy as np


def normal(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def randomized(tree, seed=0):
    """Every leaf random; scales and variances positive."""
    rng = np.random.default_rng(seed)

    def leaf(path, value):
        noise = rng.standard_normal(value.shape).astype(np.float32)
        positive = path[-1].key in ("scale", "var")
        return np.exp(np.float32(0.3) * noise) if positive else np.float32(0.4) * noise

    return jax.tree_util.tree_map_with_path(leaf, tree)
