"""Gradient descent, one learned step length instead of Gauss-Newton's.

It starts from 0.16, the geometric mean of the Gauss-Newton lengths with fresh heads (96 frames).
"""

from dimp_jax import config


def get_config() -> config.Config:
    predictor = {"solver": "gradient_descent", "init_step_length": 0.16}
    changes = {f"model.predictor.{name}": value for name, value in predictor.items()}
    return config.changed(config.load("dimp_lite0"), changes)
