"""How the filter learns after the first frame: from the memory, as a moving average, not at all."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.models.dimp import DiMP
from dimp_jax.predictor.predict import init_params, optimize_filter
from dimp_jax.tracking import memory as memories
from dimp_jax.tracking import online, programs
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.many.lanes import Lanes
from dimp_jax.tracking.many.programs import Stack
from dimp_jax.tracking.online import learning_variants, plan_learning
from dimp_jax.tracking.tracker import Tracker
from tests.export.test_export import BOX, FRAMES, means_tracker
from tests.support import small_tracker

pytestmark = pytest.mark.usefixtures("small_backbone")
MODEL = dataclasses.replace(small_tracker.MODEL, clf_channels=8)
AVERAGE = configs.MemoryConfig(update="moving_average", average_rate=0.3)
NONE = configs.MemoryConfig(update="none")
CELLS, CHANNELS = 8, MODEL.clf_channels  # of a 128 px crop


def params():
    """What learning needs of a network: the initialiser and the loss."""
    kernel = np.random.default_rng(0).standard_normal((3, 3, CHANNELS, CHANNELS))
    conv = {"kernel": jnp.float32(kernel / CHANNELS), "bias": jnp.zeros(CHANNELS)}
    return {"filter_init": {"conv": conv}, "predictor": init_params(MODEL.predictor)}


def sample(seed):
    """Features [H, W, C] and a box in crop pixels."""
    rng = np.random.default_rng(seed)
    feat = 0.1 * rng.standard_normal((CELLS, CELLS, CHANNELS)).astype(np.float32)
    return feat, np.array([40, 36, 44, 52], np.float32) + np.float32(seed)


def learning(memory):
    """The programs of a tracker that differs in nothing but how it learns."""
    return programs.build(MODEL, small_tracker.settings("scale_search", memory=memory))


@pytest.mark.parametrize(
    ("settings", "frame", "verdict", "expected"),
    [
        (AVERAGE, 2, Verdict.NORMAL, (False, 0, 0.3)),
        (AVERAGE, 21, Verdict.NORMAL, (False, 2, 0.3)),
        (AVERAGE, 2, Verdict.HARD_NEGATIVE, (False, 1, 0.3)),
        (AVERAGE, 21, Verdict.UNCERTAIN, (False, 0, 0.3)),
        (AVERAGE, 21, Verdict.NOT_FOUND, (False, 0, 0.3)),
        (dataclasses.replace(AVERAGE, train_interval=1), 2, Verdict.NORMAL, (False, 2, 0.3)),
    ],
)
def test_plan_of_a_moving_average(settings, frame, verdict, expected):
    assert plan_learning(settings, frame, verdict, 0.9) == expected


def test_without_updates_nothing_is_planned():
    for frame, verdict in itertools.product(range(2, 60), Verdict):
        assert plan_learning(NONE, frame, verdict, 0.9)[:2] == (False, 0)
    assert learning_variants(NONE) == set()
    assert learning_variants(AVERAGE) == {(False, 1), (False, 2)}


def test_a_moving_average_is_the_formula():
    """(1 - rate) old + rate new; new: initialiser and iterations on the one sample."""
    (feat, box), weights = sample(0), params()
    filt = np.random.default_rng(1).standard_normal((4, 4, CHANNELS)).astype(np.float32)
    learn = learning(AVERAGE).learn
    run = lambda rate: learn(
        weights, filt, None, feat, box, np.float32(rate), insert=False, num_iter=2
    )
    net = DiMP(MODEL, folded=True)

    @jax.jit
    def predicted():
        apply = lambda *args, method: net.apply({"params": weights}, *args, method=method)
        first = apply(feat[None], box[None], method="initial_filter")
        loss = apply(method="loss_parameters")
        one = (feat[None], box[None], jnp.ones(1))
        return optimize_filter(loss, first, *one, MODEL.predictor, num_iter=2)

    new = predicted()
    mixed, _, losses = run(0.3)
    np.testing.assert_allclose(mixed, 0.7 * filt + 0.3 * new.last, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses, new.losses, rtol=1e-4)
    assert losses.shape == (3,) and losses[-1] < losses[0]
    np.testing.assert_allclose(run(1.0)[0], new.last, rtol=1e-4, atol=1e-6)
    assert learn._cache_size() == 1


def test_lanes_average_like_the_single_tracker():
    """Two of three lanes are due, with different iterations; the third keeps its bits."""
    settings = small_tracker.settings("scale_search", memory=AVERAGE)
    config = configs.Config(model=MODEL, tracker=settings)
    single = programs.build(MODEL, settings)
    network = online.Network(params(), single, CHANNELS, 4)
    lanes = Lanes(Tracker(config, network), 3, "vmap")
    feats, boxes = map(np.stack, zip(*map(sample, range(3)), strict=True))
    filt = np.random.default_rng(1).standard_normal((3, 4, 4, CHANNELS)).astype(np.float32)
    memory = memories.create(jnp.asarray(feats), jnp.asarray(boxes), 3)  # of no matter
    stack = Stack(jnp.asarray(filt), memory, None, None)
    plans = {0: (False, 2, 0.3), 1: (False, 0, 0.3), 2: (False, 1, 0.3)}
    learned = lanes._learn(stack, jnp.asarray(feats), jnp.asarray(boxes), plans)
    for lane, (insert, num_iter, rate) in plans.items():
        if not num_iter:
            np.testing.assert_array_equal(learned.filt[lane], filt[lane])
            continue
        expected, _, _ = single.learn(
            network.params,
            filt[lane],
            None,
            feats[lane],
            boxes[lane],
            np.float32(rate),
            insert=insert,
            num_iter=num_iter,
        )
        np.testing.assert_allclose(learned.filt[lane], expected, rtol=1e-4, atol=1e-6)
        assert np.abs(expected - filt[lane]).max() > 0.01
    assert lanes.programs.update._cache_size() == 2 and lanes.programs.store._cache_size() == 0


def test_a_tracker_without_updates_keeps_its_filter_bit_for_bit():
    tracker = means_tracker("iou", "inside", "2019", 4, update="none")
    first = state = tracker.init(FRAMES[0], BOX, 7)
    verdicts = set()
    for frame in FRAMES[1:]:
        state, result = tracker.step(state, frame)
        verdicts.add(result.verdict)
    assert {Verdict.NORMAL, Verdict.HARD_NEGATIVE} <= verdicts, "the case shows too little"
    assert tracker.network.programs.learn._cache_size() == 0
    np.testing.assert_array_equal(state.filt, first.filt)
    for one, other in zip(
        jax.tree.leaves(state.memory), jax.tree.leaves(first.memory), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_no_slots_are_kept_for_samples_that_never_come():
    shape = jax.ShapeDtypeStruct
    image, box = shape((1, 128, 128, 3), jnp.float32), shape((1, 4), jnp.float32)
    made = jax.eval_shape(DiMP(MODEL, folded=True).init, jax.random.key(0), image, box)
    started = jax.eval_shape(
        learning(NONE).start,
        made["params"],
        shape((13, 128, 128, 3), jnp.float32),
        shape((15, 4), jnp.float32),
        shape((2, CHANNELS), jnp.float32),
    )
    assert started.memory.feat.shape == (15, CELLS, CELLS, CHANNELS)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"memory\.average_rate=.*above 0 and at most 1"):
        learning(dataclasses.replace(AVERAGE, average_rate=rate))


def test_an_unknown_update_is_refused():
    memory = dataclasses.replace(AVERAGE, update="mean")
    with pytest.raises(ValueError, match="memory.update='mean': expected one of memory, moving_av"):
        learning(memory)
