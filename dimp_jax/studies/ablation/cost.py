"""What a step of all arms costs, together and as trainings of their own."""

import jax
import numpy as np

from dimp_jax import config as configs
from dimp_jax.studies.trainings import train
from dimp_jax.studies.trainings.fit import measured_seconds
from dimp_jax.training import steps

TEXT = (
    "Seconds of a step, the median of {repeats} after one that is not counted: all {members} "
    "trainings together, a program for each static config, then {members} times the step of one "
    "training (of the base arm). `train.py` trains the box network as well; from crops it also "
    "runs the backbone. Reading and cutting images is in none of them. `compile_s`: of all "
    "trainings, the program from the cache of an earlier run is faster. Valid only if nothing else "
    "ran: the load before the study was {load}; the processor's seconds, over all cores, depend "
    "less on it."
)


def measure(
    groups, states, pooled_batch, config, variables, repeats: int, *, load, train_py: bool
) -> list[dict]:
    """Rows for a table: seconds of a step of each kind.

    Args:
      pooled_batch: with a leading [seeds].
      config: of the base arm, as a training of its own has it. variables: of a whole network.
      load: of the machine before the study began: its own training is load, too.
      train_py: also a step of train.py, whose programs take a while to compile.
    """
    members = sum(len(group.members) for group in groups)
    together = [
        _row("all arms together", 1, train.make_step((group,)), (state,), pooled_batch, repeats)
        for group, state in zip(groups, states, strict=True)
    ]
    seconds = ("step_s", "processor_s", "compile_s")
    summed = {name: sum(row[name] for row in together) for name in seconds}
    rows = [together[0] | {"programs": len(groups)} | summed]
    base = train.Group(groups[0].config, groups[0].members[:1])
    first = jax.tree.map(lambda leaf: leaf[:1], train.own_part(states[0]))
    alone = (train.with_own(states[0], first),)
    step = train.make_step((base,))
    rows.append(_row("each arm by itself", members, step, alone, pooled_batch, repeats))
    if train_py:
        of_one = jax.tree.map(lambda leaf: leaf[0], pooled_batch)
        rows += _train_py_rows(members, of_one, config, variables, repeats)
    fastest = rows[0]
    for row in rows:
        row["times_as_long"] = row["step_s"] / fastest["step_s"]
        row["times_the_processor"] = row["processor_s"] / fastest["processor_s"]
        row["load"] = load
    return rows


def _train_py_rows(members, pooled_batch, config, variables, repeats):
    # Proposals as the box network's loss has them; where the boxes are does not change the time.
    count = config.training.data.proposals.count
    widened = {
        name: np.repeat(getattr(pooled_batch, name), count, axis=2)
        for name in ("proposals", "proposal_value", "proposal_target")
    }
    pooled_batch = pooled_batch._replace(**widened)
    config = configs.changed(config, {"training.optim.frozen": ("backbone",)})
    state = steps.init_state(variables, config)
    plain = steps.make_train_step(config)
    rows = []
    for name, batch in (
        ("each by train.py, features of a pool", pooled_batch),
        ("each by train.py, crops", _on_crops(pooled_batch, config.training.data.crop.size_px)),
    ):
        rows.append(_row(name, members, plain, state, batch, repeats))
    return rows


def _row(name, times, step, state, batch, repeats):
    seconds = measured_seconds(jax.jit(step), state, batch, repeats)
    return {
        "what": name,
        "programs": times,
        "step_s": times * seconds["wall_s"],
        "processor_s": times * seconds["processor_s"],
        "compile_s": times * seconds["compile_s"],
    }


def _on_crops(batch, size_px: int):
    """The batch with noise for images: they take as long as any others."""
    rng = np.random.default_rng(0)
    noise = lambda box: rng.integers(0, 256, (*box.shape[:2], size_px, size_px, 3), np.uint8)
    return batch._replace(train_crops=noise(batch.train_box), test_crops=noise(batch.test_box))
