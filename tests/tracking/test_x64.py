"""`jax_enable_x64`, a flag of the surrounding program, changes nothing."""

import dataclasses
import functools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from dimp_jax.export import first_samples, windows
from dimp_jax.tracking import draws, online
from tests.support import ROOT, small_tracker
from tests.support.golden_files import inputs

pytestmark = pytest.mark.usefixtures("small_backbone")
BOX = inputs.clip_boxes()[0]
TRACK = """
import hashlib
import jax
from tests.support import small_tracker
from tests.support.golden_files import inputs

with small_tracker.small_backbone():
    tracker = small_tracker.make(small_tracker.settings("iou"))
    state = tracker.init(inputs.clip_frame(0), inputs.clip_boxes()[0], 3)
    for t in range(1, 7):
        state, result = tracker.step(state, inputs.clip_frame(t))
        print(result.box_xywh.tolist(), result.score, result.verdict.name)
for leaf in jax.tree.leaves((state.filt, state.memory, tracker.network.params)):
    print(leaf.dtype, hashlib.sha256(leaf.tobytes()).hexdigest())
"""


@pytest.mark.long
def test_same_bits_in_a_process_with_x64():
    printed = []
    for enabled in ("0", "1"):
        environment = {**os.environ, "JAX_ENABLE_X64": enabled}
        command = [sys.executable, "-c", TRACK]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        printed.append(done.stdout.splitlines())
    assert printed[0] == printed[1] and len(printed[0]) > 10
    assert len(set(printed[0][:6])) == 6, "it never moved: the comparison shows nothing"


def types(traced):
    """Of all that is computed in a jaxpr."""
    found = {str(v.aval.dtype) for eqn in traced.eqns for v in eqn.outvars}
    for eqn in traced.eqns:
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            found |= types(inner) if hasattr(inner, "eqns") else set()
    return found


class Spy:
    """Stands for a program: notes its types, and returns zeros."""

    def __init__(self, program):
        self.program, self.types = program, set()

    def __call__(self, *args, **static):
        call = lambda *args: self.program(*args, **static)
        traced = jax.make_jaxpr(call)(*args)
        self.types |= types(traced.jaxpr)
        return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), jax.eval_shape(call, *args))


@pytest.mark.parametrize("method", ["iou", "iou_relative", "scale_search"])
@pytest.mark.parametrize("update", ["memory", "moving_average"])
def test_programs_compute_in_float32(method, update):
    settings = small_tracker.settings(method)
    memory = dataclasses.replace(settings.memory, update=update)
    tracker = small_tracker.make(dataclasses.replace(settings, memory=memory))
    with jax.enable_x64():
        network = tracker.network
        spies = type(network.programs)(*map(Spy, network.programs))
        network, config = network._replace(programs=spies), tracker.config.tracker
        state = online.init(network, config, inputs.clip_frame(0), BOX, jax.random.key(0))
        online.step(network, config, state, inputs.clip_frame(1))
        stored = state.memory
        for insert, num_iter in online.learning_variants(config.memory):
            spies.learn(
                network.params,
                state.filt,
                stored,
                stored.feat[0],
                stored.box_xywh[0],
                np.float32(0.1),
                insert=insert,
                num_iter=num_iter,
            )
    for spy in spies:
        assert "float32" in spy.types and "float64" not in spy.types


@pytest.mark.parametrize("arithmetic", ["2019", "2020"])
def test_exported_crops_compute_in_float32(arithmetic):
    augment = small_tracker.settings().augment
    image, yx, side = np.zeros((40, 50, 3), np.uint8), np.float32([9, 20]), np.float32(30)
    options = {"border_mode": "inside", "max_scale_change": 1.5, "arithmetic": arithmetic}
    patch = np.zeros((96, 96, 3), np.float32)
    with jax.enable_x64():
        cut = functools.partial(windows.cut, output_px=64, **options)
        found = types(jax.make_jaxpr(cut)(image, yx, side).jaxpr)
        shifts = draws.for_init(jax.random.key(0), augment, 4)[0].shift
        samples = lambda *arrays: first_samples.make(arrays[0], augment, 64, *arrays[1:])
        found |= types(jax.make_jaxpr(samples)(patch, shifts, yx).jaxpr)
    assert "float32" in found and "float64" not in found


def test_draws():
    augment = small_tracker.settings().augment
    drawn = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            key = jax.random.key(5)
            drawn.append((draws.for_init(key, augment, 16)[0], draws.for_frame(key, 3, 4)))
    jax.tree.map(np.testing.assert_array_equal, *drawn)
