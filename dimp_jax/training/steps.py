"""One training step and one evaluation step: pure functions of a state and a batch of samples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dimp_jax.config import Config
from dimp_jax.data.source import Sample
from dimp_jax.models.box_density import kl_regression
from dimp_jax.models.dimp import STRIDE_PX, DiMP
from dimp_jax.models.feature_maps import FeatureMaps
from dimp_jax.models.train_forward import Batch, forward
from dimp_jax.predictor.correlation import score_size
from dimp_jax.predictor.objectives import regularization
from dimp_jax.predictor.predict import effective_params, init_params, is_number, own_parameters
from dimp_jax.predictor.target_maps import gaussian_label, label_density
from dimp_jax.training import losses, optim

LOSS_TERMS = ("iou", "final", "initial", "iterates")


@struct.dataclass
class TrainState:
    """All that a training carries from step to step; arrays alone, so a checkpoint is data."""

    step: jax.Array  #: int32, the number of updates so far
    params: dict  #: of the whole network, frozen ones included
    batch_stats: dict  #: running means and variances of the batch norms
    opt_state: object  #: of the trained parameters


def init_state(variables, config: Config) -> TrainState:
    """The state before the first step.

    Args:
      variables: {"params", "batch_stats"}, numpy or jax arrays.

    Raises:
      ValueError: rates or frozen modules that do not fit the parameters (`optim.build`).
    """
    optimizer = optim.build(config.training.optim, variables["params"])
    trained, _ = optim.split(variables["params"], config.training.optim.frozen)
    return TrainState(
        step=jnp.int32(0),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=jax.jit(optimizer.init)(trained),
    )


def make_train_step(config: Config, axis_name: str | None = None):
    """The step ``(state, batch) -> (state, metrics)``.

    Args:
      axis_name: of the mapped axis that the batch is split over (`parallel.AXIS`), or None. The
        results are then the same on every device.

    Returns:
      A function of a `TrainState` and a `Sample` of arrays [B, ...]. Its metrics are scalars,
      named "loss", "loss/<term>" weighted, "grad_norm" before clipping, "grad_norm/<module>", and
      "predictor/step_length" and "predictor/regularization" as this step used them (means over
      iterations), "predictor/<name>" of learned numbers of one's own, "predictor/<name>/change" of
      arrays (root mean square distance from the initial one), and of the adjoint "implicit"
      "predictor/optimality": the mean over the batch of `Solve.optimality`, without which nobody
      should trust that gradient. A state after a step whose loss was not finite is of no use:
      `first_non_finite` says why.

    Raises:
      ValueError: when traced: a batch that does not divide into the micro-batches, crops that are
        no multiple of 16 pixels, or a config that does not fit the parameters.
    """
    training = config.training
    mode = training.parallel.batch_norm
    net = DiMP(
        config.model,
        norm_axis=axis_name if mode == "cross_replica" else None,
        frozen=(*training.optim.frozen, *training.optim.running_norms),
        remat_backbone=training.parallel.remat_backbone,
        pool_first=True,
    )

    def objective(trained, frozen, stats, sample):
        variables = {"params": optim.merge(trained, frozen), "batch_stats": stats}
        terms, stats = _loss_terms(net, variables, sample, config, train=mode != "frozen")
        return sum(terms[0].values()), (terms, stats)

    gradient = jax.grad(objective, has_aux=True)

    def step(state: TrainState, batch: Sample):
        optimizer = optim.build(training.optim, state.params)
        trained, frozen = optim.split(state.params, training.optim.frozen)

        def accumulate(carry, sample):
            stats, total = carry
            grads, (terms, stats) = gradient(trained, frozen, stats, sample)
            return (stats, jax.tree.map(jnp.add, total, grads)), terms

        zeros = jax.tree.map(jnp.zeros_like, trained)
        count = training.optim.accumulate
        if count == 1:
            (stats, grads), terms = accumulate((state.batch_stats, zeros), batch)
        else:
            micro = micro_batches(batch, count)
            (stats, grads), terms = jax.lax.scan(accumulate, (state.batch_stats, zeros), micro)
            grads = jax.tree.map(lambda g: g / count, grads)
            terms = jax.tree.map(lambda t: t.mean(0), terms)
        if axis_name is not None:
            grads, terms = jax.lax.pmean((grads, terms), axis_name)
            if mode == "per_device":
                # Every device saw other statistics; the state is one for all.
                stats = jax.lax.pmean(stats, axis_name)
        updates, opt_state = optimizer.update(grads, state.opt_state, trained)
        trained = jax.tree.map(jnp.add, trained, updates)
        metrics = {
            **_loss_metrics(*terms),
            "grad_norm": optax.tree.norm(grads),
            **{f"grad_norm/{name}": optax.tree.norm(part) for name, part in grads.items()},
            **_predictor_metrics(state.params, config),
        }
        state = TrainState(state.step + 1, optim.merge(trained, frozen), stats, opt_state)
        return state, metrics

    return step


def make_eval_step(config: Config, axis_name: str | None = None):
    """The step ``(state, batch) -> metrics`` with running statistics and without gradients.

    Args, metrics and errors are those of `make_train_step`, less the gradients.
    """
    net = DiMP(config.model, pool_first=True)

    def step(state: TrainState, batch: Sample):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        terms, _ = _loss_terms(net, variables, batch, config, train=False)
        if axis_name is not None:
            terms = jax.lax.pmean(terms, axis_name)
        return {**_loss_metrics(*terms), **_predictor_metrics(state.params, config)}

    return step


def first_non_finite(metrics) -> str | None:
    """The name of the first metric that is not finite, loss terms before what follows from them."""
    names = [f"loss/{term}" for term in LOSS_TERMS] + ["loss"]
    names = [n for n in names if n in metrics] + sorted(set(metrics) - set(names))
    return next((name for name in names if not np.isfinite(metrics[name])), None)


def micro_batches(batch, count: int):
    """[B, ...] to [count, B / count, ...]: micro-batch i holds the samples i, i + count, ...

    So which samples share a micro-batch does not depend on the number of devices.
    """
    size = len(jax.tree.leaves(batch)[0])
    if size % count:
        raise ValueError(
            f"accumulate={count}: the {size} sequences of a device do not divide into so many "
            "micro-batches"
        )
    return jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)


def prepare(net: DiMP, sample: Sample) -> Batch:
    """Applies brightness and normalisation to the crops of a `Sample` [B, ...]; passes features."""

    def inputs(crops, brightness):
        if isinstance(crops, FeatureMaps):
            return crops
        crops = crops.astype(jnp.float32) * brightness[..., None, None, None]
        flat = jnp.clip(crops, 0.0, 255.0).reshape(-1, *crops.shape[2:])
        return net.apply({}, flat, method="normalize").reshape(crops.shape)

    return Batch(
        train_inputs=inputs(sample.train_crops, sample.train_brightness),
        train_box=sample.train_box,
        test_inputs=inputs(sample.test_crops, sample.test_brightness),
        proposals=sample.proposals,
    )


def label_map(sample: Sample, config: Config):
    """The classification label [B, T, S, S] of the test frames, or their label density."""
    if isinstance(sample.test_crops, FeatureMaps):
        crop_px = config.training.data.crop.size_px
    else:
        crop_px = sample.test_crops.shape[2]
    if crop_px % STRIDE_PX:
        raise ValueError(
            f"crop.size_px={crop_px}: expected a multiple of the network's stride, {STRIDE_PX}"
        )
    filter_cells = config.model.filter_size_cells
    side = score_size(crop_px // STRIDE_PX, filter_cells)
    label = lambda box: sequence_label(box, config.training.loss, (side, side), filter_cells)
    return jax.vmap(label)(sample.test_box)


def sequence_label(box_xywh, loss, score_hw, filter_cells: int):
    """`label_map` of one sequence: [T, S, S] of boxes [T, 4]; `loss` is a `LossConfig`."""
    grid = (loss.label_sigma_cells, score_hw, STRIDE_PX, filter_cells)
    if loss.classification == "hinge":
        return gaussian_label(box_xywh, *grid)
    density = label_density(box_xywh, *grid, threshold=loss.label_threshold)
    return losses.normalized_density(density)


def _loss_terms(net, variables, sample, config, *, train):
    """((weighted loss terms, other means over the batch), batch_stats after the pass)."""
    weights = config.training.loss
    label = label_map(sample, config)
    prediction, stats = forward(
        net,
        variables,
        prepare(net, sample),
        train=train,
        remat_solver=config.training.parallel.remat_solver,
    )
    if weights.box_regression == "iou":
        target = 2 * sample.proposal_value - 1
        box_loss = losses.iou_regression(prediction.iou, target)
    else:
        box_loss = kl_regression(prediction.iou, sample.proposal_value, sample.proposal_target)
    others = {}
    if prediction.optimality is not None:
        others["predictor/optimality"] = prediction.optimality.mean()
    return (losses.loss_terms(prediction.scores, label, box_loss, weights), others), stats


def _loss_metrics(terms, others):
    return {
        "loss": sum(terms.values()),
        **{f"loss/{name}": value for name, value in terms.items()},
        **others,
    }


def _predictor_metrics(params, config):
    """As the iterations use them; the mean over the iterations that have their own."""
    config = config.model.predictor
    predictor, initial = effective_params(params["predictor"], config), init_params(config)
    metrics = {
        "predictor/step_length": jnp.mean(jnp.exp(predictor["log_step_length"])),
        "predictor/regularization": jnp.mean(regularization(predictor, config)),
    }
    for name in own_parameters(config):
        if is_number(config, name):
            metrics[f"predictor/{name}"] = jnp.mean(predictor[name])
        else:
            change = jnp.sqrt(jnp.mean((predictor[name] - initial[name]) ** 2))
            metrics[f"predictor/{name}/change"] = change
    return metrics
