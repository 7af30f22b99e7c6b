"""The tracker on programs that an earlier process has traced: the same bits, without a trace."""

import dataclasses

import jax
import numpy as np
import pytest

from dimp_jax.host import traced
from dimp_jax.tracking import online, programs
from dimp_jax.tracking.many.lanes import Lanes
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = [pytest.mark.usefixtures("small_backbone"), pytest.mark.optimised]
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
FRAMES = [inputs.clip_frame(t) for t in range(12)]


def a_process(settings, build):
    """A tracker whose programs nobody has traced or compiled in this process."""
    plain = small_tracker.make(settings)
    made = build.__wrapped__(small_tracker.MODEL, settings)
    return dataclasses.replace(plain, network=plain.network._replace(programs=made))


def track(tracker):
    """All that a few frames give, as arrays."""
    state = tracker.init(FRAMES[0], BOX)
    seen = [state]
    for frame in FRAMES[1:]:
        state, result = tracker.step(state, frame)
        seen += [result.box_xywh, np.float64(result.score), int(result.verdict), state]
    return jax.tree.map(lambda a: jax.random.key_data(a) if _is_key(a) else np.asarray(a), seen)


def _is_key(leaf):
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("method", ["iou", "scale_search"])
def test_bits_and_compilations(method, tmp_path, monkeypatch):
    settings = small_tracker.settings(method)
    plain = track(a_process(settings, programs.build))
    monkeypatch.setattr(traced, "_folder", lambda: tmp_path)
    variants = online.learning_variants(settings.memory)
    export, exported = traced.export.export, []
    monkeypatch.setattr(
        traced.export, "export", lambda f, **k: exported.append(1) or export(f, **k)
    )
    for count in (2 + len(variants), 0):  # programs that are traced
        exported.clear()
        tracker = a_process(settings, programs.build_kept)
        tracker.warmup()
        compiled = [p._cache_size() for p in tracker.network.programs]
        assert compiled == [1, 1, len(variants)] and len(exported) == count
        found = track(tracker)
        assert [p._cache_size() for p in tracker.network.programs] == compiled
        assert jax.tree.structure(found) == jax.tree.structure(plain)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)
    assert len(list(tmp_path.iterdir())) == 2 + len(variants)


def test_lanes_compile_nothing_late(tmp_path, monkeypatch):
    monkeypatch.setattr(traced, "_folder", lambda: tmp_path)
    lanes = Lanes(a_process(small_tracker.settings("scale_search"), programs.build_kept), 2)
    lanes.warmup()
    counts = lambda: [p._cache_size() for p in (*lanes.programs, *lanes.tracker.network.programs)]
    compiled = counts()
    states = lanes.empty()
    for lane in range(2):
        states = lanes.init(states, lane, FRAMES[0], BOX)
    for frame in FRAMES[1:]:
        states, _ = lanes.step(states, [frame] * 2)
    states = lanes.init(states, 0, FRAMES[0], BOX)
    lanes.step(states, [FRAMES[1]] * 2)
    assert counts() == compiled


def test_code_of_others_is_not_kept(tmp_path, monkeypatch):
    """Its changes would go unnoticed."""
    monkeypatch.setattr(traced, "kept", lambda *_: pytest.fail("kept"))
    predictor = dataclasses.replace(small_tracker.MODEL.predictor, solver="mine:solve")
    model = dataclasses.replace(small_tracker.MODEL, predictor=predictor)
    programs.build_kept.__wrapped__(model, small_tracker.settings())
