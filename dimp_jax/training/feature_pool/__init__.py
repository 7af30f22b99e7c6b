"""Features of a pool of crops, made by the frozen part of a backbone: there they do not change.

What is kept is the output of the last frozen part, and what the heads read of the parts before it.
With `uses` the pool rolls: as the training goes on, new crops take the place of the oldest. Which
samples are in use at a step, and what is drawn from them, is a function of the seed and the step,
so that a resumed run has the bits of an uninterrupted one; samples that it lacks are made again.
A pool that was interrupted is gone on with; one made from something else is refused.
"""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from dimp_jax.config import Config
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.samples import propose
from dimp_jax.data.source import Sample
from dimp_jax.host import files
from dimp_jax.models.dimp import backbone_parts
from dimp_jax.models.feature_maps import FeatureMaps, frozen_parts
from dimp_jax.training.feature_pool import maker
from dimp_jax.training.feature_pool.ring import CHUNK, is_whole

FOLDER = "feature_pool"
# Of the samples in use: so many are made ahead, and so many old ones kept for a run that goes on
# from its last checkpoint.
_SPARE = 0.125
_BATCH_DRAWS = 1  # purpose of the draws: not those from which the pool's samples were made
_ORDER = 2


@dataclasses.dataclass(frozen=True)
class FeaturePool:
    """The samples of one process, on disk and mapped into memory: k is in slot k mod slots."""

    maps: FeatureMaps  # by part [slots, F, h, w, C]
    box_xywh: np.ndarray  # [slots, F, 4]
    samples: int  # in use at a time
    # Waits until the samples from this one on that are in use are there.
    wait_for: Callable[[int], None] = lambda first: None


def check(config: Config, process_count: int) -> None:
    """Raises ValueError if a pool is asked for and cannot be: says why."""
    training, pool = config.training, config.training.feature_pool
    if pool.samples == 0:
        return
    parts, _ = backbone_parts(config.model.backbone)
    if not frozen_parts(parts, training.optim.frozen):
        raise ValueError(
            f"feature_pool.samples={pool.samples} keeps features of a backbone that does not "
            "change, but the backbone is trained: set training.optim.frozen backbone, or its "
            f"first parts (backbone/{parts[0]} backbone/{parts[1]} ...), or feature_pool.samples 0"
        )
    if pool.samples % (process_count * CHUNK):
        unit = process_count * CHUNK
        nearest = max(round(pool.samples / unit), 1) * unit
        raise ValueError(
            f"feature_pool.samples={pool.samples}: expected a multiple of {unit}; nearest: "
            f"{nearest}"
        )
    if pool.uses is not None and not pool.uses >= 1:
        raise ValueError(f"feature_pool.uses={pool.uses}: expected 1 or more, or None")
    sampler = training.data.sampler
    for name in ("train_frames", "test_frames"):
        if getattr(pool, name) < getattr(sampler, name):
            raise ValueError(
                f"feature_pool.{name}={getattr(pool, name)}: expected at least "
                f"data.sampler.{name}={getattr(sampler, name)}"
            )


@contextlib.contextmanager
def opened(
    config: Config,
    variables,
    workdir,
    *,
    first_step: int,
    process_index: int,
    process_count: int,
    progress,
    tell=lambda text: None,
):
    """This process's `FeaturePool`, ready for step `first_step`; makes what is missing of it.

    Args:
      variables: {"params", "batch_stats"}, numpy; the frozen part of the backbone is used.
      workdir: of the run; the pool's place unless `feature_pool.dir` names another.
      progress: called with (samples done, samples needed to begin) now and then.
      tell: called with what has to be made before the first step, if anything.

    Raises:
      ValueError: there is a pool made from something else or one that another run is making, the
        disk is too small, or a feature is not finite.
    """
    pool = config.training.feature_pool
    samples = pool.samples // process_count
    kept = None if pool.uses is None else CHUNK * (1 + math.ceil(_SPARE * samples / CHUNK))
    slots = samples + 2 * (kept or 0)
    folder = Path(pool.dir) if pool.dir else Path(workdir) / FOLDER
    folder = folder / f"{process_index}-of-{process_count}"
    extract = maker.extractor(config, variables)
    shares = {"process_index": process_index, "process_count": process_count}
    with contextlib.ExitStack() as stack:
        if kept is not None or not is_whole(folder, slots):
            busy = f"{folder}: another training or study makes features there: wait for it, or "
            busy += "choose another folder for them"
            stack.enter_context(files.alone(folder / ".lock", ValueError(busy)))
        ring = maker.open_ring(config, variables, extract, folder, slots)
        made = stack.enter_context(maker.Maker(ring, config, extract, kept=kept, **shares))
        first = _first_in_use(config.training, first_step, process_count)
        there = ring.done - first if kept is None or ring.holds(first) else 0
        missing = samples - there
        if missing > 0:
            size = sum(array.nbytes for array in ring.maps.values()) / slots * missing
            tell(
                f"before the first step: features of {missing} samples, {size / 1e9:.2g} GB in "
                f"{folder}, about {made.seconds_for(missing) / 60:.2g} minutes here; they are kept "
                "(fewer: --training.feature-pool.samples, none: 0)"
            )
        made.wait_for(first, samples, progress)
        wait_for = lambda first: made.wait_for(first, samples)
        yield FeaturePool(ring.maps, ring.box_xywh, samples, wait_for)


def batches(pool: FeaturePool, config: Config, *, start_step: int, process_index, process_count):
    """Yields the batches `start_step`, ... : `Sample` of features with a leading [local batch].

    Batch k is a function of (seed, k): of the samples that are in use every one is drawn once an
    epoch, with frames and proposals drawn anew.
    """
    training = config.training
    local = training.global_batch // process_count
    order, epoch_of_order = None, None
    for step in itertools.count(start_step):
        first = _first_in_use(training, step, process_count)
        pool.wait_for(first)
        samples = []
        for position in range(step * local, (step + 1) * local):
            epoch, offset = divmod(position, pool.samples)
            if epoch != epoch_of_order:
                seed = (config.seed, epoch, process_index, _ORDER)
                order = np.random.default_rng(seed).permutation(pool.samples)
                epoch_of_order = epoch
            index = position * process_count + process_index
            draws = sample_draws(config.seed, index, _BATCH_DRAWS)
            # The newest sample in the place that the order names.
            number = first + (int(order[offset]) - first) % pool.samples
            samples.append(_sample(pool, number % len(pool.box_xywh), training, draws))
        yield jax.tree.map(lambda *leaves: np.stack(leaves), *samples)


def _first_in_use(training, step, process_count) -> int:
    """The oldest sample that step `step` draws from: one grows old after `uses` uses."""
    if training.feature_pool.uses is None:
        return 0
    used = step * (training.global_batch // process_count) / training.feature_pool.uses
    return int(used) // CHUNK * CHUNK


def _sample(pool, index, training, draws) -> Sample:
    config, data = training.feature_pool, training.data
    first = np.argsort(draws.uniforms(config.train_frames))[: data.sampler.train_frames]
    last = np.argsort(draws.uniforms(config.test_frames))[: data.sampler.test_frames]
    last = last + config.train_frames
    maps = lambda ids: {name: kept[index][ids] for name, kept in pool.maps.items()}
    boxes = pool.box_xywh[index]
    proposals, value, target = propose(boxes[last], data.proposals, draws)
    return Sample(
        train_crops=maps(first),
        train_box=boxes[first],
        train_brightness=np.ones(len(first), np.float32),
        test_crops=maps(last),
        test_box=boxes[last],
        test_brightness=np.ones(len(last), np.float32),
        proposals=proposals,
        proposal_value=value,
        proposal_target=target,
    )
