"""The configs of a study: what its options make of the base."""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.config.training import CropConfig, SamplerConfig
from dimp_jax.data import sources
from dimp_jax.media.images import InputError
from dimp_jax.studies import study as studies

QUICK_CROP_PX, QUICK_CHANNELS, QUICK_ITERATIONS = 96, 16, 2


def base_config(args) -> Config:
    """The config that all arms change.

    Raises:
      InputError: it needs data sets, and no folder of them is given.
      FileNotFoundError, ValueError: no such config.
    """
    config = studies.config_of(args)
    if args.quick:
        config = _small(config)
    training = config.training
    optim = training.optim
    share = args.steps / training.total_steps
    optim = dataclasses.replace(
        optim,
        decay_every_steps=max(round(optim.decay_every_steps * share), 1),
        warmup_steps=round(optim.warmup_steps * share),
    )
    text = lambda path: None if path is None else str(path.resolve())
    composite = dataclasses.replace(
        training.data.composite,
        cutouts_dir=text(args.cutouts_dir) or training.data.composite.cutouts_dir,
        backgrounds_dir=text(args.backgrounds_dir) or training.data.composite.backgrounds_dir,
    )
    data = dataclasses.replace(
        training.data,
        data_dir=text(args.data_dir) or training.data.data_dir,
        composite=composite,
    )
    names = [name for name, _ in (*data.sources, *data.validation_sources)]
    if sources.data_dir(data) is None and set(names) - {"synthetic"}:
        raise InputError(
            f"{args.config} is trained on {', '.join(names)}: give the folder of the built data "
            f"sets as --data-dir, or set {sources.DATA_DIR_VARIABLE}"
        )
    training = dataclasses.replace(
        training, total_steps=args.steps, global_batch=args.global_batch, data=data, optim=optim
    )
    return dataclasses.replace(config, training=training, seed=args.seed)


def _small(config):
    """Procedural data and small heads behind the same backbone."""
    predictor = dataclasses.replace(config.model.predictor, num_iter=QUICK_ITERATIONS)
    training = config.training
    data = dataclasses.replace(
        training.data,
        sources=(("synthetic", 1.0),),
        validation_sources=(),
        sampler=SamplerConfig(train_frames=2, test_frames=2),
        crop=CropConfig(size_px=QUICK_CROP_PX),
    )
    memory = dataclasses.replace(config.tracker.memory, size=20, init_iterations=5)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model, clf_blocks=0, clf_channels=QUICK_CHANNELS, predictor=predictor
        ),
        tracker=dataclasses.replace(config.tracker, crop_size_px=QUICK_CROP_PX, memory=memory),
        training=dataclasses.replace(training, data=data),
    )


def check_arms(arms, arm_configs) -> None:
    """Raises InputError for arms that cannot share features and box network with the base."""
    base = arm_configs[arms[0].name]
    shared = ("backbone", "iou_channels", "compute_dtype", "filter_size_cells")
    for arm in arms:
        config = arm_configs[arm.name]
        wrong = [name for name in shared if getattr(config.model, name) != _of(base, name)]
        if config.training.data != base.training.data:
            wrong.append("training.data")
        if wrong:
            raise InputError(
                f"--arms {arm.name}: another {' and '.join(wrong)} than the base; arms share the "
                "backbone, the box network and the batches"
            )
        if not arm.tracks_base and config.model.clf_channels != base.model.clf_channels:
            raise InputError(f"--arms {arm.name}: another clf_channels than the base")


def made_from(args, arm_configs, sequences) -> dict:
    """All that the figures depend on."""
    values = {name: configs.to_dict(config) for name, config in arm_configs.items()}
    for of in values.values():  # where files are, and what does not matter here
        for name in ("data_dir", "num_workers", "prefetch_batches"):
            del of["training"]["data"][name]
        for name in ("cutouts_dir", "backgrounds_dir"):
            del of["training"]["data"]["composite"][name]
        for name in ("feature_pool", "tracking"):
            del of["training"][name]
    return {
        "configs": values,
        "seeds": args.seeds,
        "samples": args.samples,
        "held_out": args.held_out,
        "sequences": {s.name: s.frames.count for s in sequences},
    }


def _of(config, name):
    return getattr(config.model, name)
