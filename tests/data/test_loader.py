"""Batches: the same for any number of workers and hosts and from any start."""

import dataclasses
import itertools
import multiprocessing
import os
import re
import sys
import time

import numpy as np
import pytest

from dimp_jax.config.training import CropConfig, DataConfig, SamplerConfig
from dimp_jax.data import loader, sources
from dimp_jax.data.batch_slots import SLOTS
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.source import BrokenFrame, Frame, Sample
from dimp_jax.media.opencv import cv2

DATA = DataConfig(crop=CropConfig(size_px=32))


class Noise:
    """Sequence i is noise of seed i. Defined here, so that worker processes can import it."""

    name = "noise"
    is_video = True

    def __init__(self, broken=(), failing=(), deadly=()):
        self.broken, self.failing, self.deadly = broken, failing, deadly

    def __len__(self):
        return 40

    def visible(self, sequence):
        return np.ones(25, bool)

    def read(self, sequence, frame_ids):
        if sequence in self.broken:
            raise BrokenFrame(f"noise/{sequence}.jpg")
        if sequence in self.failing:
            raise OSError(f"disk of sequence {sequence} is gone")
        if sequence in self.deadly:
            os._exit(3)
        frames = []
        for frame_id in frame_ids:
            rng = np.random.default_rng((sequence, frame_id))
            image = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
            box = np.array((*rng.uniform(0, 40, 2), 12, 15), np.float32)
            frames.append(Frame(image, box))
        return frames


class Confession(Noise):
    """Says in an error which libraries its process has loaded, and how OpenCV is set."""

    def read(self, sequence, frame_ids):
        heavy = ("flax", "optax", "tensorflow_datasets", "tensorflow", "torch")
        loaded = [name for name in heavy if name in sys.modules]
        raise OSError(f"OpenCV threads: {cv2.getNumThreads()}, loaded: {loaded}")


def open_batches(source=None, data=DATA, **options):
    options = {
        "seed": 5,
        "global_batch": 4,
        "start_step": 0,
        "process_index": 0,
        "process_count": 1,
        "training": True,
    } | options
    sampler = Sampler((source or Noise(),), (1.0,), SamplerConfig())
    return loader.batches(sampler, data, **options)


def with_workers(count):
    return dataclasses.replace(DATA, num_workers=count)


def take(count, *args, **options):
    with open_batches(*args, **options) as batches:
        return list(itertools.islice(batches, count))


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        for name, x, y in zip(a._fields, a, b, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_shapes():
    (batch,) = take(1)
    assert batch.train_crops.shape == batch.test_crops.shape == (4, 3, 32, 32, 3)
    assert batch.train_box.shape == (4, 3, 4) and batch.proposals.shape == (4, 3, 8, 4)
    assert batch.proposal_value.shape == batch.proposal_target.shape == (4, 3, 8)
    assert all(type(array) is np.ndarray and np.isfinite(array).all() for array in batch)
    assert batch.train_crops.dtype == np.uint8 and batch.proposals.dtype == np.float32


def test_workers_change_nothing():
    """More batches than workers hold in advance; broken images are drawn over on the way."""
    expected = take(5, Noise(broken=range(8)))
    assert_equal(take(5, Noise(broken=range(8)), with_workers(2)), expected)
    assert not multiprocessing.active_children()


def test_batches_wait_for_a_slow_reader():
    """More of them than the shared memory has slots for."""
    expected = take(2 * SLOTS + 2)
    with open_batches(data=with_workers(1)) as batches:
        next(batches)
        time.sleep(0.5)  # the worker fills all slots
        read = [next(batches) for _ in expected[1:]]
    assert_equal(read, expected[1:])


def test_hosts_change_nothing():
    whole = take(3)
    shares = [take(3, process_index=p, process_count=2) for p in range(2)]
    joined = [
        Sample(*(np.concatenate(arrays) for arrays in zip(*pair, strict=True)))
        for pair in zip(*shares, strict=True)
    ]
    assert_equal(joined, whole)


@pytest.mark.parametrize("step", [1, 3])
def test_a_restart_goes_on_with_the_same_batch(step):
    assert_equal(take(2, start_step=step), take(step + 2)[step:])


class Counting(Noise):
    reads = 0

    def read(self, sequence, frame_ids):
        Counting.reads += 1
        return super().read(sequence, frame_ids)


def test_a_late_start_replays_nothing():
    Counting.reads = 0
    take(1, Counting(), start_step=10**9)
    assert Counting.reads <= 4 * (2 + 2 * loader.MAX_THREADS)


def test_seeds_and_samples_differ():
    first, second = take(2)
    (other,) = take(1, seed=6)
    crops = np.concatenate([b.train_crops for b in (first, second, other)])
    assert len({crop.tobytes() for crop in crops}) == 12


def test_validation_has_no_brightness():
    assert len(np.unique(take(1)[0].train_brightness)) == 12
    assert np.unique(take(1, training=False)[0].train_brightness) == [1.0]


def test_broken_images_are_counted():
    with open_batches(Noise(broken=range(20))) as batches:
        for _ in range(5):
            next(batches)
        assert set(batches.broken.counts) <= {f"noise/{i}.jpg" for i in range(20)}
        assert batches.broken.counts


def test_an_error_in_a_worker_is_raised_here():
    """It tells of light workers with one thread of OpenCV.

    Grain imports jax and Orbax itself where they are installed; nothing here adds to them.
    """
    with open_batches(Confession(), with_workers(1)) as batches:
        with pytest.raises(OSError, match=r"^OpenCV threads: 1, loaded: \[\]$"):
            next(batches)
    assert not multiprocessing.active_children()


def test_a_dead_worker_is_reported():
    with open_batches(Noise(deadly=range(40)), with_workers(1)) as batches:
        with pytest.raises(ChildProcessError, match="[Ww]orker .*exit code 3, .*fewer"):
            next(batches)


def test_an_error_in_this_process_is_raised():
    with open_batches(Noise(failing=range(40))) as batches, pytest.raises(OSError) as error:
        next(batches)
    assert re.fullmatch(r"disk of sequence \d+ is gone", str(error.value))


def test_closed_before_the_first_batch():
    batches = open_batches(Noise(), with_workers(2))
    batches.close()
    batches.close()
    assert not multiprocessing.active_children()
    with pytest.raises(ValueError, match="the batches have been closed"):
        next(batches)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"seed": -1}, "seed=-1, start_step=0: expected numbers >= 0"),
        ({"start_step": -3}, "start_step=-3: expected numbers >= 0"),
        ({"process_index": 2, "process_count": 2}, r"process_index=2: expected 0..1"),
        ({"global_batch": 7, "process_count": 2}, "7 does not divide over 2 hosts; .*: 6 or 8"),
        ({"global_batch": 1, "process_count": 4}, "1 does not divide over 4 hosts; nearest: 4"),
        ({"global_batch": 0}, "global_batch=0 .*nearest: 1"),
        ({"data": with_workers(-1)}, "data.num_workers=-1.*expected numbers >= 0"),
        ({"data": DataConfig(crop=CropConfig(size_px=-1))}, "crop.size_px=-1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        open_batches(**options)


@pytest.mark.parametrize("training,field", [(True, "sources"), (False, "validation_sources")])
def test_sources_are_needed(training, field):
    data = DataConfig(sources=(), validation_sources=())
    with pytest.raises(ValueError, match=f"training.data.{field} is empty"):
        loader.open_sampler(data, seed=0, training=training)


@pytest.mark.parametrize(
    "name,message",
    [
        ("got10k", "source 'got10k' is a built data set, .*training.data.data_dir .*TFDS_DATA_DIR"),
        ("got10k:", "source 'got10k:': expected NAME or NAME:SPLIT, such as got10k:val"),
        (":val", "source ':val': expected NAME or NAME:SPLIT"),
        ("a:b:c", "source 'a:b:c': expected NAME or NAME:SPLIT"),
        ("synthetic:val", "'synthetic' is generated and has no splits"),
    ],
)
def test_names_of_sources_are_checked(name, message, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match=message):
        sources.open_sources(DataConfig(), [name], seed=0)


def test_the_folder_of_data_sets(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/from/environment")
    assert sources.data_dir(DataConfig()) == "/from/environment"
    assert sources.data_dir(DataConfig(data_dir="/given")) == "/given"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert sources.data_dir(DataConfig()) is None


def test_synthetic_batches():
    """The default sources, from their names to a batch."""
    data = DataConfig(crop=CropConfig(size_px=32), validation_sources=(("synthetic", 1.0),))
    options = dict(seed=0, global_batch=2, start_step=0, process_index=0, process_count=1)
    for training in (True, False):
        sampler = loader.open_sampler(data, seed=0, training=training)
        with loader.batches(sampler, data, **options, training=training) as batches:
            batch = next(batches)
        assert batch.train_crops.shape == (2, 3, 32, 32, 3)
        assert (batch.test_brightness == 1).all() != training
