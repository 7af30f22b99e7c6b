"""Success AUC of every trained arm, sequence by sequence."""

import dataclasses
import os
from concurrent import futures

from dimp_jax.config import Config, TrainingConfig
from dimp_jax.studies import accuracy
from dimp_jax.studies.trainings import settings, train
from dimp_jax.tracking import tracker
from dimp_jax.training.log import counted


def score(study, arms, configs, trained, step: int, sequences, console) -> None:
    """Tracks what has no unit in the study's folder yet; one unit an arm, seed and sequence.

    All arms of one seed come before the next seed, so that a run that is stopped compares pairs.

    Args:
      configs: {arm: `Config`} of the study, the base first.
      trained: {(arm, seed): (state, index)} after `step` steps; a member's place in its group.

    Raises:
      InputError: a frame that cannot be read.
    """
    longest_first = sorted(sequences, key=lambda s: -s.frames.count)
    runs = [
        (arm, seed, missing)
        for seed in dict.fromkeys(seed for _, seed in trained)
        for arm in arms
        if (
            missing := [
                s for s in longest_first if study.unit(key(arm.name, seed, step, s)) is None
            ]
        )
    ]
    total = sum(len(missing) for *_, missing in runs)
    warm, jobs = set(), []
    with (
        counted(console, f"tracking after {step} steps") as progress,
        futures.ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        try:
            for arm, seed, missing in runs:
                state, index = trained[arm.weights_of or arm.name, seed]
                config = tracker_config(configs[arm.name])
                network = tracker.make_network(config, train.member_variables(state, index))
                tracked = tracker.Tracker(config, network)
                if config not in warm:
                    tracked.warmup()  # here, so that the threads do not compile the same twice
                    warm.add(config)
                for sequence in missing:
                    unit = key(arm.name, seed, step, sequence)
                    jobs.append(threads.submit(_score_one, study, unit, tracked, sequence, seed))
            for done, job in enumerate(futures.as_completed(jobs), 1):
                job.result()
                progress(done, total)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _score_one(study, unit: str, tracked, sequence, seed: int) -> None:
    study.record(unit, accuracy.success_auc(tracked, sequence, seed))


def scores(study, arms, seeds, step: int, sequences) -> dict:
    """{(arm, seed): {sequence: AUC}} of those of which every sequence was tracked."""
    found = {
        (arm.name, seed): {s.name: study.unit(key(arm.name, seed, step, s)) for s in sequences}
        for arm in arms
        for seed in seeds
    }
    return {run: of for run, of in found.items() if None not in of.values()}


def tracker_config(config: Config) -> Config:
    """What a tracker is compiled for: a part that was not learned has its initial value anyway."""
    model = train.group_config(config).model
    return dataclasses.replace(config, model=model, training=TrainingConfig())


def key(arm: str, seed: int, step: int, sequence) -> str:
    """Of a unit in the study's folder."""
    return f"auc {settings.file_name(arm)}-{seed} {step} {sequence.name}"
