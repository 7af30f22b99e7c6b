"""Least squares on a Gaussian label without a hinge: every score counts."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"model.predictor.objective": "l2", "model.predictor.l2_hinge_threshold": -1.0}
    return config.changed(config.load("dimp_lite0"), changes)
