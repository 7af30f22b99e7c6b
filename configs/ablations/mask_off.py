"""The learned loss without its mask: least squares everywhere, no hinge."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"model.predictor.objective": "dimp_jax.studies.ablation.objectives:without_mask"}
    return config.changed(config.load("dimp_lite0"), changes)
