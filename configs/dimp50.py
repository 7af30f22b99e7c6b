"""DiMP-50 as in Bhat et al. (ICCV 2019): ResNet-50, the general online parameters.

python evaluate.py configs/dimp50.py --checkpoint CONVERTED
python train.py configs/dimp50.py --checkpoint IMAGENET --workdir runs/dimp50 --data-dir DATA

The batch of 10 of the published training divides over 1, 2, 5 and 10 devices; for 4 or 8 take
--training.global-batch 8 or 16 (docs/guides/training.md).
"""

import dataclasses

from dimp_jax import config
from dimp_jax.config import ModelConfig

SAMPLES_PER_EPOCH = 26_000  # of the published code; the paper says 20,000
EPOCHS = 50
GLOBAL_BATCH = 10
STEPS_PER_EPOCH = SAMPLES_PER_EPOCH // GLOBAL_BATCH


def get_config() -> config.Config:
    dimp18 = config.load("dimp18")  # the same sources, crops and losses
    training = dataclasses.replace(
        dimp18.training,
        total_steps=EPOCHS * STEPS_PER_EPOCH,
        global_batch=GLOBAL_BATCH,
        save_every=STEPS_PER_EPOCH,
        validate_every=5 * STEPS_PER_EPOCH,
        validation_batches=5000 // GLOBAL_BATCH,
        optim=dataclasses.replace(
            dimp18.training.optim,
            learning_rates=(
                ("backbone", 2e-5),
                ("clf", 5e-5),
                ("filter_init", 5e-5),
                ("predictor", 5e-4),
                ("iou", 2e-4),
            ),
            decay_every_steps=15 * STEPS_PER_EPOCH,
        ),
    )
    return dataclasses.replace(
        dimp18,
        model=ModelConfig(backbone="resnet50", clf_blocks=0, clf_channels=512),
        training=training,
    )
