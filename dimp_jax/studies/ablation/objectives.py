"""Objectives that only an ablation has; a config names them as "module:function"."""

import dataclasses

import jax.numpy as jnp

from dimp_jax.predictor import objectives


def without_mask(params, samples, config):
    """`objectives.hinge` with a mask of 1 everywhere: the learned label and weight, no hinge."""
    everywhere = {"mask": jnp.ones_like(params["mask"])}
    config = dataclasses.replace(config, mask_activation="linear")
    return objectives.hinge(params | everywhere, samples, config)
