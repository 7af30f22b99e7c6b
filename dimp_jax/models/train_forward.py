"""One training forward pass: sequences of train and test crops in, scores and overlaps out."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dimp_jax.models.dimp import STRIDE_PX, DiMP
from dimp_jax.models.feature_maps import FeatureMaps
from dimp_jax.models.mixed_precision import full_precision
from dimp_jax.predictor.correlation import correlate
from dimp_jax.predictor.predict import optimize_filter


class Batch(NamedTuple):
    """B sequences of N train and T test crops; boxes are x, y, w, h in crop pixels."""

    train_inputs: jax.Array | FeatureMaps  #: [B, N, H, W, 3] normalised, or their features
    train_box: jax.Array  #: [B, N, 4]
    test_inputs: jax.Array | FeatureMaps  #: [B, T, H, W, 3] normalised, or their features
    proposals: jax.Array  #: [B, T, P, 4]


class Prediction(NamedTuple):
    """What the losses compare with the labels."""

    scores: jax.Array  #: [I + 1, B, T, S, S] of every iterate of the filter, the initial first
    iou: jax.Array  #: [B, T, P] predicted 2 IoU - 1
    optimality: jax.Array | None = None  #: [B] `Solve.optimality`; of the adjoint "implicit" only


def _flat(x):
    return x.reshape(-1, *x.shape[2:])


def _maps(net: DiMP, inputs, train: bool):
    """Backbone maps of [B, F, ...] inputs, flat over B and F."""
    if isinstance(inputs, FeatureMaps):
        inputs = {name: full_precision(_flat(x)) for name, x in inputs.items()}
    else:
        inputs = _flat(inputs)
    return net.features(inputs, train)


def _forward(net: DiMP, batch: Batch, train: bool, remat_solver: bool) -> Prediction:
    b, n = batch.train_box.shape[:2]
    t = batch.proposals.shape[1]
    # Two passes, as in the published training: batch statistics are those of either kind of crop,
    # and running statistics move twice a step.
    train_maps = _maps(net, batch.train_inputs, train)
    test_maps = _maps(net, batch.test_inputs, train)
    of_each = lambda x, count: x.reshape(b, count, *x.shape[1:])  # the inverse of `_flat`
    train_feat = of_each(net.clf_features(train_maps["layer3"], train), n)
    test_feat = of_each(net.clf_features(test_maps["layer3"], train), t)

    filt = jax.vmap(net.initial_filter)(train_feat, batch.train_box)
    config = _predictor(net.config.predictor, remat_solver)
    loss_params = net.loss_parameters()
    weight = jnp.full(n, 1 / n, jnp.float32)
    solve = lambda f, feat, box: optimize_filter(
        loss_params, f, feat, box, weight, config, num_iter=config.num_iter, stride_px=STRIDE_PX
    )
    solved = jax.vmap(solve)(filt, train_feat, batch.train_box)
    iterates = solved.iterates  # [B, I + 1, K, K, C]
    scores = jax.vmap(jax.vmap(correlate, (0, None)))(iterates, test_feat)  # [B, I + 1, T, S, S]

    # The target modulates through the first train crop of each sequence only.
    first = lambda x: of_each(x, n)[:, 0]
    modulation = net.modulation(
        first(train_maps["layer2"]), first(train_maps["layer3"]), batch.train_box[:, 0], train
    )
    features = net.iou_features(test_maps["layer2"], test_maps["layer3"], train)
    modulation = jax.tree.map(lambda m: jnp.repeat(m, t, axis=0), modulation)
    iou = net.predict_iou(modulation, features, _flat(batch.proposals), train)
    optimality = solved.optimality if config.adjoint == "implicit" else None
    return Prediction(scores.swapaxes(0, 1), iou.reshape(b, t, -1), optimality)


def _predictor(config, remat_solver: bool):
    if not remat_solver:
        return config
    if config.adjoint not in ("unrolled", "checkpointed"):
        raise ValueError(
            f"parallel.remat_solver with predictor.adjoint={config.adjoint!r}: expected 'unrolled'"
        )
    return dataclasses.replace(config, adjoint="checkpointed", adjoint_options=())


def forward(net: DiMP, variables, batch: Batch, *, train: bool, remat_solver: bool = False):
    """Applies the network to a training batch.

    Args:
      variables: {"params", "batch_stats"}.
      train: batch statistics (and their running means) instead of running ones, in every layer
        that `net.frozen` does not name.
      remat_solver: "checkpointed" for the adjoint "unrolled".

    Returns:
      (`Prediction`, batch_stats after the pass).
    """
    apply = nn.apply(_forward, net, mutable=["batch_stats"] if train else False)
    if not train:
        return apply(variables, batch, train, remat_solver), variables["batch_stats"]
    prediction, updated = apply(variables, batch, train, remat_solver)
    return prediction, updated["batch_stats"]
