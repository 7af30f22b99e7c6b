"""PrDiMP's Kullback-Leibler objective with Newton steps, trained on DiMP's loss."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, objective="kl", solver="newton")
    return replace(base, model=replace(base.model, predictor=predictor))
