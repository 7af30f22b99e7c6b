"""Nothing of the loss is learned: all five parts stay at their initial values."""

from dimp_jax import config

PARTS = ("label", "mask", "weight", "filter_reg", "log_step_length")


def get_config() -> config.Config:
    changes = {f"model.predictor.learned.{part}": "initial" for part in PARTS}
    return config.changed(config.load("dimp_lite0"), changes)
