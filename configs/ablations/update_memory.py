"""The online update of dimp_lite0: iterations on the stored samples."""

from dimp_jax import config


def get_config() -> config.Config:
    return config.load("dimp_lite0")
