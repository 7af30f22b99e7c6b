"""DiMP-50 with the online parameters used for VOT2019.

python evaluate.py configs/dimp50_vot19.py --checkpoint CONVERTED
"""

import dataclasses

from dimp_jax import config
from dimp_jax.config import AugmentConfig

AUGMENT = AugmentConfig(
    shifts=((0.6, 0.6), (-0.6, -0.6)),
    blur_sigmas_px=((2.0, 0.2), (1.0, 3.0)),
    rotations_deg=(-5.0, 10.0, -30.0, 60.0),
    dropout_samples=3,
    expansion_factor=1.4,
)


def get_config() -> config.Config:
    vot18 = config.load("dimp50_vot18")
    tracker = dataclasses.replace(
        vot18.tracker,
        crop_size_px=256,
        search_area_scale=4.5,
        augment=AUGMENT,
        memory=dataclasses.replace(
            vot18.tracker.memory,
            size=100,
            init_iterations=15,
            update_iterations=2,
            hard_negative_iterations=2,
        ),
        refine=dataclasses.replace(vot18.tracker.refine, iterations=3),
    )
    return dataclasses.replace(vot18, tracker=tracker)
