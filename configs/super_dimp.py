"""SuperDiMP: the classifier of DiMP-50 and the box regression of PrDiMP, for larger crops.

python evaluate.py configs/super_dimp.py --checkpoint CONVERTED
python train.py configs/super_dimp.py --checkpoint IMAGENET --workdir runs/super --data-dir DATA

The batch of 20 of the published training divides over 1, 2, 4, 5, 10 and 20 devices.
"""

import dataclasses

from dimp_jax import config
from dimp_jax.config.training import CropConfig, LossConfig, OptimConfig

SAMPLES_PER_EPOCH = 40_000
EPOCHS = 50
GLOBAL_BATCH = 20
STEPS_PER_EPOCH = SAMPLES_PER_EPOCH // GLOBAL_BATCH
CROP_PX, AREA = 352, 6.0
LABEL_SIGMA_CELLS = 0.25 / AREA * (CROP_PX // 16)
# Of the backbone only the third stage is trained.
FROZEN = (
    "backbone/conv1",
    *(f"backbone/layer1_{block}" for block in range(3)),
    *(f"backbone/layer2_{block}" for block in range(4)),
)


def get_config() -> config.Config:
    dimp50, prdimp50 = config.load("dimp50"), config.load("prdimp50")
    predictor = dataclasses.replace(
        dimp50.model.predictor, init_label_sigma_cells=LABEL_SIGMA_CELLS
    )
    crop = CropConfig(
        size_px=CROP_PX,
        search_area_scale=AREA,
        arithmetic="2020",
        border_mode="inside_major",
        max_scale_change=1.5,
        test_center_jitter=5.5,
        flip_probability=0.5,
    )
    data = dataclasses.replace(
        prdimp50.training.data,
        sources=tuple((name, 1.0) for name, _ in prdimp50.training.data.sources),
        crop=crop,
    )
    training = dataclasses.replace(
        dimp50.training,
        total_steps=EPOCHS * STEPS_PER_EPOCH,
        global_batch=GLOBAL_BATCH,
        save_every=STEPS_PER_EPOCH,
        validate_every=5 * STEPS_PER_EPOCH,
        validation_batches=10_000 // GLOBAL_BATCH,
        data=data,
        loss=LossConfig(box_regression="kl", iou=0.01, label_sigma_cells=LABEL_SIGMA_CELLS),
        optim=OptimConfig(
            learning_rates=(
                ("backbone", 2e-5),
                ("clf", 5e-5),
                ("filter_init", 5e-5),
                ("predictor", 5e-4),
                ("iou", 1e-3),
            ),
            frozen=FROZEN,
            decay_every_steps=15 * STEPS_PER_EPOCH,
            decay_factor=0.2,
        ),
    )
    return dataclasses.replace(
        dimp50,
        model=dataclasses.replace(dimp50.model, predictor=predictor),
        tracker=dataclasses.replace(prdimp50.tracker, localize=dimp50.tracker.localize),
        training=training,
    )
