"""PrDiMP's Kullback-Leibler objective with Newton steps, and the same divergence as the loss."""

from dataclasses import replace

from dimp_jax import config


def get_config() -> config.Config:
    base = config.load("dimp_lite0")
    predictor = replace(base.model.predictor, objective="kl", solver="newton")
    # On DiMP's hinge the scores, which are logits here, would be compared with a Gaussian.
    loss = replace(base.training.loss, classification="kl", final=0.25, initial=0.25, iterates=1.0)
    model = replace(base.model, predictor=predictor)
    return replace(base, model=model, training=replace(base.training, loss=loss))
