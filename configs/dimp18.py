"""DiMP-18 as in Bhat et al. (ICCV 2019): ResNet-18, the general online parameters.

python evaluate.py configs/dimp18.py --checkpoint CONVERTED
python train.py configs/dimp18.py --checkpoint IMAGENET --workdir runs/dimp18 --data-dir DATA

The batch of 26 of the published training divides over 1, 2, 13 and 26 devices; for 4 or 8 take
--training.global-batch 24 or 32 (docs/guides/training.md).
"""

from dimp_jax.config import Config, ModelConfig, TrackerConfig
from dimp_jax.config.training import DataConfig, OptimConfig, TrainingConfig

# The published code draws 26,000 samples an epoch, the paper says 20,000.
SAMPLES_PER_EPOCH = 26_000
EPOCHS = 50
GLOBAL_BATCH = 26
STEPS_PER_EPOCH = SAMPLES_PER_EPOCH // GLOBAL_BATCH


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="resnet18", clf_blocks=1, clf_channels=256),
        tracker=TrackerConfig(),
        training=TrainingConfig(
            total_steps=EPOCHS * STEPS_PER_EPOCH,
            global_batch=GLOBAL_BATCH,
            log_every=50,
            save_every=STEPS_PER_EPOCH,
            validate_every=5 * STEPS_PER_EPOCH,
            validation_batches=5000 // GLOBAL_BATCH,
            data=DataConfig(
                sources=(
                    ("lasot", 0.25),
                    ("got10k:vottrain", 1.0),
                    ("trackingnet:train_0_3", 1.0),
                    ("coco_tracking", 1.0),
                ),
                # The published run held out 1,249 of GOT-10k's training sequences instead.
                validation_sources=(("got10k:val", 1.0),),
                num_workers=8,
            ),
            optim=OptimConfig(
                learning_rates=(
                    ("backbone", 2e-4),
                    ("clf", 5e-5),
                    ("filter_init", 5e-5),
                    ("predictor", 5e-4),
                    ("iou", 1e-3),
                ),
                decay_every_steps=15 * STEPS_PER_EPOCH,
                decay_factor=0.2,
            ),
        ),
    )
