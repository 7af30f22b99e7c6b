"""One iteration in tracking, at the first frame and at every update."""

from dimp_jax import config


def get_config() -> config.Config:
    changes = {"tracker.memory.init_iterations": 1, "tracker.memory.update_iterations": 1}
    return config.changed(config.load("dimp_lite0"), changes)
