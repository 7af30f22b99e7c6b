"""DiMP-50 as in Bhat et al. (ICCV 2019): ResNet-50, the general online parameters.

python evaluate.py configs/dimp50.py --checkpoint CONVERTED
"""

from dimp_jax.config import Config, ModelConfig, TrackerConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="resnet50", clf_blocks=0, clf_channels=512),
        tracker=TrackerConfig(),
    )
