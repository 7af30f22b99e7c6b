"""DiMP-18 with the online parameters used for VOT2018: small search area, Hann window, no loss.

python evaluate.py configs/dimp18_vot18.py --checkpoint CONVERTED
"""

import dataclasses

from dimp_jax import config
from dimp_jax.config import AugmentConfig, LocalizeConfig, MemoryConfig, TrackerConfig

TRACKER = TrackerConfig(
    crop_size_px=224,
    search_area_scale=4.0,
    augment=AugmentConfig(
        blur_sigmas_px=((2.0, 0.2), (0.2, 2.0), (3.0, 1.0), (1.0, 3.0), (2.0, 2.0)),
        rotations_deg=(5.0, -5.0, 10.0, -10.0, 20.0, -20.0, 30.0, -30.0, 45.0, -45.0, -60.0, 60.0),
        dropout_samples=7,
    ),
    memory=MemoryConfig(
        size=250,
        learning_rate=0.0075,
        init_samples_minimum_weight=0.0,
        train_interval=10,
        init_iterations=25,
        update_iterations=3,
        hard_negative_iterations=3,
    ),
    localize=LocalizeConfig(
        window=True,
        hard_negative_without_window=True,
        not_found_threshold=0.0,
        distractor_threshold=100.0,
        hard_negative_threshold=0.45,
        displacement_scale=0.7,
    ),
)


def get_config() -> config.Config:
    return dataclasses.replace(config.load("dimp18"), tracker=TRACKER)
