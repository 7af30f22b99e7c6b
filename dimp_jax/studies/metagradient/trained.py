"""Trainings that differ in nothing but how the gradient passes back through the solve."""

import dataclasses

import jax
import jax.numpy as jnp

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.host.machine import machine
from dimp_jax.studies.metagradient import bias, measure
from dimp_jax.studies.trainings import data, run, score, settings, train
from dimp_jax.studies.trainings.fit import measured_seconds

QUESTION = "adjoint"
TRUNCATED = (1, 2)
QUICK = (measure.EXACT, "one_step", "implicit")
WAVE = 1


def arms_of(base: Config, quick: bool) -> dict[settings.Arm, Config]:
    """The trainings and their configs, the exact one first."""
    predictors = measure.adjoints_of(base.model.predictor, base.model.predictor.num_iter, ())
    ours = dataclasses.replace(base.model.predictor, adjoint="truncated", adjoint_options=())
    for length in TRUNCATED:
        truncated = dataclasses.replace(ours, truncate_every=length)
        predictors[f"truncated({length})"] = truncated
    return {
        settings.Arm(name, QUESTION): configs.changed(base, {"model.predictor": predictor})
        for name, predictor in predictors.items()
        if not quick or name in QUICK
    }


def train_and_score(study, args, configs_of_arms: dict, sequences, console, report) -> None:
    """Does what is missing in the study's folder: trains, measures the bias, tracks.

    Args:
      configs_of_arms: as from `arms_of`. report: called whenever a part is done.
    """
    arms = tuple(configs_of_arms)
    by_name = {arm.name: config for arm, config in configs_of_arms.items()}
    base = by_name[arms[0].name]
    shared = run.share(study, args, base, sequences, console)
    points = settings.scored_steps(args)
    at = (study, args, arms, by_name, WAVE)
    run.fitted(*at, points[-1], shared, console)
    groups, states = run.begun(*at, shared)
    seeds = train.seeds_of(groups)
    gradients = [jax.jit(bias.make_gradients(group, seeds)) for group in groups]
    for step in (0, *points):
        if step:
            groups, states, curves = run.fitted(*at, step, shared, console)
            run.record(study, *together(groups, states), curves, shared, WAVE, step)
        if study.unit(f"bias {step}") is None:
            found = bias.along(gradients, groups, states, shared, step, args.batches)
            study.record(f"bias {step}", found)
    if study.unit("cost of a step") is None:
        study.record("cost of a step", costs(groups, states, shared, args.repeats))
    report()
    # The tracker does not know of adjoints: one program for all.
    same = dict.fromkeys(by_name, base)
    trained = run.members_of(groups, states)
    score.score(study, arms, same, trained, points[-1], sequences, console)
    report()


def together(groups, states):
    """All as one group: for what does not depend on the gradient."""
    members = tuple(member for group in groups for member in group.members)
    parts = [train.own_part(state) for state in states]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return (train.Group(groups[0].config, members),), (train.with_own(states[0], joined),)


def costs(groups, states, shared, repeats: int) -> dict:
    """{arm: seconds of a step of one training, its temporary memory, the machine's load}."""
    load = machine()["load"]
    batch = next(data.batches(shared.pool, shared.pooled, train.seeds_of(groups), 0))
    found = {}
    for group, state in zip(groups, states, strict=True):
        one = train.Group(group.config, group.members[:1])
        first = jax.tree.map(lambda leaf: leaf[:1], train.own_part(state))
        step = jax.jit(train.make_step((one,)))
        measured = measured_seconds(step, (train.with_own(state, first),), batch, repeats)
        found[group.members[0].arm] = measured | {"load": load}
    return found
