"""What `dimp_lite0` was before it was trained: ImageNet features, untrained heads, a scale search.

python evaluate.py dimp_lite0_untrained        # needs the extra `imagenet`

For comparison; it says itself that its heads are untrained.
"""

import dataclasses

from dimp_jax import config


def get_config() -> config.Config:
    # The tracker's parameters are the published ones: those of `dimp_lite0` suit trained heads.
    return dataclasses.replace(
        config.load("dimp_lite0"), tracker=config.TrackerConfig(), checkpoint=None
    )
