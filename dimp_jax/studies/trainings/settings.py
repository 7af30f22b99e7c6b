"""The configs of a study: what its options make of the base; and its arms."""

import dataclasses
import json

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.config.training import CropConfig, SamplerConfig
from dimp_jax.data import sources
from dimp_jax.media.images import InputError
from dimp_jax.studies import study as studies

SMALL = {  # procedural data and small heads behind the same backbone
    "model.clf_blocks": 0,
    "model.clf_channels": 16,
    "model.predictor.num_iter": 2,
    "tracker.crop_size_px": 96,
    "tracker.memory.size": 20,
    "tracker.memory.init_iterations": 5,
    "training.data.sources": (("synthetic", 1.0),),
    "training.data.validation_sources": (),
    "training.data.sampler": SamplerConfig(train_frames=2, test_frames=2),
    "training.data.crop": CropConfig(size_px=96),
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is trained, or tracked with, to be compared with the first one, the base."""

    name: str  # of its config in configs/ablations, of any config, or of what a study changes
    question: str  # of the study that it answers
    published_percent: float | None = None
    weights_of: str | None = None  # the arm whose weights it tracks with: nothing is trained
    wave: int = 1  # arms of the first wave are trained and scored before those of the next


def file_name(arm: str) -> str:
    """Of an arm, which may be the path of a config, in the names of members and units."""
    return arm.replace("/", "_")


def seeds_of(args) -> range:
    """Of the study."""
    return range(args.seed, args.seed + args.seeds)


def scored_steps(args) -> list[int]:
    """The steps after which the arms are scored, the last one included."""
    return sorted({*args.score_at, args.steps})


def scored_arms(args, arms, step: int) -> list:
    """Those that are tracked with after `step` steps: with another's weights only at the end."""
    return [arm for arm in arms if step == args.steps or not arm.weights_of]


def base_config(args) -> Config:
    """The config that all arms change.

    Raises:
      InputError: it needs data sets, and no folder of them is given.
      FileNotFoundError, ValueError: no such config.
    """
    config = studies.config_of(args)
    if args.quick:
        small = dict(SMALL)
        if any(isinstance(initial, str) for initial in own_parameters(config).values()):
            del small["model.clf_channels"]  # arrays of one's own may be made for so many
        config = configs.changed(config, small)
    training = config.training
    share = args.steps / training.total_steps
    changes = {
        "seed": args.seed,
        "training.total_steps": args.steps,
        "training.global_batch": args.global_batch,
        "training.optim.decay_every_steps": max(round(training.optim.decay_every_steps * share), 1),
        "training.optim.warmup_steps": round(training.optim.warmup_steps * share),
    }
    for field in ("data_dir", "composite.cutouts_dir", "composite.backgrounds_dir"):
        given = getattr(args, field.rpartition(".")[2])
        if given is not None:
            changes[f"training.data.{field}"] = str(given.resolve())
    config = configs.changed(config, changes)
    data = config.training.data
    names = [name for name, _ in (*data.sources, *data.validation_sources)]
    if sources.data_dir(data) is None and set(names) - {"synthetic"}:
        raise InputError(
            f"{args.config} is trained on {', '.join(names)}: give the folder of the built data "
            f"sets as --data-dir, or set {sources.DATA_DIR_VARIABLE}"
        )
    return config


def own_parameters(config: Config) -> dict:
    """`predict.own_parameters`, without jax."""
    predictor = config.model.predictor
    return dict((*predictor.solver_parameters, *predictor.objective_parameters))


def check_arms(arms, arm_configs) -> None:
    """Raises InputError for arms that cannot share features and box network with the base."""
    base = arm_configs[arms[0].name]
    numerics = ("compute_dtype", "matmul_precision")
    shared = ("backbone", "iou_channels", "filter_size_cells", *numerics)
    values = lambda config: {name: getattr(config.model, name) for name in shared}
    for arm in arms:
        config = arm_configs[arm.name]
        wrong = [name for name, *_ in configs.differences(values(base), values(config))]
        if config.training.data != base.training.data:
            wrong.append("training.data")
        if wrong:
            raise InputError(
                f"--arms {arm.name}: another {' and '.join(wrong)} than the base; arms share the "
                "backbone, the box network and the batches"
            )
        if not arm.weights_of and config.model.clf_channels != base.model.clf_channels:
            raise InputError(f"--arms {arm.name}: another clf_channels than the base")


def made_from(args, base: Config, sequences) -> dict:
    """All that the figures of every arm depend on; `check_same` has the arms."""
    return {
        "base": _values(base),
        "seeds": args.seeds,
        "samples": args.pool_samples,
        "held_out": args.held_out,
        "sequences": {s.name: s.frames.count for s in sequences},
    }


def check_trainings(study, args, base: Config, sequences) -> None:
    """Records `made_from` in a folder that is not of the trainings alone.

    Raises:
      InputError: they were made from something else.
    """
    key, values = "trainings", json.loads(json.dumps(made_from(args, base, sequences)))
    found = study.unit(key)
    if found is None:
        study.record(key, values)
    elif (found := studies.up_to_date(found, values)) != values:
        wrong = " and ".join(sorted(k for k in values | found if found.get(k) != values.get(k)))
        raise InputError(
            f"{study.folder} holds trainings with another {wrong}: choose another --out"
        )


def check_same(study, arm_configs) -> None:
    """Records the arms' configs in the study's folder.

    Arms may be added as long as those of their wave are not in training; see `check_members`.

    Raises:
      InputError: an arm was another one when it was trained.
    """
    for name, config in arm_configs.items():
        key, values = f"config {name}", json.loads(json.dumps(_values(config)))
        found = study.unit(key)
        if found is None:
            study.record(key, values)
            continue
        found = studies.with_new_fields(Config, found, values)
        if found != values:
            wrong = ", ".join(path for path, *_ in configs.differences(found, values))
            raise InputError(
                f"{study.folder}: {name} had another {wrong}: choose another --out, or leave out "
                "that arm"
            )


def check_members(study, wave: int, members) -> None:
    """Records whose trainings the checkpoints of a wave hold, in their order.

    Raises:
      InputError: they hold others.
    """
    key, names = f"members {wave}", [member.name for member in members]
    found = study.unit(key)
    if found is None:
        study.record(key, names)
    elif found != names:
        arms = dict.fromkeys(name.rpartition("-")[0] for name in found)
        raise InputError(
            f"{study.folder} trains {', '.join(arms)} together (wave {wave}): give --arms all of "
            "these and no others of their wave, or choose another --out"
        )


def _values(config: Config) -> dict:
    """Without where files are, and what does not matter here."""
    values = configs.to_dict(config)
    training, data = values["training"], values["training"]["data"]
    del training["feature_pool"], training["tracking"]
    del data["data_dir"], data["num_workers"], data["prefetch_batches"]
    del data["composite"]["cutouts_dir"], data["composite"]["backgrounds_dir"]
    return values
