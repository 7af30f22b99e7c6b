"""What a frozen backbone hands to the heads, as arrays. Imports no jax: workers load it, too."""

from typing import NamedTuple

import numpy as np


class FeatureMaps(NamedTuple):
    """What a frozen backbone made of crops of S x S pixels."""

    layer2: np.ndarray  # [F, S / 8, S / 8, C2] float16 or float32
    layer3: np.ndarray  # [F, S / 16, S / 16, C3]
