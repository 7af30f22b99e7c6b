"""Makes the samples of a feature pool, in a thread beside the training."""

import dataclasses
import hashlib
import json
import os
import threading
import time
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.config import Config, to_dict
from dimp_jax.data import loader
from dimp_jax.models import dimp
from dimp_jax.models.feature_maps import frozen_parts, kept_parts
from dimp_jax.training.feature_pool.ring import CHUNK, Ring

_REPORT_S = 0.5  # between two calls of `progress`


class Maker:
    """Makes the samples of a ring in order, as far as there is room; use it with `with`."""

    def __init__(
        self,
        ring: Ring,
        config: Config,
        extract,
        *,
        kept: int | None,
        process_index: int,
        process_count: int,
    ):
        """`extract`: from `extractor`.

        `kept`: samples older than those waited for that are not overwritten; None: no one is.
        """
        self._ring, self._kept = ring, kept
        self._config, self._extract = config, extract
        self._shares = {"process_index": process_index, "process_count": process_count}
        self._changed = threading.Condition()
        self._first = None  # the oldest sample in use
        self._error, self._closed, self._thread = None, False, None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def seconds_for(self, count: int) -> float:
        """About how long `count` samples take here, from a blank crop; compiles the extractor."""
        side, frames = self._config.training.data.crop.size_px, self._ring.box_xywh.shape[1]
        crop, brightness = np.zeros((1, side, side, 3), np.uint8), np.ones(1, np.float32)
        took_s = []
        for _ in range(4):  # the first compiles
            began = time.perf_counter()
            jax.block_until_ready(self._extract(crop, brightness))
            took_s.append(time.perf_counter() - began)
        return min(took_s[1:]) * frames * count / (os.cpu_count() or 1)

    def wait_for(self, first: int, count: int, progress=lambda done, total: None):
        """Returns when samples `first` to `first + count - 1` are there; older ones may then go.

        Raises what making them has raised.
        """
        with self._changed:
            if self._thread is None:
                if self._kept is not None and not self._ring.holds(first):
                    self._ring.restart(first)
                self._thread = threading.Thread(target=self._run, name="feature pool", daemon=True)
                self._first = first
                self._thread.start()
            self._first = first
            self._changed.notify_all()
            while self._error is None and self._ring.done < first + count:
                self._changed.wait(_REPORT_S)
                progress(min(self._ring.done - first, count), count)
            if self._error is not None:
                raise self._error

    def _run(self):
        try:
            self._make()
        except BaseException as error:  # it belongs to the thread that waits
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _make(self):
        if not self._room():
            return
        data = pool_data(self._config)
        sampler = loader.open_sampler(data, seed=self._config.seed, training=True)
        with loader.batches(
            sampler,
            data,
            seed=self._config.seed,
            global_batch=CHUNK * self._shares["process_count"],
            start_step=self._ring.done // CHUNK,
            training=True,
            **self._shares,
        ) as chunks:
            with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
                while self._room():
                    store(self._ring, next(chunks), self._extract, threads)
                    with self._changed:
                        self._ring.written()
                        self._changed.notify_all()

    def _room(self) -> bool:
        """Waits until another chunk fits; False at the end."""
        ring = self._ring
        if self._kept is None and ring.done >= ring.slots:
            return False
        fits = lambda: ring.done + CHUNK <= self._first + ring.slots - (self._kept or 0)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or fits())
            return not self._closed


def open_ring(config: Config, variables, extract, folder, slots: int) -> Ring:
    """The ring of one process in `folder`, with what it holds already; see `Ring`."""
    pool, side = config.training.feature_pool, config.training.data.crop.size_px
    crop = jax.ShapeDtypeStruct((1, side, side, 3), np.uint8)
    maps = jax.eval_shape(extract, crop, jax.ShapeDtypeStruct((1,), np.float32))
    maps = {name: jax.ShapeDtypeStruct(m.shape[1:], m.dtype) for name, m in maps.items()}
    frames = pool.train_frames + pool.test_frames
    made_from = _made_from(config, variables) | {"slots": slots}
    return Ring(folder, made_from, maps, frames, slots)


def pool_data(config: Config):
    """How the pool's samples are drawn."""
    data, pool = config.training.data, config.training.feature_pool
    sampler = dataclasses.replace(
        data.sampler, train_frames=pool.train_frames, test_frames=pool.test_frames
    )
    few = dataclasses.replace(data.proposals, count=1)  # drawn when a sample is used
    return dataclasses.replace(data, sampler=sampler, proposals=few)


def extractor(config: Config, variables):
    """Function of (crops [n, S, S, 3] uint8, brightness [n]) to the kept `FeatureMaps`."""
    parts, taps = dimp.backbone_parts(config.model.backbone)
    kept = kept_parts(parts, taps, config.training.optim.frozen)
    dtype = config.training.feature_pool.dtype
    net = dimp.DiMP(config.model, folded=True)
    backbone = {g: {"backbone": variables[g]["backbone"]} for g in ("params", "batch_stats")}
    params = dimp.fold(config.model, backbone)["params"]

    @jax.jit
    def extract(crops, brightness):
        lit = crops.astype(jnp.float32) * brightness[:, None, None, None]
        inputs = net.apply({}, jnp.clip(lit, 0.0, 255.0), method="normalize")
        maps = net.apply({"params": params}, inputs, method="features")
        return {name: maps[name].astype(dtype) for name in kept}

    return extract


def store(ring: Ring, sample, extract, threads):
    """Writes the features of the next `CHUNK` samples into their slots."""
    at = ring.done % ring.slots
    ring.box_xywh[at : at + CHUNK] = np.concatenate([sample.train_box, sample.test_box], axis=1)
    flat = lambda a, b: np.concatenate([a, b], axis=1).reshape(-1, *a.shape[2:])
    crops = flat(sample.train_crops, sample.test_crops)
    brightness = flat(sample.train_brightness, sample.test_brightness)

    def store_crop(index):
        made = extract(crops[index, None], brightness[index, None])
        for name, array in ring.maps.items():
            kept = np.asarray(made[name][0])
            if not np.isfinite(kept).all():
                raise ValueError(
                    f"a feature of the backbone is not finite as {kept.dtype}: set "
                    "training.feature_pool.dtype float32"
                )
            array[at + index // array.shape[1], index % array.shape[1]] = kept

    # One crop a core: it stays in the cache, and XLA runs much of this network on one core only.
    for _ in threads.map(store_crop, range(len(crops))):
        pass


def _made_from(config, variables):
    parts, _ = dimp.backbone_parts(config.model.backbone)
    frozen, digest = frozen_parts(parts, config.training.optim.frozen), hashlib.sha256()
    for group in ("params", "batch_stats"):
        weights = {part: variables[group]["backbone"][part] for part in frozen}
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
    data = to_dict(pool_data(config))
    # What a run may change, too (workdir.py), or what is drawn when a sample is used.
    for name in ("data_dir", "validation_sources", "proposals", "num_workers", "prefetch_batches"):
        del data[name]
    for name in ("cutouts_dir", "backgrounds_dir"):
        del data["composite"][name]
    pool = to_dict(config.training.feature_pool)
    for name in ("dir", "uses"):  # of one that rolls, any sample can be made again
        del pool[name]
    made_from = {
        "backbone": config.model.backbone,
        "frozen": frozen,
        "weights": digest.hexdigest(),
        "data": data,
        "feature_pool": pool,
        "seed": config.seed,
    }
    return json.loads(json.dumps(made_from))
