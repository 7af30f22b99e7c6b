"""Backbone features of a pool of crops, made once: of a frozen backbone they do not change.

DIR/<p>-of-<n>/ of process p among n:
  layer2.npy, layer3.npy   [samples, frames, ...] features; train frames first
  boxes.npy                [samples, frames, 4] float32 x, y, w, h in crop pixels
  pool.json                what it was made from, and how many samples are done

A pool that was interrupted is gone on with; one made from something else is refused.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import shutil
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.config import Config, to_dict
from dimp_jax.data import loader
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.samples import propose
from dimp_jax.data.source import Sample
from dimp_jax.models import dimp
from dimp_jax.models.feature_maps import FeatureMaps

FOLDER = "feature_pool"
CHUNK = 16  # samples between two records of how many are done
_BATCH_DRAWS = 1  # purpose of the draws: not those from which the pool's samples were made
_ORDER = 2


class FeaturePool(NamedTuple):
    """The samples of one process, on disk and mapped into memory."""

    layer2: np.ndarray  # [n, F, S / 8, S / 8, C2]
    layer3: np.ndarray  # [n, F, S / 16, S / 16, C3]
    box_xywh: np.ndarray  # [n, F, 4]


def check(config: Config, process_count: int) -> None:
    """Raises ValueError if a pool is asked for and cannot be: says why."""
    training, pool = config.training, config.training.feature_pool
    if pool.samples == 0:
        return
    if "backbone" not in training.optim.frozen:
        raise ValueError(
            f"feature_pool.samples={pool.samples} keeps features of a backbone that does not "
            "change, but the backbone is trained: set training.optim.frozen backbone, or "
            "feature_pool.samples 0"
        )
    if pool.samples % (process_count * CHUNK):
        unit = process_count * CHUNK
        nearest = max(round(pool.samples / unit), 1) * unit
        raise ValueError(
            f"feature_pool.samples={pool.samples}: expected a multiple of {unit}; nearest: "
            f"{nearest}"
        )
    sampler = training.data.sampler
    for name in ("train_frames", "test_frames"):
        if getattr(pool, name) < getattr(sampler, name):
            raise ValueError(
                f"feature_pool.{name}={getattr(pool, name)}: expected at least "
                f"data.sampler.{name}={getattr(sampler, name)}"
            )


def build(config: Config, variables, workdir, *, process_index: int, process_count: int, progress):
    """Makes the pool, or what is missing of it.

    Args:
      variables: {"params", "batch_stats"}, numpy; of the backbone alone it depends.
      workdir: of the run; the pool's place unless `feature_pool.dir` names another.
      progress: called with (samples done, samples in all) now and then.

    Returns:
      A `FeaturePool` of this process's share.

    Raises:
      ValueError: there is a pool made from something else, the disk is too small, or a feature is
        not finite.
    """
    pool = config.training.feature_pool
    count = pool.samples // process_count
    folder = Path(pool.dir) if pool.dir else Path(workdir) / FOLDER
    folder = folder / f"{process_index}-of-{process_count}"
    made_from = _made_from(config, variables)
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(folder, made_from)
    frames, side = pool.train_frames + pool.test_frames, config.training.data.crop.size_px
    extract = _extractor(config, variables, pool.dtype)
    layer2, layer3 = jax.eval_shape(extract, jnp.zeros((1, side, side, 3), np.uint8), jnp.ones(1))
    shapes = {
        "layer2": (layer2.shape[1:], pool.dtype),
        "layer3": (layer3.shape[1:], pool.dtype),
        "boxes": ((4,), "float32"),
    }
    _check_space(folder, count * frames, shapes.values(), done / count)
    arrays = [
        _open(folder / f"{name}.npy", (count, frames, *shape), dtype)
        for name, (shape, dtype) in shapes.items()
    ]
    if done < count:
        data = _pool_data(config)
        sampler = loader.open_sampler(data, seed=config.seed, training=True)
        with loader.batches(
            sampler,
            data,
            seed=config.seed,
            global_batch=CHUNK * process_count,
            start_step=done // CHUNK,
            process_index=process_index,
            process_count=process_count,
            training=True,
        ) as chunks:
            with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
                for sample in itertools.islice(chunks, (count - done) // CHUNK):
                    _store(arrays, sample, done, extract, threads)
                    done += CHUNK
                    _record(folder, arrays, made_from, done)
                    progress(done, count)
    return FeaturePool(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes))


def batches(pool: FeaturePool, config: Config, *, start_step: int, process_index, process_count):
    """Yields the batches `start_step`, ... : `Sample` of features with a leading [local batch].

    Batch k is a function of (pool, seed, k): every pooled sample is used once an epoch, with frames
    and proposals drawn anew.
    """
    training = config.training
    local = training.global_batch // process_count
    order, epoch_of_order = None, None
    for step in itertools.count(start_step):
        samples = []
        for position in range(step * local, (step + 1) * local):
            epoch, offset = divmod(position, len(pool.layer2))
            if epoch != epoch_of_order:
                seed = (config.seed, epoch, process_index, _ORDER)
                order = np.random.default_rng(seed).permutation(len(pool.layer2))
                epoch_of_order = epoch
            index = position * process_count + process_index
            draws = sample_draws(config.seed, index, _BATCH_DRAWS)
            samples.append(_sample(pool, int(order[offset]), training, draws))
        yield jax.tree.map(lambda *leaves: np.stack(leaves), *samples)


def _sample(pool, index, training, draws) -> Sample:
    config, data = training.feature_pool, training.data
    first = np.argsort(draws.uniforms(config.train_frames))[: data.sampler.train_frames]
    last = np.argsort(draws.uniforms(config.test_frames))[: data.sampler.test_frames]
    last = last + config.train_frames
    maps = lambda ids: FeatureMaps(pool.layer2[index][ids], pool.layer3[index][ids])
    boxes = pool.box_xywh[index]
    drawn = [propose(box, data.proposals, draws) for box in boxes[last]]
    proposals, value, target = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
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


def _pool_data(config):
    data, pool = config.training.data, config.training.feature_pool
    sampler = dataclasses.replace(
        data.sampler, train_frames=pool.train_frames, test_frames=pool.test_frames
    )
    few = dataclasses.replace(data.proposals, count=1)  # drawn when a sample is used
    return dataclasses.replace(data, sampler=sampler, proposals=few)


def _extractor(config, variables, dtype):
    """Function of (crops [n, S, S, 3] uint8, brightness [n]) to (layer2, layer3)."""
    net = dimp.DiMP(config.model, folded=True)
    backbone = {g: {"backbone": variables[g]["backbone"]} for g in ("params", "batch_stats")}
    params = dimp.fold(config.model, backbone)["params"]

    @jax.jit
    def extract(crops, brightness):
        lit = crops.astype(jnp.float32) * brightness[:, None, None, None]
        inputs = net.apply({}, jnp.clip(lit, 0.0, 255.0), method="normalize")
        maps = net.apply({"params": params}, inputs, method="features")
        return maps["layer2"].astype(dtype), maps["layer3"].astype(dtype)

    return extract


def _store(arrays, sample, at, extract, threads):
    layer2, layer3, boxes = arrays
    boxes[at : at + CHUNK] = np.concatenate([sample.train_box, sample.test_box], axis=1)
    flat = lambda a, b: np.concatenate([a, b], axis=1).reshape(-1, *a.shape[2:])
    crops = flat(sample.train_crops, sample.test_crops)
    brightness = flat(sample.train_brightness, sample.test_brightness)

    def store(index):
        made = extract(crops[index, None], brightness[index, None])
        for array, maps in zip((layer2, layer3), made, strict=True):
            maps = np.asarray(maps[0])
            if not np.isfinite(maps).all():
                raise ValueError(
                    f"a feature of the backbone is not finite as {maps.dtype}: set "
                    "training.feature_pool.dtype float32"
                )
            array[at + index // array.shape[1], index % array.shape[1]] = maps

    # One crop a core: it stays in the cache, and XLA runs much of this network on one core only.
    for _ in threads.map(store, range(len(crops))):
        pass


def _check_space(folder, crops, shapes, share_done):
    """Raises ValueError where the rest would not fit: a full disk kills a process that maps it."""
    each = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in shapes)
    needed, free = crops * each * (1 - share_done), shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise ValueError(
            f"{folder}: the features need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: set "
            "training.feature_pool.dir to another disk, or fewer training.feature_pool.samples"
        )


def _open(path, shape, dtype):
    if path.exists():
        return np.load(path, mmap_mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _record(folder, arrays, made_from, done):
    for array in arrays:
        array.flush()
    partial = folder / "pool.json.partial"
    partial.write_text(json.dumps({"made_from": made_from, "done": done}, indent=2) + "\n")
    partial.replace(folder / "pool.json")


def _done(folder, made_from) -> int:
    """How many samples there are already."""
    path = folder / "pool.json"
    if not path.exists():
        for name in ("layer2", "layer3", "boxes"):  # of a build that recorded nothing yet
            (folder / f"{name}.npy").unlink(missing_ok=True)
        return 0
    found = json.loads(path.read_text())
    if found["made_from"] != made_from:
        wrong = sorted(k for k in made_from if found["made_from"].get(k) != made_from[k])
        raise ValueError(
            f"{folder}: features of another {' and '.join(wrong)}: choose another "
            "training.feature_pool.dir, or delete that folder to make them anew"
        )
    return found["done"]


def _made_from(config, variables):
    digest = hashlib.sha256()
    for group in ("params", "batch_stats"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables[group]["backbone"]):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
    data = to_dict(_pool_data(config))
    # What a run may change, too (workdir.py), or what is drawn when a sample is used.
    for name in ("data_dir", "validation_sources", "proposals", "num_workers", "prefetch_batches"):
        del data[name]
    for name in ("cutouts_dir", "backgrounds_dir"):
        del data["composite"][name]
    pool = to_dict(config.training.feature_pool)
    del pool["dir"]
    return json.loads(
        json.dumps(
            {
                "backbone": config.model.backbone,
                "weights": digest.hexdigest(),
                "data": data,
                "feature_pool": pool,
                "seed": config.seed,
            }
        )
    )
