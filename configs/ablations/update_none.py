"""The filter of the first frame is kept: no online update."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("dimp_lite0"), {"tracker.memory.update": "none"})
