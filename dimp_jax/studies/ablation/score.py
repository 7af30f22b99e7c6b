"""Success AUC of every trained arm, sequence by sequence."""

import dataclasses
import os
from concurrent import futures

from dimp_jax.config import Config
from dimp_jax.host import terminal
from dimp_jax.studies import accuracy
from dimp_jax.studies.ablation import train
from dimp_jax.tracking import tracker


def score(study, arms, configs, groups, states, seeds, sequences, console):
    """Tracks what has no unit in the study's folder yet; one unit an arm, seed and sequence.

    Args:
      configs: {arm: `Config`}. groups, states: as trained.

    Returns:
      {(arm, seed): {sequence: AUC}}.

    Raises:
      InputError: a frame that cannot be read.
    """
    where = {
        (member.arm, member.seed): (state, index)
        for group, state in zip(groups, states, strict=True)
        for index, member in enumerate(group.members)
    }
    base = arms[0].name
    todo = {}  # by config, so that each is compiled once and then used
    for arm in arms:
        for seed in seeds:
            missing = [s for s in sequences if study.unit(_key(arm.name, seed, s)) is None]
            if missing:
                trained_as = base if arm.tracks_base else arm.name
                of_config = todo.setdefault(tracker_config(configs[arm.name]), [])
                of_config.append((arm.name, seed, where[trained_as, seed], missing))
    total = sum(len(missing) for of in todo.values() for *_, missing in of)
    with (
        terminal.Progress(console=console) as progress,
        futures.ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        task = progress.add_task("tracking", total=total)
        for config, runs in todo.items():
            jobs = {}
            for arm, seed, (state, index), missing in runs:
                progress.update(task, description=f"tracking {arm}")
                network = tracker.make_network(config, train.member_variables(state, index))
                tracked = tracker.Tracker(config, network)
                if not jobs:
                    tracked.warmup()  # here, so that the threads do not compile the same twice
                for sequence in missing:
                    job = threads.submit(accuracy.success_auc, tracked, sequence, seed)
                    jobs[job] = _key(arm, seed, sequence)
            try:
                for job in futures.as_completed(jobs):
                    study.record(jobs[job], job.result())
                    progress.advance(task)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
    return {
        (arm.name, seed): {s.name: study.unit(_key(arm.name, seed, s)) for s in sequences}
        for arm in arms
        for seed in seeds
    }


def tracker_config(config: Config) -> Config:
    """What a tracker is compiled for: a part that was not learned has its initial value anyway."""
    return dataclasses.replace(
        config, model=train.group_config(config).model, training=type(config.training)()
    )


def _key(arm, seed, sequence):
    return f"auc {arm.replace('/', '_')}-{seed} {sequence.name}"
