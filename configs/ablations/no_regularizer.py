"""The regularisation stays at its initial value: not learned."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"model.predictor.learned.filter_reg": "initial"}
    return config.changed(config.load("dimp_lite0"), changes)
