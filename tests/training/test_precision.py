"""Which products of the tracker and of the training are exact: all but the network's, or all."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

import dimp_jax
from benchmarks.cost_model import sample_shapes
from dimp_jax.host.rounded_products import is_exact, products
from dimp_jax.models.dimp import init_variables
from dimp_jax.studies import accuracy
from dimp_jax.tracking import programs
from dimp_jax.training import steps
from tests.support import small_tracker, small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("small_backbone")
NETWORK = {"convolutions", "layers.py", "iou_net.py", "filter_init.py"}
PACKAGE = Path(dimp_jax.__file__).resolve().parent
SAMPLES, CROP_PX, CELLS = 3, 128, 8
shape = lambda *dims: jax.ShapeDtypeStruct(dims, np.float32)


def origin(eqn) -> str:
    """The file of dimp_jax whose line made an equation; its derivatives keep it.

    "convolutions" for all files of that folder.
    """
    files = (Path(frame.file_name).resolve() for frame in eqn.source_info.traceback.frames)
    file = next(file for file in files if PACKAGE in file.parents)
    return "convolutions" if file.parent.name == "convolutions" else file.name


def assert_policy(found, setting, exact, inexact=NETWORK):
    """`exact` and `inexact` are the files that products of either kind must come from."""
    if setting == "highest":
        assert len(found) > 1 and all(map(is_exact, found))
        exact, inexact = exact | inexact, set()
    assert {origin(eqn) for eqn in found if is_exact(eqn)} == exact
    assert {origin(eqn) for eqn in found if not is_exact(eqn)} == inexact
    if setting == "high":
        wanted = jax.lax.Precision.HIGH
        assert all(e.params["precision"] == (wanted, wanted) for e in found if not is_exact(e))


def tracked(setting, method, update="memory"):
    """The products of start, look and learn."""
    model = dataclasses.replace(small_tracker.MODEL, matmul_precision=setting)
    settings = small_tracker.settings(method)
    memory = dataclasses.replace(settings.memory, update=update)
    made = programs.build(model, dataclasses.replace(settings, memory=memory))
    params = jax.tree.map(lambda x: shape(*x.shape), small_tracker.make(settings).network.params)

    args = (
        params,
        shape(SAMPLES, CROP_PX, CROP_PX, 3),
        shape(SAMPLES + 2, 4),
        shape(2, model.clf_channels),
    )
    started = jax.eval_shape(made.start, *args)
    start = products(made.start, *args)
    count = len(programs.scale_factors(settings.refine))
    pose = (shape(2), shape(2), shape())
    uniforms = shape(settings.refine.num_random_boxes, 4)
    look = products(
        made.look,
        params,
        started.filt,
        started.modulation,
        shape(count, CROP_PX, CROP_PX, 3),
        pose,
        *(shape(2), shape(2), shape(count, 2), shape(count), uniforms),
    )
    feat = shape(CELLS, CELLS, model.clf_channels)
    learned = lambda filt, memory, *rest: made.learn(
        params, filt, memory, *rest, insert=True, num_iter=2
    )
    return start, look, products(learned, started.filt, started.memory, feat, shape(4), shape())


SOLVE = {"correlation.py", "target_maps.py", "solve.py"}


@pytest.mark.parametrize("setting", ["default", "high", "highest"])
def test_tracker(setting):
    start, look, learn = tracked(setting, "iou_relative")
    exact = SOLVE | {"roi_pool.py", "modulation.py"}
    assert_policy(start, setting, exact, NETWORK - {"filter_init.py"})
    assert_policy(look, setting, {"correlation.py", "roi_pool.py"}, NETWORK - {"filter_init.py"})
    assert len(learn) > 10 and all(map(is_exact, learn))


def test_tracker_without_iou_network():
    _, look, learn = tracked("default", "scale_search", "moving_average")
    assert_policy(look, "default", {"correlation.py"}, {"convolutions"})
    assert_policy(learn, "default", SOLVE | {"roi_pool.py"}, {"convolutions"})


def test_a_tracker_with_rounded_products():
    """Its filter is found in other features, by the same exact products."""
    tracker = small_tracker.make(small_tracker.settings("scale_search"))
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    start = lambda bits: accuracy.rounded_tracker(tracker, bits).init(image, (40, 30, 32, 24)).filt
    filt = tracker.init(image, (40, 30, 32, 24)).filt
    off = lambda got: np.abs(got - filt).max() / np.abs(filt).max()
    assert off(start(23)) < 1e-4 < off(start(7)) < 0.5


@pytest.mark.parametrize(
    ("model", "setting", "backend"),  # convolutions are others on a CPU
    [
        (small_training.TINY, "default", "cpu"),
        (small_training.TINY, "highest", "cpu"),
        (small_training.MODEL, "highest", "tpu"),
    ],
    ids=lambda value: getattr(value, "backbone", value),
)
def test_training(model, setting, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    model = dataclasses.replace(model, matmul_precision=setting)
    config = small_training.settings(model)
    variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    state = jax.eval_shape(lambda v: steps.init_state(v, config), variables)
    batch = sample_shapes(config, 2)
    for make in (steps.make_train_step, steps.make_eval_step):
        found = products(make(config), state, batch)
        assert_policy(found, setting, SOLVE | {"roi_pool.py", "filter_init.py"}, NETWORK)
