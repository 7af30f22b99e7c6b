"""Ten iterations in training instead of five, and twice as many in tracking."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("ablations/tracking_20"), {"model.predictor.num_iter": 10})
