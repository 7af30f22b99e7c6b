"""The base of all ablations: dimp_lite0 as it is."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.load("dimp_lite0")
