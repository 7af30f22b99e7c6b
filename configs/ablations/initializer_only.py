"""No optimisation: the filter is what the initialiser predicts."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.changed(config.load("dimp_lite0"), {"model.predictor.solver": "initializer_only"})
