"""The smallest training that has all parts: a frozen random backbone, 64 px crops, no files."""

from dimp_jax.config import Config, LocalizeConfig, MemoryConfig, ModelConfig, TrackerConfig
from dimp_jax.config.training import (
    CropConfig,
    DataConfig,
    OptimConfig,
    ParallelConfig,
    ProposalConfig,
    SamplerConfig,
    SyntheticConfig,
    TrainingConfig,
)


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="resnet18", clf_channels=16, iou_channels=16),
        tracker=TrackerConfig(
            crop_size_px=64,
            memory=MemoryConfig(size=16, init_iterations=2),
            localize=LocalizeConfig(not_found_threshold=-1.0),
        ),
        training=TrainingConfig(
            total_steps=20,
            global_batch=4,
            start="random",
            log_every=1,
            save_every=5,
            validate_every=10,
            validation_batches=1,
            data=DataConfig(
                sources=(("synthetic", 1.0),),
                validation_sources=(("synthetic", 1.0),),
                sampler=SamplerConfig(train_frames=1, test_frames=1),
                crop=CropConfig(size_px=64),
                proposals=ProposalConfig(count=4),
                synthetic=SyntheticConfig(num_sequences=8, length=24, size_hw_px=(64, 80)),
            ),
            optim=OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",)),
            parallel=ParallelConfig(batch_norm="frozen"),
        ),
    )
