"""DiMP on EfficientNet-Lite0, sized for a CPU: the default tracker.

python evaluate.py
python train.py configs/dimp_lite0.py --workdir runs/lite0 --data-dir DATA  # docs/models

The training below is the first of three, on a CPU: it keeps the backbone's ImageNet weights, and so
computes the backbone's features once. docs/models/dimp_lite0.md has the others.
"""

from dimp_jax.config import (
    Config,
    LocalizeConfig,
    MemoryConfig,
    ModelConfig,
    RefineConfig,
    TrackerConfig,
)
from dimp_jax.config.training import (
    CompositeConfig,
    CropConfig,
    DataConfig,
    FeaturePoolConfig,
    LossConfig,
    OptimConfig,
    ProposalConfig,
    TrainingConfig,
)

DATA_SETS = ("davis16", "stills")


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="efficientnet_lite0", clf_channels=128, iou_channels=96),
        # One step of a perfect density of these 0.05 is 0.05 ** 2.
        tracker=TrackerConfig(
            crop_size_px=256,  # with this search area a target is 64 px, as in the last training
            search_area_scale=4.0,
            memory=MemoryConfig(train_interval=10),
            localize=LocalizeConfig(motion_prior=0.4, search_growth=(1.0, 1.0, 1.5, 2.0)),
            refine=RefineConfig(
                method="iou_relative",
                step_position=2.5e-3,
                step_size=2.5e-3,
                iterations=3,
                size_rate=0.35,
                modulation_samples=16,
                aspect_prior_std=0.2,
                aspect_prior_dof=3.0,
            ),
        ),
        checkpoint="dimp_lite0",
        training=TrainingConfig(
            total_steps=1900,
            global_batch=16,
            log_every=20,
            save_every=100,
            validate_every=500,
            start="imagenet",
            data=DataConfig(
                sources=(("davis16", 1.0), ("stills", 1.5), ("composite", 2.5)),
                crop=CropConfig(aspect_jitter=0.1),
                proposals=ProposalConfig(kind="gaussian_mixture", count=64),
                part_probability=0.35,
                composite=CompositeConfig(
                    objects_from=DATA_SETS, videos_from=DATA_SETS, part_probability=0.35
                ),
            ),
            feature_pool=FeaturePoolConfig(samples=7488, train_frames=3, test_frames=4),
            loss=LossConfig(box_regression="kl"),
            optim=OptimConfig(
                learning_rates=(
                    ("clf", 5e-4),
                    ("filter_init", 5e-4),
                    ("predictor", 1e-3),
                    ("iou", 1e-3),
                ),
                frozen=("backbone",),
                decay_every_steps=1500,
                warmup_steps=100,
            ),
        ),
    )
