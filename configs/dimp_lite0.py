"""DiMP on EfficientNet-Lite0, sized for a CPU: the default tracker.

python evaluate.py
"""

from dimp_jax.config import Config, ModelConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(backbone="efficientnet_lite0", clf_channels=128),
    )
