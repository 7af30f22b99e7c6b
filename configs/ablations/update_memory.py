"""The online update of dimp_lite0: iterations on the stored samples."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    memory = replace(base.tracker.memory, update="memory")
    return replace(base, tracker=replace(base.tracker, memory=memory))
