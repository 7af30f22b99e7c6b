"""Gradient descent whose step length stays 0.16, see gradient_descent.py: not learned."""

from dimp_jax import config


def get_config() -> config.Config:
    predictor = {
        "solver": "gradient_descent",
        "init_step_length": 0.16,
        "learned.log_step_length": "initial",
    }
    changes = {f"model.predictor.{name}": value for name, value in predictor.items()}
    return config.changed(config.load("dimp_lite0"), changes)
