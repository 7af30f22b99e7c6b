"""A tracker with PrDiMP's parts: the same boxes one by one, in lanes, and exported."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.export import __main__ as command
from dimp_jax.tracking.many.lanes import Lanes
from dimp_jax.tracking.tracker import Tracker, make_network
from tests.support import small_training
from tests.support.golden_files import inputs
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

PRDIMP = configs.load("prdimp50")
MODEL = dataclasses.replace(small_training.TINY, predictor=PRDIMP.model.predictor)
FRAMES = [inputs.clip_frame(t) for t in range(8)]
# At the image's border, so that the window is moved and shrunk; then the whole of it is too large.
BOXES = ((4.0, 180.0, 40.0, 50.0), (90.0, 20.0, 120.0, 200.0))


@pytest.fixture(scope="module")
def tracker(tiny_network):  # noqa: F811  (its fixture)
    """Softmax localisation, relative refinement, windows inside the image, Newton steps."""
    settings = dataclasses.replace(
        PRDIMP.tracker,
        crop_size_px=64,
        augment=configs.AugmentConfig(shifts=(), blur_sigmas_px=(), rotations_deg=()),
        memory=configs.MemoryConfig(
            size=8, train_interval=2, init_iterations=2, hard_negative_iterations=2
        ),
        localize=dataclasses.replace(PRDIMP.tracker.localize, hard_negative_threshold=2.0),
        refine=dataclasses.replace(PRDIMP.tracker.refine, iterations=2, num_random_boxes=2),
    )
    whole = configs.Config(model=MODEL, tracker=settings)
    return Tracker(whole, make_network(whole, small_training.variables(MODEL)))


@pytest.fixture(scope="module")
def alone(tracker):
    """Boxes [2, T, 4] and scores [2, T] of the single tracker."""
    boxes, scores = [], []
    for box in BOXES:
        state = tracker.init(FRAMES[0], box, seed=3)
        results = []
        for frame in FRAMES[1:]:
            state, result = tracker.step(state, frame)
            results.append(result)
        boxes.append([r.box_xywh for r in results])
        scores.append([r.score for r in results])
    boxes, scores = np.array(boxes), np.array(scores)
    assert np.isfinite(boxes).all() and np.ptp(boxes, axis=1).max() > 1
    # Probabilities; 1 / 25 would be of a filter that says nothing.
    assert (scores > 1 / 25).all() and (scores < 1).all()
    return boxes, scores


@pytest.mark.slow
def test_in_lanes(tracker, alone):
    lanes = Lanes(tracker, 2, "loop")
    states = lanes.empty()
    for lane, box in enumerate(BOXES):
        states = lanes.init(states, lane, FRAMES[0], box, seed=3)
    for t, frame in enumerate(FRAMES[1:]):
        states, results = lanes.step(states, [frame, frame])
        for lane, result in enumerate(results):
            np.testing.assert_allclose(result.box_xywh, alone[0][lane, t], atol=0.05)
            np.testing.assert_allclose(result.score, alone[1][lane, t], rtol=1e-3)


@pytest.mark.long
def test_exported(tracker, alone, tmp_path):
    command.write(tracker, tmp_path / "out", ("cpu",))
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    for index, box in enumerate(BOXES):
        state = run.init(FRAMES[0], box, 3)
        for t, frame in enumerate(FRAMES[1:]):
            state, box, score, _ = run.step(state, frame)
            np.testing.assert_allclose(box, alone[0][index, t], atol=0.05)
            np.testing.assert_allclose(score, alone[1][index, t], rtol=1e-3)
