"""Densities of boxes around a true one, in (cx / w0, cy / h0, log w, log h): Gaussian mixtures.

Of the proposals of PrDiMP (behaviour 4.2). Host code.
"""

import math

import numpy as np


def gaussian_log_density(offset, std_position_size) -> np.ndarray:
    """Log of the product of four normals of mean 0.

    Args:
      offset: [..., 4] in relative space, from the mean.
      std_position_size: (of the first two, of the last two).

    Returns:
      [...] float64.
    """
    position, size = std_position_size
    std = np.array((position, position, size, size), np.float64)
    return np.sum(-0.5 * (offset / std) ** 2 - np.log(math.sqrt(2 * math.pi) * std), axis=-1)


def mixture_log_density(offset, stds) -> np.ndarray:
    """Log of the mean of `gaussian_log_density` over the components `stds`; [...] float64."""
    logs = np.stack([gaussian_log_density(offset, std) for std in stds])
    largest = logs.max(axis=0)
    return largest + np.log(np.mean(np.exp(logs - largest), axis=0))
