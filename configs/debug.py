"""A tiny network on procedural sequences: the whole of training in under a minute on a laptop.

python train.py configs/debug.py --workdir runs/debug
"""

from dimp_jax.config import Config, ModelConfig, TrackerConfig
from dimp_jax.config.training import (
    CropConfig,
    DataConfig,
    OptimConfig,
    SamplerConfig,
    TrainingConfig,
)


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="resnet18", clf_channels=32, iou_channels=32),
        tracker=TrackerConfig(crop_size_px=96),
        training=TrainingConfig(
            total_steps=60,
            global_batch=4,
            start="random",
            log_every=5,
            save_every=30,
            validate_every=30,
            validation_batches=2,
            data=DataConfig(
                sources=(("synthetic", 1.0),),
                validation_sources=(("synthetic", 1.0),),
                sampler=SamplerConfig(train_frames=2, test_frames=2),
                crop=CropConfig(size_px=96),
            ),
            optim=OptimConfig(
                learning_rates=(("default", 3e-4),), decay_every_steps=1000, clip_norm=20.0
            ),
        ),
    )
