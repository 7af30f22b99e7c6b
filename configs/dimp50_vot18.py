"""DiMP-50 with the online parameters used for VOT2018 (those of dimp18_vot18).

python evaluate.py configs/dimp50_vot18.py --checkpoint CONVERTED
"""

import dataclasses

from dimp_jax import config


def get_config() -> config.Config:
    return dataclasses.replace(config.load("dimp50"), tracker=config.load("dimp18_vot18").tracker)
