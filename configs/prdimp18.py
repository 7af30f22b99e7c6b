"""PrDiMP-18 as in Danelljan et al. (CVPR 2020): ResNet-18, the general online parameters.

python evaluate.py configs/prdimp18.py --checkpoint CONVERTED
python train.py configs/prdimp18.py --checkpoint IMAGENET --workdir runs/prdimp18 --data-dir DATA

Classifier and box regression learn probability densities; the rest is the training of dimp18, whose
docstring says which batches divide over how many devices.
"""

import dataclasses

from dimp_jax import config
from dimp_jax.config import LocalizeConfig, PredictorConfig, RefineConfig
from dimp_jax.config.training import LossConfig, ProposalConfig

PREDICTOR = PredictorConfig(
    solver="newton",
    objective="kl",
    init_step_length=1.0,
    init_filter_reg=0.05,
    min_filter_reg=0.05,
    alpha_eps=0.05,
)
RELATIVE = RefineConfig(
    method="iou_relative", iterations=10, step_position=2.5e-3, step_size=2.5e-3
)


def get_config() -> config.Config:
    dimp18 = config.load("dimp18")
    data, optim = dimp18.training.data, dimp18.training.optim
    training = dataclasses.replace(
        dimp18.training,
        data=dataclasses.replace(
            data,
            sampler=dataclasses.replace(data.sampler, max_gap=200),
            crop=dataclasses.replace(data.crop, arithmetic="2020"),
            proposals=ProposalConfig(kind="gaussian_mixture", count=128),
        ),
        loss=LossConfig(
            box_regression="kl",
            classification="kl",
            iou=0.0025,
            final=0.25,
            initial=0.25,
            iterates=1.0,
        ),
        optim=dataclasses.replace(optim, learning_rates=(("backbone", 2e-4), ("default", 1e-3))),
    )
    return dataclasses.replace(
        dimp18,
        model=dataclasses.replace(dimp18.model, filter_init="zero", predictor=PREDICTOR),
        tracker=dataclasses.replace(
            dimp18.tracker,
            localize=LocalizeConfig(score_preprocess="softmax", not_found_threshold=0.04),
            refine=RELATIVE,
        ),
        training=training,
    )
