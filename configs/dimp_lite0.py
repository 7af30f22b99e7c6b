"""DiMP on EfficientNet-Lite0, sized for a CPU: the default tracker.

python evaluate.py
python train.py configs/dimp_lite0.py --workdir runs/lite0 --data-dir DATA \
  --training.data.sources NAME 1      # built data sets, docs/training.md

Its training keeps the backbone's ImageNet weights: without a GPU most of a step is the backbone.
"""

from dimp_jax.config import Config, ModelConfig
from dimp_jax.training_config import OptimConfig, TrainingConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="efficientnet_lite0", clf_channels=128),
        training=TrainingConfig(
            total_steps=2000,
            global_batch=8,
            save_every=100,
            validate_every=100,
            optim=OptimConfig(
                learning_rates=(
                    ("clf", 5e-4),
                    ("filter_init", 5e-4),
                    ("predictor", 1e-3),
                    ("iou", 1e-3),
                ),
                frozen=("backbone",),
                decay_every_steps=1500,
            ),
        ),
    )
