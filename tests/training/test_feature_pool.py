"""Features computed once: the same step as on crops, resumable, a function of seed and step."""

import collections
import dataclasses
import json

import jax
import numpy as np
import pytest

from dimp_jax.config.training import (
    CropConfig,
    DataConfig,
    FeaturePoolConfig,
    OptimConfig,
    ParallelConfig,
    ProposalConfig,
    SamplerConfig,
    SyntheticConfig,
)
from dimp_jax.data import loader
from dimp_jax.data.proposals import iou_xywh
from dimp_jax.data.source import Sample
from dimp_jax.models.feature_maps import FeatureMaps
from dimp_jax.training import feature_pool, steps
from tests.support import small_training
from tests.support.small_training import assert_close, tiny_network  # noqa: F401  (a fixture)

DATA = DataConfig(
    sampler=SamplerConfig(train_frames=2, test_frames=1),
    crop=CropConfig(size_px=64),
    proposals=ProposalConfig(count=4),
    synthetic=SyntheticConfig(num_sequences=20, size_hw_px=(64, 80)),
)
POOL = FeaturePoolConfig(samples=32, train_frames=3, test_frames=2, dtype="float32")
PROCESS = {"process_index": 0, "process_count": 1}


def settings(pool=POOL, **changes):
    changes = {
        "data": DATA,
        "global_batch": 4,
        "optim": OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",)),
        **changes,
    }
    return small_training.settings(small_training.TINY, feature_pool=pool, **changes)


def build(config, folder, process=PROCESS, progress=lambda done, total: None):
    variables = small_training.variables(small_training.TINY)
    return feature_pool.build(config, variables, folder, progress=progress, **process)


@pytest.fixture(scope="module")
def pool_dir(tmp_path_factory, tiny_network):  # noqa: F811  (the imported fixture)
    folder = tmp_path_factory.mktemp("run")
    build(settings(), folder)
    return folder


def batch(config, pool, step):
    return next(feature_pool.batches(pool, config, start_step=step, **PROCESS))


def equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_the_step_is_that_on_crops(pool_dir):
    """Losses and updates on pooled features are those on the crops that they were made from."""
    config = settings(parallel=ParallelConfig(batch_norm="per_device"))
    pool = build(config, pool_dir)
    pooled = batch(config, pool, 0)
    data = feature_pool._pool_data(config)
    sampler = loader.open_sampler(data, seed=config.seed, training=True)
    with loader.batches(
        sampler, data, seed=0, global_batch=32, start_step=0, training=True, **PROCESS
    ) as all_crops:
        crops = next(all_crops)
    # Which pooled sample and frame is it? Boxes are as good as names.
    boxes = np.concatenate([crops.train_box, crops.test_box], 1)
    images = np.concatenate([crops.train_crops, crops.test_crops], 1)
    light = np.concatenate([crops.train_brightness, crops.test_brightness], 1)

    def found(box):
        where = np.argwhere((boxes == box).all(-1))
        assert len(where) == 1
        return tuple(where[0])

    take = lambda array, wanted: np.stack([[array[found(b)] for b in row] for row in wanted])
    on_crops = pooled._replace(
        train_crops=take(images, pooled.train_box),
        train_brightness=take(light, pooled.train_box),
        test_crops=take(images, pooled.test_box),
        test_brightness=take(light, pooled.test_box),
    )
    state = steps.init_state(small_training.variables(small_training.TINY), config)
    step = jax.jit(steps.make_train_step(config))
    after_pooled, from_pool = step(state, pooled)
    after_crops, from_crops = step(state, on_crops)
    assert_close(from_pool, from_crops, 1e-4)
    assert_close(after_pooled.batch_stats, after_crops.batch_stats, 1e-5)


def test_batches_are_a_function_of_the_step(pool_dir):
    config = settings()
    pool = build(config, pool_dir)
    stream = feature_pool.batches(pool, config, start_step=0, **PROCESS)
    first = [next(stream) for _ in range(10)]  # over the end of the first epoch
    for step in (0, 3, 9):
        equal(first[step], batch(config, pool, step))
    assert isinstance(first[0], Sample) and isinstance(first[0].train_crops, FeatureMaps)
    assert first[0].train_crops.layer3.shape[:2] == (4, 2)
    assert first[0].test_crops.layer2.shape[:2] == (4, 1)
    # Each pooled sample once an epoch: every train frame belongs to another one of them.
    names = {tuple(box) for b in first[:8] for box in b.train_box[:, 0]}
    assert len(names) == 32
    others = {tuple(p.ravel()) for b in first for p in b.proposals}
    assert len(others) == 40  # drawn anew in the second epoch


def test_proposals_belong_to_their_frames(pool_dir):
    config = settings()
    sample = batch(config, build(config, pool_dir), 5)
    for b in range(4):
        overlaps = [iou_xywh(p, sample.test_box[b, 0]) for p in sample.proposals[b, 0]]
        np.testing.assert_allclose(overlaps, sample.proposal_value[b, 0], atol=1e-5)


def test_an_interrupted_pool_is_gone_on_with(pool_dir, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(done, total):
        assert (done, total) == (16, 32)
        raise Interrupted

    with pytest.raises(Interrupted):
        build(settings(), tmp_path, progress=stop)
    calls = []
    resumed = build(settings(), tmp_path, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(32, 32)]
    equal(tuple(resumed), tuple(build(settings(), pool_dir)))


def test_another_pool_is_refused(pool_dir):
    other = settings(data=dataclasses.replace(DATA, part_probability=0.5))
    with pytest.raises(ValueError, match="features of another data: choose another"):
        build(other, pool_dir)
    variables = small_training.variables(small_training.TINY)
    changed = jax.tree.map(lambda leaf: leaf + 1, variables)
    with pytest.raises(ValueError, match="features of another weights"):
        feature_pool.build(settings(), changed, pool_dir, progress=print, **PROCESS)


def test_processes_share_the_samples(tmp_path):
    shares = [
        build(settings(), tmp_path, process={"process_index": p, "process_count": 2})
        for p in range(2)
    ]
    assert [len(share.layer2) for share in shares] == [16, 16]
    assert not np.array_equal(shares[0].box_xywh, shares[1].box_xywh)


def test_half_precision_halves_the_file(pool_dir, tmp_path):
    small = build(settings(dataclasses.replace(POOL, dtype="float16")), tmp_path)
    large = build(settings(), pool_dir)
    assert small.layer2.nbytes * 2 == large.layer2.nbytes
    np.testing.assert_allclose(small.layer3, large.layer3, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"optim": OptimConfig()}, "the backbone is trained: set training.optim.frozen"),
        ({"pool": dataclasses.replace(POOL, samples=40)}, "expected a multiple of 16; nearest: "),
        (
            {"pool": dataclasses.replace(POOL, train_frames=1)},
            "feature_pool.train_frames=1: expected at least data.sampler.train_frames=2",
        ),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        feature_pool.check(settings(**changes), 1)


def test_a_full_disk_is_told_before(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(feature_pool.shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(ValueError, match="GB are free: set training.feature_pool.dir"):
        build(settings(), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_pool_json_names_what_it_is(pool_dir):
    card = json.loads((pool_dir / "feature_pool" / "0-of-1" / "pool.json").read_text())
    assert card["done"] == 32 and card["made_from"]["backbone"] == "resnet18"
