"""The gradient that a training applies against the exact one, at its own parameters and batch."""

import functools
import itertools

import jax
import numpy as np

from dimp_jax import config as configs
from dimp_jax.studies.metagradient import measure
from dimp_jax.studies.trainings import data, train
from dimp_jax.training import steps

ALL = "all"


def along(gradients, groups, states, shared, step: int, count: int) -> dict:
    """How biased each training's gradient is after `step` steps.

    Args:
      gradients: of each group, `make_gradients`, compiled.
      groups, states: as from `run.fitted`. shared: `run.Shared`.
      count: of batches, the next ones that the training of the seed sees.

    Returns:
      {member: {"cosine", "ratio": {group of leaves: [count]} of its gradient to the exact one,
      "between": {group: [count]} cosines of the exact gradients of neighbouring batches,
      "optimality": [count] of the solves, means over the batch}}; a cosine is None where a gradient
      is zero.
    """
    batches = data.batches(shared.pool, shared.pooled, train.seeds_of(groups), step)
    batches = list(itertools.islice(batches, count))
    found = {}
    for of, group, state in zip(gradients, groups, states, strict=True):
        each = [jax.device_get(of(state, batch)) for batch in batches]
        for index, member in enumerate(group.members):
            of_member = [jax.tree.map(lambda leaf, index=index: leaf[index], of) for of in each]
            found[member.name] = compared(of_member)
    return found


def make_gradients(group, seeds):
    """(state, batches [seeds, ...]) -> (own gradient, exact one, optimality), [members, ...].

    Of the classification loss by all that is trained. With running statistics: heads with batch
    normalisation are trained with those of the batch.
    """
    exact = changed(group.config, measure.EXACT)
    own, solution = group.config, changed(group.config, "implicit")
    seen = np.asarray([seeds.index(member.seed) for member in group.members])

    def gradients(state, batches):
        def one(member):
            part, seen = member
            batch = jax.tree.map(lambda of_seeds: of_seeds[seen], batches)

            def loss(params, config):
                whole = train.with_own(state, part | {"params": params})
                metrics = steps.make_eval_step(config)(whole, batch)
                return sum(metrics[name] for name in train.LOSSES), metrics

            of = lambda config: jax.grad(functools.partial(loss, config=config), has_aux=True)
            value = lambda config: of(config)(part["params"])[0]
            applied = value(own)
            true = applied if own == exact else value(exact)
            _, metrics = loss(part["params"], solution)
            return applied, true, metrics["predictor/optimality"]

        return train.over_members(one, (train.own_part(state), seen))

    return gradients


def changed(config, adjoint: str):
    """`config` with one of our adjoints."""
    changes = {"adjoint": adjoint, "adjoint_options": ()}
    return configs.changed(config, {f"model.predictor.{n}": value for n, value in changes.items()})


def compared(of_batches) -> dict:
    """The record of one member; `of_batches`: (own, exact, optimality) of each batch."""
    own = [by_group(own) for own, _, _ in of_batches]
    exact = [by_group(exact) for _, exact, _ in of_batches]
    neighbours = exact[1:] + exact[:1]
    compare = lambda function, a, b: {
        group: [function(x[group], y[group]) for x, y in zip(a, b, strict=True)] for group in a[0]
    }
    return {
        "cosine": compare(measure.cosine, own, exact),
        "ratio": compare(measure.norm_ratio, own, exact),
        "between": compare(measure.cosine, exact, neighbours),
        "optimality": [float(optimality) for *_, optimality in of_batches],
    }


def by_group(gradient) -> dict:
    """Float64 vectors: classifier, initialiser, the loss's parts by name, and all of them."""
    flat = lambda tree: np.concatenate(
        [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)]
    )
    groups = {"classifier": gradient["clf"], "initialiser": gradient["filter_init"]}
    groups |= gradient["predictor"]
    return {ALL: flat(gradient)} | {name: flat(tree) for name, tree in groups.items()}
