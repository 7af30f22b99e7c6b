"""DiMP-18 as in Bhat et al. (ICCV 2019): ResNet-18, the general online parameters.

python evaluate.py configs/dimp18.py --checkpoint CONVERTED
"""

from dimp_jax.config import Config, ModelConfig, TrackerConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="resnet18", clf_blocks=1, clf_channels=256),
        tracker=TrackerConfig(),
    )
