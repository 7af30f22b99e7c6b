"""The networks that are measured, their weights, and the configurations of their training."""

import jax
import numpy as np

from benchmarks.frame_parts import never_lost
from benchmarks.training import training
from dimp_jax import config as configs
from dimp_jax.models import dimp, efficientnet
from dimp_jax.predictor import predict
from dimp_jax.tracking import weights
from dimp_jax.tracking.tracker import Tracker, make_network

# As it was trained on a GPU: its backbone from stride 8 on, with running batch statistics.
LITE0_FROZEN = tuple(f"backbone/{part}" for part in efficientnet.PARTS[:4])
LITE0_CROP_PX = 256


def variables(config: configs.Config) -> dict:
    """The shipped weights, or random ones; nothing is compiled for them."""
    if config.checkpoint is not None:
        return weights.load(config)[0]
    shapes = jax.eval_shape(lambda: dimp.init_variables(config.model, jax.random.key(0)))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        if path[-1].key != "kernel":
            return np.zeros(leaf.shape, np.float32)
        deviation = np.float32(np.sqrt(2 * leaf.shape[-1] / leaf.size))
        return deviation * rng.standard_normal(leaf.shape, np.float32)

    drawn = jax.tree_util.tree_map_with_path(draw, shapes)
    predictor = jax.tree.map(np.asarray, predict.init_params(config.model.predictor))
    return {**drawn, "params": {**drawn["params"], "predictor": predictor}}


def tracker(name: str) -> Tracker:
    """A tracker that does all the work in every frame, whatever it sees."""
    config = never_lost(configs.load(name))
    return Tracker(config, make_network(config, variables(config)))


def training_config(name: str, compute_dtype: str) -> configs.Config:
    """The training of a shipped config, but for its rates and the type of the network."""
    changes = {"model.compute_dtype": compute_dtype}
    if name != "dimp_lite0":
        return configs.changed(training(name), changes)
    frozen = training(name, frozen=LITE0_FROZEN, running_norms=("backbone",))
    return configs.changed(frozen, changes | {"training.data.crop.size_px": LITE0_CROP_PX})
