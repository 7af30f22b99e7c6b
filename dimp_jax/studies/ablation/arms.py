"""The arms of the ablations: which configs, which question each answers, what was published.

Published: success AUC in percent, OTB-100, NFS and UAV123 pooled, ResNet-18. Bhat et al. (ICCV
2019), tables 1 to 3; the objectives from the baseline study of Danelljan et al. (CVPR 2020).
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.media.images import InputError
from dimp_jax.studies.trainings import settings
from dimp_jax.studies.trainings.settings import Arm

BASE = "steepest_descent"  # the reference of every question is called by its solver, DiMP's
CONFIG_OF_ARMS = "dimp_lite0"  # what the files in configs/ablations change
COMPARED = ("model.", "tracker.", "training.loss.")  # of further configs


QUESTIONS = {
    "model prediction": "How the filter is predicted (paper, table 1).",
    "learned loss": "Which part of the loss is learned; `no_` leaves it at its initial value. "
    "Published is the paper's table of incremental parts, without and with the learned loss.",
    "objective": "What the filter minimises. `kl` is also trained on a divergence, so its losses "
    "cannot be compared with the others'. Published are baselines of the PrDiMP paper, whose `kl` "
    "has another box network as well.",
    "iterations": "How often the filter is improved: 5 times in training, 10 times at the first "
    "frame and twice at an update in the base.",
    "online update": "How the filter learns during tracking (paper, table 3); one training.",
    "other": "Further configs.",
}
PUBLISHED_BASE_PERCENT = 63.8
ARMS = (
    Arm("initializer_only", "model prediction", 58.2),
    Arm("gradient_descent", "model prediction", 61.6),
    Arm("gradient_descent_fixed", "model prediction", wave=2),
    Arm("no_learned_loss", "learned loss", 63.3),
    Arm("no_label", "learned loss", wave=2),
    Arm("no_mask", "learned loss", wave=2),
    Arm("no_weight", "learned loss", wave=2),
    Arm("no_regularizer", "learned loss", wave=2),
    Arm("no_step_length", "learned loss", wave=2),
    Arm("l2", "objective", 63.1, wave=2),
    Arm("plain_l2", "objective", wave=2),
    Arm("mask_off", "objective", wave=2),
    Arm("kl", "objective", 65.5, wave=2),
    Arm("iterations_1", "iterations", wave=2),
    Arm("iterations_10", "iterations", wave=2),
    Arm("tracking_1", "iterations", weights_of=BASE, wave=2),
    Arm("tracking_20", "iterations", weights_of=BASE, wave=2),
    Arm("iterations_1_tracking_1", "iterations", weights_of="iterations_1", wave=2),
    Arm("iterations_1_tracking_20", "iterations", weights_of="iterations_1", wave=2),
    Arm("iterations_10_tracking_1", "iterations", weights_of="iterations_10", wave=2),
    Arm("iterations_10_tracking_20", "iterations", weights_of="iterations_10", wave=2),
    Arm("update_none", "online update", 61.7, weights_of=BASE),
    Arm("update_moving_average", "online update", 61.7, weights_of=BASE),
)
QUICK = ("initializer_only", "no_learned_loss", "update_none")


def select(names, base: str = BASE) -> tuple[Arm, ...]:
    """The arms of these names, the base first; none: all that are listed here.

    Args:
      base: the solver of the config that the arms change. An arm of that name is the base itself.

    Raises:
      InputError: a name that is no arm and no config, one twice, or one that tracks with the
        weights of an arm that is not among them.
    """
    listed = {arm.name: arm for arm in ARMS}
    chosen = [Arm(base, "")]
    for name in names or listed:
        if name == base:
            continue
        if name not in listed:
            try:
                configs.load(name)
            except FileNotFoundError as error:
                raise InputError(
                    f"--arms {name}: expected some of {', '.join([base, *listed])}, or a config"
                ) from error
        arm = listed.get(name, Arm(name, "other", wave=2))
        chosen.append(dataclasses.replace(arm, weights_of=base) if arm.weights_of == BASE else arm)
    names = [settings.file_name(arm.name) for arm in chosen]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--arms: {twice[0]} is given twice")
    for arm in chosen:
        if arm.weights_of and arm.weights_of not in {other.name for other in chosen}:
            raise InputError(
                f"--arms {arm.name}: it tracks with the weights of {arm.weights_of}; name that, too"
            )
    return tuple(chosen)


def config_of(arm: Arm, base: Config) -> Config:
    """`base`, changed as the arm's config changes dimp_lite0.

    Where an arm has another solver or objective, what the base's learned or was given goes with it.
    Of a further config, which may be one to train with by itself, only `COMPARED` is taken, and the
    rates of parameters that it alone has.

    Raises:
      InputError: a further config in which nothing of that differs from dimp_lite0.
    """
    if not arm.question:
        return base
    name = arm.name if arm.question == "other" else f"ablations/{arm.name}"
    further = configs.load(name)
    before, after = (configs.to_dict(each) for each in (configs.load(CONFIG_OF_ARMS), further))
    changes = {path: new for path, _, new in configs.differences(before, after)}
    if arm.question == "other":
        changes = {path: new for path, new in changes.items() if path.startswith(COMPARED)}
        if not changes:
            raise InputError(
                f"--arms {name}: its model, tracker and training.loss are those of "
                f"{CONFIG_OF_ARMS}, and all else is the base's in every arm: nothing to compare"
            )
    for part in ("solver", "objective"):
        path, own = f"model.predictor.{part}", getattr(base.model.predictor, part)
        if changes.get(path, own) != own:
            changes = {f"{path}_parameters": (), f"{path}_options": (), **changes}
    config = configs.changed(base, changes)
    there = settings.own_parameters(config)
    of_own = {f"predictor/{name}" for name in there}
    gone = {f"predictor/{name}" for name in settings.own_parameters(base)} - of_own
    rates = dict(config.training.optim.learning_rates)
    rates |= {name: r for name, r in further.training.optim.learning_rates if name in of_own}
    modes = [entry for entry in config.model.predictor.learned_own if entry[0] in there]
    changes = {
        "model.predictor.learned_own": tuple(modes),
        "training.optim.learning_rates": tuple(r for r in rates.items() if r[0] not in gone),
    }
    return configs.changed(config, changes)


def published(arm: Arm) -> float | None:
    """The paper's AUC less the base's, 0..1."""
    percent = arm.published_percent
    return None if percent is None else (percent - PUBLISHED_BASE_PERCENT) / 100
