"""One training step of many arms at once: `steps.make_train_step`, mapped over their heads.

Arms with the same static config are one group, and a seed is one more arm. Which parts of the loss
an arm learns is data, not static: parts that it does not learn are put back after each update. The
backbone and the IoU network are frozen and shared; their outputs that nothing depends on are not
computed.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.config.predictor import LearnedParts
from dimp_jax.predictor.predict import LEARNED_PARTS, init_params
from dimp_jax.studies.trainings import settings
from dimp_jax.training import optim, start, steps

SHARED = ("backbone", "iou")  # frozen, the same in all arms
HEADS = ("clf", "filter_init", "predictor")
# Without "loss": the IoU network has a part in it, if one of weight 0, and would be computed.
LOSSES = ("loss/final", "loss/initial", "loss/iterates")
METRICS = (*LOSSES, "grad_norm")


class Member(NamedTuple):
    """One training: an arm from one seed."""

    arm: str
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of files and rows."""
        return f"{settings.file_name(self.arm)}-{self.seed}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Members that one mapped program trains."""

    config: Config  # of all of them; every part of the loss is learned
    members: tuple[Member, ...]


def trainable(config: Config) -> Config:
    """`config` as it is trained here: backbone and IoU network frozen, no loss of the latter."""
    return configs.changed(config, {"training.optim.frozen": SHARED, "training.loss.iou": 0.0})


def grouped(members) -> tuple[Group, ...]:
    """The members by static config, in the order in which each first comes up."""
    groups = {}
    for member in members:
        groups.setdefault(group_config(member.config), []).append(member)
    return tuple(Group(config, tuple(of)) for config, of in groups.items())


def group_config(config: Config) -> Config:
    """What of a config a program is compiled for: not the seed, not the parts left out.

    With clipping they count, since they would have a share in the norm of the gradient; so do parts
    that are learned per iteration.
    """
    config = configs.changed(trainable(config), {"seed": 0})
    modes = set(dataclasses.asdict(config.model.predictor.learned).values())
    if config.training.optim.clip_norm is not None or not modes <= {"shared", "initial"}:
        return config
    return configs.changed(config, {"model.predictor.learned": LearnedParts()})


def fresh_heads(config: Config, seed: int):
    """{"params", "batch_stats"} of the heads as a training from this seed draws them, numpy."""
    return start.fresh(configs.changed(config, {"seed": seed}), HEADS)


def init_states(groups, shared, heads_of) -> tuple:
    """The state of each group before the first step.

    Args:
      shared: {"params", "batch_stats"} of backbone and IoU network.
      heads_of: seed -> `fresh_heads` of any of the configs; the predictor's are the config's own.

    Returns:
      A `steps.TrainState` a group; leaves of what is trained have a leading [members].
    """
    return tuple(_init_state(group, shared, heads_of) for group in groups)


def _init_state(group, shared, heads_of):
    predictor = jax.tree.map(np.asarray, init_params(group.config.model.predictor))
    each = [heads_of(member.seed) for member in group.members]
    each = [heads | {"params": heads["params"] | {"predictor": predictor}} for heads in each]
    heads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    params = {name: shared["params"][name] for name in SHARED} | heads["params"]
    stats = {name: shared["batch_stats"][name] for name in SHARED if name in shared["batch_stats"]}
    optimizer = optim.build(group.config.training.optim, params)
    return steps.TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=stats | heads.get("batch_stats", {}),
        opt_state=jax.jit(jax.vmap(optimizer.init))(heads["params"]),
    )


def make_step(groups, at_once: int | None = None):
    """(states, batches) -> (states, metrics) of all groups as one program.

    The batches have a leading [seeds], in the order of `seeds_of`: a member sees those of its seed.

    Args:
      at_once: members that are mapped over together (`vmap`); a larger group is a loop over parts
        of it. None: one on a CPU, whose cache holds the features of one, else all of them.

    Returns:
      A function; its metrics are dicts of `METRICS`, [members] each, one a group.
    """
    each = [_group_step(group, seeds_of(groups), at_once) for group in groups]

    def step(states, batches):
        done = [of(state, batches) for of, state in zip(each, states, strict=True)]
        return tuple(state for state, _ in done), tuple(metrics for _, metrics in done)

    return step


def seeds_of(groups) -> tuple[int, ...]:
    """The seeds of the members, each once."""
    return tuple(dict.fromkeys(member.seed for group in groups for member in group.members))


def _group_step(group, seeds, at_once):
    plain = steps.make_train_step(group.config)
    learned = _learned(group)
    seen = np.asarray([seeds.index(member.seed) for member in group.members])

    def step(state, batches):
        def one(member):
            own, learned, seen = member
            batch = jax.tree.map(lambda of_seeds: of_seeds[seen], batches)
            before = with_own(state, own)
            after, metrics = plain(before, batch)
            old, new = before.params["predictor"], after.params["predictor"]
            keep = lambda name: jnp.where(learned[name], new[name], old[name])
            predictor = {name: keep(name) if name in learned else new[name] for name in new}
            after = after.replace(params=after.params | {"predictor": predictor})
            return own_part(after), {name: metrics[name] for name in METRICS}

        own, metrics = over_members(one, (own_part(state), learned, seen), at_once)
        return with_own(state, own).replace(step=state.step + 1), metrics

    return step


def over_members(function, members, at_once: int | None = None):
    """`function` of each member (leaves [members, ...]), `at_once` together; see `make_step`."""
    if at_once is None:
        at_once = 1 if jax.default_backend() == "cpu" else len(jax.tree.leaves(members)[0])
    return jax.lax.map(function, members, batch_size=None if at_once == 1 else at_once)


def own_part(state) -> dict:
    """What of a state changes in a step and belongs to its members."""
    own = lambda tree: {name: part for name, part in tree.items() if name not in SHARED}
    return {
        "params": own(state.params),
        "batch_stats": own(state.batch_stats),
        "opt_state": state.opt_state,
    }


def with_own(state, own):
    """The state with the `own_part` of another one, of one member or of all."""
    return steps.TrainState(
        step=state.step,
        params=state.params | own["params"],
        batch_stats=state.batch_stats | own["batch_stats"],
        opt_state=own["opt_state"],
    )


def _learned(group):
    """{part: [members] bool}."""
    modes = [dataclasses.asdict(member.config.model.predictor.learned) for member in group.members]
    return {
        part: np.asarray([mode[part] not in ("initial", "fixed") for mode in modes])
        for part in LEARNED_PARTS
    }


def member_variables(state, index: int):
    """{"params", "batch_stats"} of one member, numpy, as a checkpoint holds them."""
    own = jax.tree.map(lambda leaf: leaf[index], own_part(state))
    state = with_own(state, own)
    return jax.tree.map(np.asarray, {"params": state.params, "batch_stats": state.batch_stats})


def make_held_out(groups):
    """(states, batch) -> the classification losses of every member, [members], one a group."""

    def of_group(group, state, batch):
        measure = steps.make_eval_step(group.config)

        def one(own):
            metrics = measure(with_own(state, own), batch)
            return {name: metrics[name] for name in LOSSES}

        return over_members(one, own_part(state))

    return lambda states, batch: tuple(
        of_group(group, state, batch) for group, state in zip(groups, states, strict=True)
    )
