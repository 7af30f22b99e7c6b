"""The mask stays its initial tanh: not learned."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("dimp_lite0"), {"model.predictor.learned.mask": "initial"})
