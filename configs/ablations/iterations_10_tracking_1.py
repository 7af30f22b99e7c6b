"""Ten iterations in training instead of five, and one in tracking."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("ablations/tracking_1"), {"model.predictor.num_iter": 10})
