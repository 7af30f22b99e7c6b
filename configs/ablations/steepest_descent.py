"""The base of all ablations: dimp_lite0 as it is."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, solver="steepest_descent")
    return replace(base, model=replace(base.model, predictor=predictor))
