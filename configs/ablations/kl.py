"""PrDiMP's Kullback-Leibler objective with damped Newton steps, and the same divergence as loss.

On DiMP's hinge the scores, which are logits here, would be compared with a Gaussian.
"""

from dimp_jax import config


def get_config() -> config.Config:
    predictor = {"objective": "kl", "solver": "newton", "alpha_eps": 0.05}
    loss = {"classification": "kl", "final": 0.25, "initial": 0.25, "iterates": 1.0}
    changes = {f"model.predictor.{name}": value for name, value in predictor.items()}
    changes |= {f"training.loss.{name}": value for name, value in loss.items()}
    return config.changed(config.load("dimp_lite0"), changes)
