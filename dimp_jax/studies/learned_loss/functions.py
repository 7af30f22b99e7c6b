"""The learned losses of checkpoints: as functions of the distance, as maps, as numbers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.checkpoints import run, store
from dimp_jax.config import Config, ModelConfig, from_dict
from dimp_jax.config.predictor import PredictorConfig
from dimp_jax.media.images import InputError
from dimp_jax.models.dimp import STRIDE_PX
from dimp_jax.predictor import parts, predict, target_maps
from dimp_jax.predictor.objectives import regularization
from dimp_jax.predictor.solve import at_iteration
from dimp_jax.tracking import weights
from dimp_jax.training.figures import TITLES, LossFunctions, loss_functions


class Loss(NamedTuple):
    """The loss of one checkpoint, as the predictor uses it."""

    name: str
    config: PredictorConfig
    params: dict  # of numpy arrays
    step: int | None = None  # of a training

    @property
    def title(self) -> str:
        return self.name if self.step is None else f"{self.name}, step {self.step}"

    @property
    def initial(self) -> dict:
        """The parameters that a training from random numbers begins with."""
        return {name: np.asarray(v) for name, v in predict.initial_values(self.config).items()}

    @property
    def functions(self) -> LossFunctions | None:
        return loss_functions(self.params, self.config)


class LossMaps(NamedTuple):
    """The loss of each cell of a score map with the target in its middle; [S, S]."""

    label: np.ndarray
    above: np.ndarray  # v^2: weight of the squared error of scores above 0
    below: np.ndarray  # (m v)^2: of the square of scores below 0


def of_tracker(config: Config) -> Loss:
    """The loss of the weights that a config names.

    Raises:
      InputError: they have no trained predictor.
      FileNotFoundError, CheckpointError (a ValueError): as `weights.read`.
    """
    predictor = config.model.predictor
    for field, ours in parts.FIELDS.items():  # asked for: then checkpoints may name them, too
        parts.find(field, getattr(predictor, field), ours)
    variables, name = weights.read(config)
    return _loss(name, predictor, variables)


def read(where: str) -> list[Loss]:
    """The losses of a checkpoint: of every step on disk, in order, of a training's WORKDIR.

    Raises:
      InputError: it has no trained predictor.
      CheckpointError (a ValueError): it is no checkpoint, or damaged.
      ValueError: it names code that nobody has imported.
    """
    if not run.is_run(where):
        variables, card = store.load(where)
        config = _predictor(card, where)
        path = Path(where)
        if run.step_folder(where) is None:
            return [_loss(where, config, variables)]
        return [_loss(str(path.parent.parent), config, variables, int(path.name))]
    config = _predictor(store.read_card(where), where)
    steps = [p for p in (Path(where) / run.FOLDER).glob("*") if p.name.isdecimal()]
    if not steps:
        raise InputError(f"{where}: this training has not saved a checkpoint yet")
    return [
        _loss(where, config, run.load_variables(folder), int(folder.name))
        for folder in sorted(steps, key=lambda p: int(p.name))
    ]


def _predictor(card, where) -> PredictorConfig:
    config = from_dict(ModelConfig, card["config"]["model"]).predictor
    parts.check_imported(config, where)
    return config


def _loss(name, config, variables, step=None):
    params = variables["params"].get("predictor")
    if params is None:
        raise InputError(
            f"{name}: has no trained predictor, so no learned loss; give a checkpoint of a "
            "training, a converted tracker or shipped weights"
        )
    effective = predict.effective_params(params, config)
    return Loss(name, config, {k: np.asarray(v) for k, v in effective.items()}, step)


def scalars(params, config) -> dict[str, np.ndarray]:
    """Step length, lambda and what else is one number: [1], or [I] if learned per iteration."""
    found = {
        "step_length": np.exp(params["log_step_length"]),
        "lambda": regularization(params, config),
    }
    own = predict.own_parameters(config)
    found |= {name: params[name] for name in own if predict.is_number(config, name)}
    return {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in found.items()}


def own_arrays(config) -> list[str]:
    """Names of the learned arrays beside label, mask and weight."""
    return [n for n in predict.own_parameters(config) if not predict.is_number(config, n)]


def last_iteration(config, params, name: str) -> np.ndarray:
    """A parameter without the axis of those that are learned per iteration: the last one's."""
    return params[name][-1] if predict.mode_of(config, name) == "per_iteration" else params[name]


def maps(params, config, score_cells: int) -> LossMaps | None:
    """The loss around a target in the middle of a square score map; None: it has no maps.

    Parts that are learned per iteration are those of the last one.
    """
    if not set(TITLES) <= set(params):
        return None
    last = {n: at_iteration(v, len(v) - 1) if np.ndim(v) == 2 else v for n, v in params.items()}
    center = np.full((1, 2), (score_cells - 1) / 2, np.float32)
    basis = target_maps.distance_basis(
        center, (score_cells, score_cells), config.num_bins, config.bin_width_cells
    )
    made = target_maps.target_maps(
        last, basis, np.ones(1, np.float32), mask_activation=config.mask_activation
    )
    label, mask, weight = (np.asarray(value[0], np.float64) for value in made)
    return LossMaps(label, weight**2, (mask * weight) ** 2)


def function_rows(losses) -> list[dict]:
    """The functions, a row for every distance, iteration and checkpoint."""
    rows = []
    for loss in losses:
        functions, initial = loss.functions, loss_functions(loss.initial, loss.config)
        if functions is None:
            continue
        for iteration in range(max(len(getattr(functions, name)) for name in TITLES)):
            now = {n: getattr(functions, n)[: iteration + 1][-1] for n in TITLES}
            for index, distance in enumerate(functions.distance_cells):
                values = {n: float(now[n][index]) for n in TITLES}
                rows.append(
                    {
                        **_which(loss, iteration),
                        "distance_cells": round(float(distance), 6),
                        "distance_px": round(float(distance) * STRIDE_PX, 6),
                        **values,
                        "weight_above_0": values["weight"] ** 2,
                        "weight_below_0": (values["mask"] * values["weight"]) ** 2,
                        **{f"initial_{n}": float(getattr(initial, n)[0, index]) for n in TITLES},
                    }
                )
    return rows


def scalar_rows(losses) -> list[dict]:
    """Step length, lambda and the like, beside their initial values."""
    rows = []
    for loss in losses:
        initial = scalars(loss.initial, loss.config)
        for name, values in scalars(loss.params, loss.config).items():
            for iteration, value in enumerate(values):
                row = {**_which(loss, iteration), "number": name, "value": float(value)}
                rows.append(row | {"initial": float(initial[name][0])})
    return rows


def deviation_rows(losses) -> list[dict]:
    """How far each function, and each array of one's own, is from its initial one, and where."""
    rows = []
    for loss in losses:
        functions, initial = loss.functions, loss_functions(loss.initial, loss.config)
        for part in TITLES if functions is not None else ():
            for iteration, curve in enumerate(getattr(functions, part)):
                change = deviation(curve - getattr(initial, part)[0], functions.distance_cells)
                rows.append(_which(loss, iteration) | {"part": part} | change)
        for part in own_arrays(loss.config):
            initial_value = loss.initial[part]
            for iteration, value in enumerate(loss.params[part].reshape(-1, *initial_value.shape)):
                change = deviation((value - initial_value).ravel(), distances(loss, part))
                rows.append(_which(loss, iteration) | {"part": part} | change)
    return rows


def distances(loss, part):
    """[num_bins] of an array that is a function of the distance, as the maps are, else None."""
    count = loss.config.num_bins
    is_function = loss.initial[part].shape == (count,)
    return np.arange(count) * loss.config.bin_width_cells if is_function else None


def deviation(change, distance_cells) -> dict:
    """Size and place of a change [D] of a function of the distance [D].

    The distances are None if nothing changed, or there are none.
    """
    largest = int(np.argmax(np.abs(change)))
    cumulated = np.cumsum(change**2)
    placed = distance_cells is not None and bool(cumulated[-1] > 0)
    half = int(np.searchsorted(cumulated, cumulated[-1] / 2))
    at = lambda index: round(float(distance_cells[index]), 6) if placed else None
    return {
        "max": float(np.abs(change[largest])),
        "max at (cells)": at(largest),
        "L2": float(np.sqrt(cumulated[-1])),
        "half of it within (cells)": at(half),
    }


def _which(loss, iteration):
    return {"checkpoint": loss.name, "step": loss.step, "iteration": iteration + 1}
