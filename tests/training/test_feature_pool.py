"""Features computed once: the same step as on crops, resumable, a function of seed and step."""

import collections
import dataclasses
import json
import re
import time

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
from dimp_jax.training.feature_pool import maker, ring
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


def opened(config, folder, first_step=0, process=PROCESS, variables=None):
    variables = variables or small_training.variables(small_training.TINY)
    progress = lambda done, total: None
    return feature_pool.opened(
        config, variables, folder, first_step=first_step, progress=progress, **process
    )


def build(config, folder, **changes):
    with opened(config, folder, **changes) as pool:
        return pool


@pytest.fixture(scope="module")
def pool_dir(tmp_path_factory, tiny_network):  # noqa: F811  (the imported fixture)
    folder = tmp_path_factory.mktemp("run")
    build(settings(), folder)
    return folder


def batch(config, pool, step):
    return next(feature_pool.batches(pool, config, start_step=step, **PROCESS))


def equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param(("backbone",), marks=pytest.mark.long),
        ("backbone/conv1", "backbone/layer1_0"),
    ],
)
def test_the_step_is_that_on_crops(frozen, tmp_path):
    """Losses and updates on pooled features are those on the crops that they were made from."""
    optim = OptimConfig(learning_rates=(("default", 1e-3),), frozen=frozen)
    config = settings(parallel=ParallelConfig(batch_norm="per_device"), optim=optim)
    pool = build(config, tmp_path)
    assert set(pool.maps) == ({"layer2_0", "layer3_0"} if frozen == ("backbone",) else {"layer1_0"})
    pooled = batch(config, pool, 0)
    data = maker.pool_data(config)
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
    assert first[0].train_crops["layer3_0"].shape[:2] == (4, 2)
    assert first[0].test_crops["layer2_0"].shape[:2] == (4, 1)
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


def test_an_interrupted_pool_is_gone_on_with(pool_dir, tmp_path, monkeypatch):
    class Interrupted(Exception):
        pass

    store, numbers = maker.store, []

    def interrupted(made, *args):
        if numbers:
            raise Interrupted
        numbers.append(made.done)
        store(made, *args)

    monkeypatch.setattr(maker, "store", interrupted)
    with pytest.raises(Interrupted):
        build(settings(), tmp_path)
    monkeypatch.setattr(
        maker, "store", lambda made, *a: numbers.append(made.done) or store(made, *a)
    )
    resumed = build(settings(), tmp_path)
    assert numbers == [0, 16]
    whole = build(settings(), pool_dir)
    equal((resumed.maps, resumed.box_xywh), (whole.maps, whole.box_xywh))


def card_of(folder):
    return (folder / "feature_pool" / "0-of-1" / "pool.json").read_text()


ROLLING = settings(dataclasses.replace(POOL, samples=16, uses=2.0))  # a new sample for each two


def test_a_rolling_pool_replaces_its_oldest_samples(tmp_path):
    """Step k uses samples 16 (k // 8) on: the boxes of the pool that keeps them all."""
    whole = build(settings(dataclasses.replace(POOL, samples=64)), tmp_path / "whole")
    names = {tuple(box): n for n, boxes in enumerate(whole.box_xywh) for box in boxes}
    with opened(ROLLING, tmp_path / "rolling") as pool:
        with pytest.raises(ValueError, match="another training or study makes .*: wait for it, or"):
            build(ROLLING, tmp_path / "rolling")
        assert len(pool.box_xywh) == 80  # in use, two chunks ahead and two behind
        stream = feature_pool.batches(pool, ROLLING, start_step=0, **PROCESS)
        for step in range(24):
            sample = next(stream)
            numbers = {names[tuple(box)] for boxes in sample.train_box for box in boxes}
            oldest = 16 * (step // 8)
            assert len(numbers) == 4 and numbers <= set(range(oldest, oldest + 16)), step
            number = names[tuple(sample.train_box[0, 0])]
            frame = int(
                np.flatnonzero((whole.box_xywh[number] == sample.train_box[0, 0]).all(1))[0]
            )
            expected = whole.maps["layer3_0"][number, frame]
            np.testing.assert_array_equal(sample.train_crops["layer3_0"][0, 0], expected)


@pytest.mark.parametrize(("resumed_at", "first_made"), [(35, 112), (27, 112), (3, 0)])
def test_a_resumed_rolling_pool_gives_the_same_batches(
    resumed_at, first_made, tmp_path, monkeypatch
):
    """From steps whose samples are there, and from one whose samples were overwritten."""
    with opened(ROLLING, tmp_path) as pool:
        stream = feature_pool.batches(pool, ROLLING, start_step=0, **PROCESS)
        whole = [next(stream) for _ in range(36)]
        deadline = time.monotonic() + 60
        while json.loads(card_of(tmp_path))["done"] < 112 and time.monotonic() < deadline:
            time.sleep(0.01)  # as far ahead as there is room
    store, made = maker.store, []
    monkeypatch.setattr(
        maker, "store", lambda ring, *args: made.append(ring.done) or store(ring, *args)
    )
    with opened(ROLLING, tmp_path, first_step=resumed_at) as pool:
        stream = feature_pool.batches(pool, ROLLING, start_step=resumed_at, **PROCESS)
        for expected in whole[resumed_at:]:
            equal(next(stream), expected)
    assert min(made, default=first_made) == first_made


def test_what_has_to_be_made_is_said_before(pool_dir, tmp_path):
    variables, told = small_training.variables(small_training.TINY), []
    more = {"first_step": 0, "progress": lambda done, total: None, "tell": told.append, **PROCESS}
    with feature_pool.opened(settings(), variables, pool_dir, **more):
        assert told == []  # all of it is there
        build(settings(), pool_dir)  # and so another run may use it
    with feature_pool.opened(settings(), variables, tmp_path, **more) as pool:
        (line,) = told
    size = sum(array.nbytes for array in pool.maps.values()) / 1e9
    assert line.startswith(f"before the first step: features of 32 samples, {size:.2g} GB in ")
    assert str(tmp_path) in line and re.search(r"about \S+ minutes here", line)


def test_another_pool_is_refused(pool_dir):
    other = settings(data=dataclasses.replace(DATA, part_probability=0.5))
    with pytest.raises(ValueError, match="features of another data: choose another"):
        build(other, pool_dir)
    variables = small_training.variables(small_training.TINY)
    changed = jax.tree.map(lambda leaf: leaf + 1, variables)
    with pytest.raises(ValueError, match="features of another weights"):
        build(settings(), pool_dir, variables=changed)


def test_processes_share_the_samples(tmp_path):
    shares = [
        build(settings(), tmp_path, process={"process_index": p, "process_count": 2})
        for p in range(2)
    ]
    assert [len(share.box_xywh) for share in shares] == [16, 16]
    assert not np.array_equal(shares[0].box_xywh, shares[1].box_xywh)


def test_half_precision_halves_the_file(pool_dir, tmp_path):
    small = build(settings(dataclasses.replace(POOL, dtype="float16")), tmp_path)
    large = build(settings(), pool_dir)
    assert small.maps["layer2_0"].nbytes * 2 == large.maps["layer2_0"].nbytes
    np.testing.assert_allclose(small.maps["layer3_0"], large.maps["layer3_0"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"optim": OptimConfig()}, "the backbone is trained: set training.optim.frozen"),
        (
            {"optim": OptimConfig(frozen=("backbone/layer1_0",))},  # not from the beginning
            "or its first parts (backbone/conv1 backbone/layer1_0 ...)",
        ),
        (
            {"pool": dataclasses.replace(POOL, uses=0.5)},
            "feature_pool.uses=0.5: expected 1 or more",
        ),
        ({"pool": dataclasses.replace(POOL, samples=40)}, "expected a multiple of 16; nearest: "),
        (
            {"pool": dataclasses.replace(POOL, train_frames=1)},
            "feature_pool.train_frames=1: expected at least data.sampler.train_frames=2",
        ),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        feature_pool.check(settings(**changes), 1)


def test_a_full_disk_is_told_before(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(ring.shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(ValueError, match="GB are free: set training.feature_pool.dir"):
        build(settings(), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_pool_json_names_what_it_is(pool_dir):
    card = json.loads(card_of(pool_dir))
    assert card["done"] == 32 and card["made_from"]["backbone"] == "resnet18"
