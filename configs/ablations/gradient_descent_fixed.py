"""Gradient descent whose step length stays where gradient_descent.py begins: not learned."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"model.predictor.learned.log_step_length": "initial"}
    return config.changed(config.load("ablations/gradient_descent"), changes)
