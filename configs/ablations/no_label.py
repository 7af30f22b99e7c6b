"""The label stays a Gaussian: not learned."""

from dataclasses import replace

from dimp_jax import config
from dimp_jax.config.predictor import LearnedParts


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, learned=LearnedParts(label="initial"))
    return replace(base, model=replace(base.model, predictor=predictor))
