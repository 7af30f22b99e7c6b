"""The factor on the step length stays at its initial value: not learned."""

from dataclasses import replace

from dimp_jax import config
from dimp_jax.config.predictor import LearnedParts


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, learned=LearnedParts(log_step_length="initial"))
    return replace(base, model=replace(base.model, predictor=predictor))
