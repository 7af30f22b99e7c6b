"""A study's trainings: what they share, their states after a step, and what is recorded of them."""

import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np

from dimp_jax import config as config_files
from dimp_jax.config import Config
from dimp_jax.media.images import InputError
from dimp_jax.models.dimp import STRIDE_PX, init_variables
from dimp_jax.predictor.predict import init_params, optimize_filter
from dimp_jax.studies.trainings import aim, data, fit, settings, train
from dimp_jax.tracking import weights
from dimp_jax.training import optim
from dimp_jax.training.feature_pool import FeaturePool


class Shared(NamedTuple):
    """What all trainings of a study have in common."""

    base: Config
    pooled: Config  # the base with the pool, which the batches are drawn by
    variables: dict  # of the frozen parts
    heads: dict  # {seed: variables of fresh heads}
    pool: FeaturePool
    held_out: FeaturePool
    clips: dict  # as from `aim.clips`


def check(configs) -> None:
    """Traces the solve of every arm and makes its optimiser, before anything takes long.

    Args:
      configs: {arm: `Config`}, the base first.

    Raises:
      InputError: parts, their parameters or rates that do not fit.
    """
    network = next(iter(configs.values())).model
    key = jax.random.key(0)
    params = jax.eval_shape(functools.partial(init_variables, network), key)["params"]
    for arm, config in configs.items():
        predictor, cells = config.model.predictor, config.model.filter_size_cells
        side = config.training.data.crop.size_px // STRIDE_PX
        shapes = [(cells, cells, config.model.clf_channels)]
        shapes += [(1, side, side, config.model.clf_channels), (1, 4), (1,)]
        samples = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
        solve = functools.partial(optimize_filter, config=predictor, num_iter=predictor.num_iter)
        try:
            own = jax.eval_shape(functools.partial(init_params, predictor))
            optim.build(train.trainable(config).training.optim, params | {"predictor": own})
            jax.eval_shape(solve, own, *samples)
        except ValueError as error:
            raise InputError(f"arm {arm}: {error}") from error


def share(study, args, base, sequences, console) -> Shared:
    """Makes what is missing of the features.

    Args:
      base: `Config` of the arm that the others are compared with.
    """
    frozen = frozen_variables(args, base)
    pooled = with_pool(study, args, base)
    pool, held_out = data.pools(pooled, frozen, study.folder, args.held_out, console)
    heads = {seed: train.fresh_heads(base, seed) for seed in settings.seeds_of(args)}
    variables = {group: of | heads[args.seed].get(group, {}) for group, of in frozen.items()}
    clips = aim.clips(pooled, variables, sequences, study.folder / "clips", console)
    return Shared(base, pooled, frozen, heads, pool, held_out, clips)


def with_pool(study, args, config) -> Config:
    """`config` as it is trained with here."""
    return data.pool_config(config, args.pool_samples, args.pool or study.folder / "pool")


def frozen_variables(args, base):
    """{"params", "batch_stats"} of the frozen backbone and box network of --config.

    Raises:
      InputError: there is no trained box network.
    """
    # Of the config as it is: with --quick the heads are others, and they are not used.
    config = dataclasses.replace(config_files.load(args.config), checkpoint=base.checkpoint)
    variables, _ = weights.read(config)
    if "iou" not in variables["params"]:
        raise InputError(
            f"{args.config} has no trained box network, which all arms share: give a config or a "
            "--checkpoint with one"
        )
    return {
        group: {name: of[name] for name in train.SHARED if name in of}
        for group, of in variables.items()
    }


def begun(study, args, arms, configs, wave: int, shared: Shared):
    """(groups, states) of the arms of a wave before the first step.

    Args:
      configs: {arm: `Config`}.

    Raises:
      InputError: the wave's checkpoints are of other arms.
    """
    groups = train.grouped(
        train.Member(arm.name, seed, with_pool(study, args, configs[arm.name]))
        for arm in arms
        if arm.wave == wave and not arm.weights_of
        for seed in settings.seeds_of(args)
    )
    members = [member for group in groups for member in group.members]
    settings.check_members(study, wave, members)
    return groups, train.init_states(groups, shared.variables, shared.heads.get)


def fitted(study, args, arms, configs, wave: int, step: int, shared: Shared, console):
    """(groups, states, curves) of a wave at a step, trained from where its checkpoint ends.

    Raises:
      InputError: as `begun`, or the trainings went on beyond a step that was not kept.
    """
    groups, states = begun(study, args, arms, configs, wave, shared)
    folder = study.folder / f"wave-{wave}"
    folder.mkdir(exist_ok=True)
    keep = settings.scored_steps(args)
    options = {"steps": step, "save_every": args.save_every, "keep": keep, "console": console}
    return groups, *fit.fit(states, groups, shared.pool, shared.pooled, folder, **options)


def members_of(groups, states) -> dict:
    """{(arm, seed): (state, index)}."""
    return {
        (member.arm, member.seed): (state, index)
        for group, state in zip(groups, states, strict=True)
        for index, member in enumerate(group.members)
    }


def record(study, groups, states, curves, shared: Shared, wave: int, step: int) -> None:
    """Stores curves, held-out losses and hits of a wave after `step` steps, where they lack."""
    members = [member.name for group in groups for member in group.members]
    curves = {name: values.tolist() for name, values in curves.items()}
    known = study.unit(f"curves {wave}") or {name: [] for name in curves}
    if any(len(points) > len(known[name]) for name, points in curves.items()):
        study.record(f"curves {wave}", {"members": members, **curves})
    key = f"held out {wave} {step}"
    if study.unit(key) is None:
        losses = held_out_losses(groups, states, shared)
        # The mean last: it says that both are there.
        study.record(f"{key} by batch", dict(zip(members, losses.T.tolist(), strict=True)))
        study.record(key, dict(zip(members, losses.mean(0).tolist(), strict=True)))
    if study.unit(f"hits {wave} {step}") is None:
        num_iter = shared.base.tracker.memory.init_iterations
        found = aim.hits(groups, states, shared.clips, num_iter)
        study.record(f"hits {wave} {step}", found)


def held_out_losses(groups, states, shared: Shared):
    """[batches, members] losses of the final filter; each sample once, in whole batches."""
    pool, config = shared.held_out, shared.pooled
    measure = jax.jit(train.make_held_out(groups))
    count = pool.samples // config.training.global_batch
    batches = itertools.islice(data.batches(pool, config, (config.seed,), 0), count)
    of_one = lambda batch: jax.tree.map(lambda leaf: leaf[0], batch)
    losses = [[of["loss/final"] for of in measure(states, of_one(batch))] for batch in batches]
    return np.array([np.concatenate(each) for each in losses])
