"""No optimisation: the filter is what the initialiser predicts."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, solver="initializer_only")
    return replace(base, model=replace(base.model, predictor=predictor))
