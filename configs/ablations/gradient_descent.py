"""Gradient descent, one learned step length instead of Gauss-Newton's.

It starts from 0.16, the geometric mean of the Gauss-Newton lengths with fresh heads (96 frames).
"""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, solver="gradient_descent", init_step_length=0.16)
    return replace(base, model=replace(base.model, predictor=predictor))
