"""Twice the iterations in tracking, at the first frame and at every update."""

from dimp_jax import config


def get_config() -> config.Config:
    memory = {"init_iterations": 20, "update_iterations": 4, "hard_negative_iterations": 2}
    changes = {f"tracker.memory.{name}": value for name, value in memory.items()}
    return config.changed(config.load("dimp_lite0"), changes)
