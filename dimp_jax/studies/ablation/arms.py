"""The arms of the ablations: which configs, which question each answers, what was published.

Published: success AUC in percent, OTB-100, NFS and UAV123 pooled, ResNet-18. Bhat et al. (ICCV
2019), tables 1 to 3; the objectives from the baseline study of Danelljan et al. (CVPR 2020).
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.media.images import InputError

BASE = "steepest_descent"  # the reference of every question
CONFIG_OF_ARMS = "dimp_lite0"  # what the files in configs/ablations change


@dataclasses.dataclass(frozen=True)
class Arm:
    """One row of a table."""

    name: str  # configs/ablations/NAME.py, or any config
    question: str
    published_percent: float | None = None
    tracks_base: bool = False  # the base's weights with another tracker: nothing is trained
    wave: int = 2  # arms of the first wave are trained and scored before those of the next


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
    Arm("initializer_only", "model prediction", 58.2, wave=1),
    Arm("gradient_descent", "model prediction", 61.6, wave=1),
    Arm("gradient_descent_fixed", "model prediction"),
    Arm("no_learned_loss", "learned loss", 63.3, wave=1),
    Arm("no_label", "learned loss"),
    Arm("no_mask", "learned loss"),
    Arm("no_weight", "learned loss"),
    Arm("no_regularizer", "learned loss"),
    Arm("no_step_length", "learned loss"),
    Arm("l2", "objective", 63.1),
    Arm("plain_l2", "objective"),
    Arm("mask_off", "objective"),
    Arm("kl", "objective", 65.5),
    Arm("iterations_1", "iterations"),
    Arm("iterations_10", "iterations"),
    Arm("tracking_1", "iterations", tracks_base=True),
    Arm("tracking_20", "iterations", tracks_base=True),
    Arm("update_none", "online update", 61.7, tracks_base=True, wave=1),
    Arm("update_moving_average", "online update", 61.7, tracks_base=True, wave=1),
)
QUICK = ("initializer_only", "no_learned_loss", "update_none")


def select(names) -> tuple[Arm, ...]:
    """The arms of these names, the base first; none: all that are listed here.

    Raises:
      InputError: a name that is no arm and no config, or one twice.
    """
    listed = {arm.name: arm for arm in ARMS}
    chosen = [Arm(BASE, "", wave=1)]
    for name in names or listed:
        if name == BASE:
            continue
        if name not in listed:
            try:
                configs.load(name)
            except FileNotFoundError as error:
                raise InputError(
                    f"--arms {name}: expected some of {', '.join([BASE, *listed])}, or a config"
                ) from error
        chosen.append(listed.get(name, Arm(name, "other")))
    names = [arm.name for arm in chosen]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--arms: {twice[0]} is given twice")
    return tuple(chosen)


def config_of(arm: Arm, base: Config) -> Config:
    """`base`, changed as the arm's config changes dimp_lite0."""
    name = arm.name if arm.question == "other" else f"ablations/{arm.name}"
    before, after = (configs.to_dict(configs.load(which)) for which in (CONFIG_OF_ARMS, name))
    return configs.changed(base, {path: new for path, _, new in configs.differences(before, after)})
