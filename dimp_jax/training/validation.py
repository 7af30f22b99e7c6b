"""How good is it? The loss on held-out samples, and success AUC of the tracker on sequences."""

import itertools

import jax
import numpy as np
from jax.experimental import multihost_utils

from dimp_jax.config import Config
from dimp_jax.data import loader
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.tracking import tracker
from dimp_jax.training import data_parallel, steps

SEED = 20_19  # of the held-out samples: the same in every run, whatever its own seed


# Each measure is called as measure(placed state, the same as numpy).


def held_out_loss(config: Config, placement: data_parallel.Placement):
    """A function of the state: mean losses over the same held-out batches each time.

    None if the config names no `validation_sources`.
    """
    training = config.training
    if not training.data.validation_sources:
        return None
    sampler = loader.open_sampler(training.data, seed=SEED, training=False)
    eval_step = data_parallel.data_parallel(
        steps.make_eval_step(config, data_parallel.AXIS),
        training.parallel.backend,
        returns_state=False,
    )

    def measure(state, _) -> dict[str, float]:
        with loader.batches(
            sampler,
            training.data,
            seed=SEED,
            global_batch=training.global_batch,
            start_step=0,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            training=False,
        ) as batches:
            few = itertools.islice(batches, training.validation_batches)
            metrics = [jax.device_get(eval_step(state, placement.batch(batch))) for batch in few]
        return {
            f"validation/{name}": float(np.mean([m[name] for m in metrics]))
            for name in metrics[0]
            if name.startswith("loss")
        }

    return measure


def tracking_auc(config: Config):
    """A function of the state: mean success AUC of the tracker over a folder of sequences.

    None if the config names no folder. The processes of a run share the sequences.

    Raises:
      InputError: the folder has no sequences that can be tracked, or none with ground truth.
    """
    where = config.training.tracking
    if where.sequences_dir is None:
        return None
    found = sequences.load_folder(where.sequences_dir, limit=where.frames)
    found = [s for s in found if s.groundtruth is not None]
    if not found:
        raise InputError(f"{where.sequences_dir}: no sequence with ground truth for every frame")
    share = found[jax.process_index() :: jax.process_count()]

    def measure(_, host_state) -> dict[str, float]:
        variables = {"params": host_state.params, "batch_stats": host_state.batch_stats}
        network = tracker.make_network(config, variables)
        scores = []
        for sequence in share:
            try:
                boxes, _ = one_by_one.track(tracker.Tracker(config, network), sequence)
            except FloatingPointError:  # an early network may lose itself: it tracked nothing
                scores.append(0.0)
                continue
            score = rules.score_sequence(rules.get("visible"), boxes, sequence)
            if score is not None:
                scores.append(score.values["auc"])
        total = np.array([sum(scores), len(scores)], np.float64)
        if jax.process_count() > 1:
            total = np.asarray(multihost_utils.process_allgather(total)).sum(0)
        return {"validation/auc": float(total[0] / total[1])}

    return measure
