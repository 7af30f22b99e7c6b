"""PrDiMP-50 as in Danelljan et al. (CVPR 2020): ResNet-50; a larger search area than in training.

python evaluate.py configs/prdimp50.py --checkpoint CONVERTED
python train.py configs/prdimp50.py --checkpoint IMAGENET --workdir runs/prdimp50 --data-dir DATA
"""

import dataclasses

from dimp_jax import config


def get_config() -> config.Config:
    dimp50, prdimp18 = config.load("dimp50"), config.load("prdimp18")
    return dataclasses.replace(
        prdimp18,
        model=dataclasses.replace(
            dimp50.model, filter_init="zero", predictor=prdimp18.model.predictor
        ),
        tracker=dataclasses.replace(
            prdimp18.tracker,
            crop_size_px=352,
            search_area_scale=6.0,
            border_mode="inside_major",
            max_scale_change=1.5,
        ),
        training=dataclasses.replace(
            dimp50.training,  # its batch and the length that follows from it
            data=prdimp18.training.data,
            loss=prdimp18.training.loss,
            optim=dataclasses.replace(
                dimp50.training.optim, learning_rates=(("backbone", 2e-5), ("default", 1e-3))
            ),
        ),
    )
