"""Least squares on a Gaussian label with a hinge, instead of the learned loss."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("dimp_lite0"), {"model.predictor.objective": "l2"})
