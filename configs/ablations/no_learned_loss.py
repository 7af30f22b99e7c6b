"""Nothing of the loss is learned: all five parts stay at their initial values."""

from dataclasses import fields, replace

from dimp_jax import config
from dimp_jax.config.predictor import LearnedParts


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    learned = LearnedParts(**{part.name: "initial" for part in fields(LearnedParts)})
    predictor = replace(base.model.predictor, learned=learned)
    return replace(base, model=replace(base.model, predictor=predictor))
