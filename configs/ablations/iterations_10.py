"""Ten iterations in training instead of five."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("dimp_lite0"), {"model.predictor.num_iter": 10})
