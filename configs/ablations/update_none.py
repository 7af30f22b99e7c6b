"""The filter of the first frame is kept: no online update."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    memory = replace(base.tracker.memory, update="none")
    return replace(base, tracker=replace(base.tracker, memory=memory))
