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
from dimp_jax.studies.ablation import cost, data, fit, report, score, train
from dimp_jax.tracking import weights
from dimp_jax.training import workdir


def train_and_compare(study, args, arms, configs, sequences, console) -> None:
    """Does what is missing in the study's folder, and writes tables, plots and the report.

    Args:
      configs: {arm: `Config`}, the base first.
    """
    out, load = study.folder, machine()["load"]
    base = configs[arms[0].name]
    seeds = range(args.seed, args.seed + args.seeds)
    shared = shared_variables(args, base)
    pooled = lambda config: data.pool_config(config, args.samples, args.pool or out / "pool")
    groups = train.grouped(
        train.Member(arm.name, seed, pooled(configs[arm.name]))
        for arm in arms
        if not arm.tracks_base
        for seed in seeds
    )
    pool, held_out = data.pools(pooled(base), shared, out, args.held_out, console)
    heads = {seed: train.fresh_heads(base, seed) for seed in seeds}
    states = train.init_states(groups, shared, heads.get)
    states, curves = fit.fit(
        states,
        groups,
        pool,
        pooled(base),
        out,
        steps=args.steps,
        save_every=args.save_every,
        console=console,
    )
    costs = _costs(study, args, groups, states, pool, base, shared, heads, load)
    losses = _held_out(study, groups, states, held_out, pooled(base))
    publish(out, groups, states, base, console)
    scores = score.score(study, arms, configs, groups, states, seeds, sequences, console)

    table = report.rows(arms, seeds, scores, losses)
    points = report.curve_rows(groups, curves, fit.LOG_EVERY, args.steps)
    study.table("arms", table)
    study.table("runs", report.run_rows(scores))
    study.table("curves", points)
    study.table("cost", costs)
    report.draw_curves(out / "curves.png", points)
    report.draw_bars(out / "auc.png", table, arms, seeds, scores)
    texts = {
        "sequences": _counted(len(sequences), "sequence"),
        "seeds": _counted(len(seeds), "seed"),
        "held_out": "loss of the final filter",
        "source": ""
        if base.training.data.validation_sources
        else " (other frames of the same sources as the training's: no validation source)",
        "cost": "Not measured: --repeats 0.",
    }
    if costs:
        members = sum(len(group.members) for group in groups)
        load = costs[0]["load"]
        texts["cost"] = cost.TEXT.format(repeats=args.repeats, members=members, load=load)
    study.report(
        f"Ablations of {args.config}",
        report.sections(arms, table, costs, setup=setup(args, groups, base), texts=texts),
    )


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


def setup(args, groups, base) -> str:
    """How the arms were trained, in a paragraph."""
    members = sum(len(group.members) for group in groups)
    sources = ", ".join(f"{name} ({weight:g})" for name, weight in base.training.data.sources)
    return (
        f"{members} trainings of {args.steps} steps of {args.global_batch} sequences, in "
        f"{_counted(len(groups), 'group')} of the same program. The backbone and the box network "
        f"of {args.config} are frozen and shared; classifier, filter initialiser and learned loss "
        "start from fresh numbers of the seed. All see the same batches: features of "
        f"{args.samples} samples of {sources}. Rates and their schedule are the config's, the "
        "latter shrunk to the number of steps. A seed is one of the first numbers and of the "
        "tracker; the batches are the same, so the spread does not hold that of the data."
    )


def _costs(study, args, groups, states, pool, base, shared, heads, load):
    if args.repeats and study.unit("cost") is None:
        batch = next(data.batches(pool, groups[0].config, 0))
        one = heads[args.seed]
        variables = {g: shared[g] | one.get(g, {}) for g in shared}
        rows = cost.measure(
            groups, states, batch, base, variables, args.repeats, load=load, train_py=not args.quick
        )
        study.record("cost", rows)
    return study.unit("cost") or []


def _held_out(study, groups, states, pool, config):
    """{(arm, seed): mean held-out loss of the final filter}; NaN of a training that diverged."""
    if study.unit("held out") is None:
        measure = jax.jit(train.make_held_out(groups))
        count = pool.samples // config.training.global_batch  # each sample once, in whole batches
        batches = itertools.islice(data.batches(pool, config, 0), count)
        losses = [measure(states, batch) for batch in batches]
        of_group = lambda index: np.mean([np.asarray(b[index]["loss/final"]) for b in losses], 0)
        study.record("held out", [of_group(index).tolist() for index in range(len(groups))])
    return {
        (member.arm, member.seed): loss
        for group, losses in zip(groups, study.unit("held out"), strict=True)
        for member, loss in zip(group.members, losses, strict=True)
    }


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
