"""The factor on the step length stays at its initial value: not learned."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"model.predictor.learned.log_step_length": "initial"}
    return config.changed(config.load("dimp_lite0"), changes)
