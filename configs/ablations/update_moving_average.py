"""In every frame a filter is predicted from that frame alone and mixed into the average."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    memory = replace(base.tracker.memory, update="moving_average", train_interval=1)
    return replace(base, tracker=replace(base.tracker, memory=memory))
