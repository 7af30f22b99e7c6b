"""The batches of all arms: features of one pool, and held-out ones."""

import jax
import numpy as np

from dimp_jax import config as configs
from dimp_jax.config import Config
from dimp_jax.training import feature_pool
from dimp_jax.training.feature_pool import FeaturePool
from dimp_jax.training.log import counted
from dimp_jax.training.validation import SEED as HELD_OUT_SEED

ONE_PROCESS = {"process_index": 0, "process_count": 1}


def pool_config(config: Config, samples: int, folder) -> Config:
    """`config` with a pool of its own number of frames and one box proposal, of no use here.

    The backbone is frozen, whatever `config` trains.
    """
    sampler, pool = config.training.data.sampler, "training.feature_pool."
    return configs.changed(
        config,
        {
            pool + "samples": samples,
            pool + "uses": None,
            pool + "train_frames": sampler.train_frames,
            pool + "test_frames": sampler.test_frames,
            pool + "dir": str(folder),
            "training.data.proposals.count": 1,
            "training.optim.frozen": ("backbone",),
        },
    )


def pools(config: Config, variables, out, held_out: int, console):
    """Builds what is missing of the pools.

    Args:
      config: from `pool_config`.
      variables: with the frozen backbone.
      held_out: samples that no arm is trained on: of `validation_sources`, if there are any, or the
        last ones of the pool, which are other draws from the same pictures and videos.

    Returns:
      (pool to train on, held-out pool), `FeaturePool`s.
    """
    feature_pool.check(config, 1)
    pool = _build(config, variables, out, "features", console)
    data = config.training.data
    if not data.validation_sources:
        cut = pool.samples - held_out
        return _part(pool, slice(cut)), _part(pool, slice(cut, None))
    other = {
        "training.data.sources": data.validation_sources,
        "training.data.validation_sources": (),
        "training.feature_pool.samples": held_out,
        "training.feature_pool.dir": str(out / "held_out"),
        "seed": HELD_OUT_SEED,
    }
    other = configs.changed(config, other)
    return pool, _build(other, variables, out, "held-out features", console)


def batches(pool: FeaturePool, config: Config, seeds, start: int):
    """Yields `Sample`s of features [seeds, B, ...], from step `start` on.

    Which samples of the pool a batch has, and which of their frames, is a function of the seed and
    the step.
    """
    of_seed = lambda seed: feature_pool.batches(
        pool, configs.changed(config, {"seed": seed}), start_step=start, **ONE_PROCESS
    )
    for each in zip(*map(of_seed, seeds), strict=True):
        yield jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def _build(config, variables, out, what, console):
    with (
        counted(console, what) as progress,
        feature_pool.opened(
            config, variables, out, first_step=0, progress=progress, **ONE_PROCESS
        ) as pool,
    ):
        return pool


def _part(pool, which):
    maps = {name: array[which] for name, array in pool.maps.items()}
    return FeaturePool(maps, pool.box_xywh[which], len(pool.box_xywh[which]))
