"""The study from the pool to the report."""

import dataclasses
import itertools

import jax
import numpy as np

from dimp_jax import config as config_files
from dimp_jax.checkpoints import CheckpointError, weights_file
from dimp_jax.checkpoints.publish import without_folders
from dimp_jax.host import terminal
from dimp_jax.host.machine import machine
from dimp_jax.media.images import InputError
from dimp_jax.studies.ablation import aim, cost, data, fit, report, score, settings, train
from dimp_jax.tracking import weights
from dimp_jax.training import workdir


def train_and_score(study, args, arms, configs, sequences, console) -> None:
    """Does what is missing in the study's folder; writes the report whenever a part is done.

    Wave by wave: all arms of one to the first of `score_at`, tracked with, then to the last step,
    tracked with. Tracking at the points between comes last; hits are counted as they are passed.

    Args:
      configs: {arm: `Config`}, the base first.
    """
    load = machine()["load"]
    base = configs[arms[0].name]
    shared = shared_variables(args, base)
    pooled = lambda config: data.pool_config(
        config, args.samples, args.pool or study.folder / "pool"
    )
    pool, held_out = data.pools(pooled(base), shared, study.folder, args.held_out, console)
    heads = {seed: train.fresh_heads(base, seed) for seed in settings.seeds_of(args)}
    variables = {group: of | heads[args.seed].get(group, {}) for group, of in shared.items()}
    clips = aim.clips(pooled(base), variables, sequences, study.folder / "clips", console)
    points = settings.scored_steps(args)
    waves = sorted({arm.wave for arm in arms})

    def fitted(wave, step):
        """(groups, states, curves) of a wave's trainings at a step."""
        folder = study.folder / f"wave-{wave}"
        folder.mkdir(exist_ok=True)
        groups = groups_of(args, arms, configs, wave, pooled)
        members = [member for group in groups for member in group.members]
        settings.check_members(study, wave, members)
        states = train.init_states(groups, shared, heads.get)
        options = {"steps": step, "save_every": args.save_every, "keep": points, "console": console}
        return groups, *fit.fit(states, groups, pool, pooled(base), folder, **options)

    def measure(wave, step):
        groups, states, curves = fitted(wave, step)
        record(study, groups, states, curves, held_out, pooled(base), wave, step)
        if study.unit(f"hits {wave} {step}") is None:
            num_iter = base.tracker.memory.init_iterations
            study.record(f"hits {wave} {step}", aim.hits(groups, states, clips, num_iter))
        return groups, states

    def done(wave, step):
        for point in points[: points.index(step) + 1]:
            groups, states = measure(wave, point)
        report.write(study, args, arms, configs, sequences)
        if (wave, step) == (waves[0], points[-1]):
            costs(study, args, groups, states, pool, base, shared, heads, load)
        if step == points[-1]:
            publish(study.folder, groups, states, base, console)
        trained = members_of(groups, states)
        if wave != waves[0]:  # some arms track with the base's weights, of the first wave
            trained |= members_of(*fitted(waves[0], step)[:2])
        scored = [arm for arm in settings.scored_arms(args, arms, step) if arm.wave == wave]
        score.score(study, scored, configs, trained, step, sequences, console)
        report.write(study, args, arms, configs, sequences)

    for wave in waves:
        for step in dict.fromkeys((points[0], points[-1])):
            done(wave, step)
    for step in points[1:-1]:
        for wave in waves:
            done(wave, step)


def groups_of(args, arms, configs, wave: int, pooled):
    """The groups of the trained arms of one wave; `pooled`: config -> `data.pool_config`."""
    return train.grouped(
        train.Member(arm.name, seed, pooled(configs[arm.name]))
        for arm in arms
        if arm.wave == wave and not arm.tracks_base
        for seed in settings.seeds_of(args)
    )


def members_of(groups, states) -> dict:
    """{(arm, seed): (state, index)}."""
    return {
        (member.arm, member.seed): (state, index)
        for group, state in zip(groups, states, strict=True)
        for index, member in enumerate(group.members)
    }


def shared_variables(args, base):
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


def publish(out, groups, states, base, console) -> None:
    """Writes the weights of each training as a file for `--checkpoint`, out/weights/NAME."""
    for group, state in zip(groups, states, strict=True):
        for index, member in enumerate(group.members):
            path = out / "weights" / f"{member.name}.safetensors"
            if path.exists():
                continue
            config = dataclasses.replace(
                member.config, training=base.training, seed=member.seed, checkpoint=None
            )
            card = without_folders(workdir.card(config, f"{member.arm}, study ablation"))
            try:
                weights_file.save(path, train.member_variables(state, index), card, "float16")
            except CheckpointError as error:  # a training that diverged
                terminal.print_line(console, f"{member.name}: no file of its weights: {error}")


def costs(study, args, groups, states, pool, base, shared, heads, load) -> None:
    """Measures what a step costs, once."""
    if args.repeats and study.unit("cost") is None:
        batch = next(data.batches(pool, groups[0].config, train.seeds_of(groups), 0))
        one = heads[args.seed]
        variables = {g: shared[g] | one.get(g, {}) for g in shared}
        rows = cost.measure(
            groups, states, batch, base, variables, args.repeats, load=load, train_py=not args.quick
        )
        study.record("cost", rows)


def record(study, groups, states, curves, pool, config, wave: int, step: int) -> None:
    """Stores curves and held-out losses of a wave after `step` steps, if they are not there."""
    members = [member.name for group in groups for member in group.members]
    curves = {name: values.tolist() for name, values in curves.items()}
    known = study.unit(f"curves {wave}") or {name: [] for name in curves}
    if any(len(points) > len(known[name]) for name, points in curves.items()):
        study.record(f"curves {wave}", {"members": members, **curves})
    key = f"held out {wave} {step}"
    if study.unit(key) is not None:
        return
    measure = jax.jit(train.make_held_out(groups))
    count = pool.samples // config.training.global_batch  # each sample once, in whole batches
    batches = itertools.islice(data.batches(pool, config, (config.seed,), 0), count)
    losses = [measure(states, jax.tree.map(lambda leaf: leaf[0], batch)) for batch in batches]
    means = [
        np.mean([np.asarray(of_batch[index]["loss/final"]) for of_batch in losses], 0).tolist()
        for index in range(len(groups))
    ]
    study.record(key, dict(zip(members, itertools.chain(*means), strict=True)))
