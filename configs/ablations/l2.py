"""Least squares on a Gaussian label with a hinge, instead of the learned loss."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, objective="l2")
    return replace(base, model=replace(base.model, predictor=predictor))
