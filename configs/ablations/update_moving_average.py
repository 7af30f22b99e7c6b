"""In every frame a filter is predicted from that frame alone and mixed into the average."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"tracker.memory.update": "moving_average", "tracker.memory.train_interval": 1}
    return config.changed(config.load("dimp_lite0"), changes)
