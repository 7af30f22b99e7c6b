"""What crosses between host and device in a frame: crops and their places in, a report out."""

import functools

import jax
import numpy as np
import pytest

from dimp_jax.tracking import draws, online
from dimp_jax.tracking.many import programs as lane_programs
from dimp_jax.tracking.many.lanes import Lanes
from tests.support import small_tracker
from tests.support.golden_files import inputs

pytestmark = pytest.mark.usefixtures("small_backbone")
BOX = tuple(float(v) for v in inputs.clip_boxes()[0])
FRAMES = [inputs.clip_frame(t) for t in range(8)]


class OnDevice:
    """A result of a program. All that the host can do with it is to fetch it, which is counted."""

    def __init__(self, array, crossings):
        self.array, self.crossings = array, crossings

    def __array__(self, dtype=None, copy=None):
        self.crossings.append(("out", self.array.shape))
        return np.asarray(self.array, dtype)


def watched(program, name, crossings):
    """The program with its results `OnDevice`. Host arguments are put on the device in one call,
    which is counted: with the guard on, any other transfer to the device is an error."""

    def call(*args, **options):
        args = jax.tree.map(lambda x: x.array if isinstance(x, OnDevice) else x, args)
        leaves, structure = jax.tree.flatten(args)
        host = [i for i, leaf in enumerate(leaves) if not isinstance(leaf, jax.Array)]
        if host:
            crossings.append((f"into {name}", [np.shape(leaves[i]) for i in host]))
            for i, leaf in zip(host, jax.device_put([leaves[i] for i in host]), strict=True):
                leaves[i] = leaf
        results = program(*jax.tree.unflatten(structure, leaves), **options)
        return jax.tree.map(lambda leaf: OnDevice(leaf, crossings), results)

    return call


def watched_all(programs, crossings):
    named = programs._asdict().items()
    return type(programs)(*(watched(program, name, crossings) for name, program in named))


def test_a_frame_of_the_tracker(monkeypatch):
    tracker, crossings = small_tracker.make(small_tracker.settings()), []
    programs = watched_all(tracker.network.programs, crossings)
    network, config = tracker.network._replace(programs=programs), tracker.config.tracker
    for_frame = draws.for_frame

    def draw(key, frame, num_boxes):
        program = functools.partial(for_frame, num_boxes=num_boxes)
        return watched(program, "draw", crossings)(key, frame)

    monkeypatch.setattr(draws, "for_frame", draw)
    state, learned = online.init(network, config, FRAMES[0], BOX, jax.random.key(0)), 0
    crossings.clear()
    for image in FRAMES[1:]:
        with jax.transfer_guard_host_to_device("disallow"):
            state, result = online.step(network, config, state, image)
        place = [(2,), (2,), (), (2,), (2,), (1, 2), (1,)]  # pose, first size, image; window
        expected = [("into draw", [()]), ("into look", [(1, 128, 128, 3), *place]), ("out", (7,))]
        plan = online.plan_learning(config.memory, state.frame, result.verdict, result.score)
        if any(plan[:2]):
            expected.append(("into learn", [()]))  # the rate
            learned += 1
        assert crossings == expected
        crossings.clear()
    assert 0 < learned


def test_a_frame_of_lanes(monkeypatch):
    tracker, crossings = small_tracker.make(small_tracker.settings()), []
    lanes = Lanes(tracker, 2, "vmap")
    plain = lanes.programs
    monkeypatch.setattr(lane_programs, "build", lambda *_: watched_all(plain, crossings))
    states = lanes.empty()
    for lane in range(2):
        states = lanes.init(states, lane, FRAMES[0], BOX, seed=lane)
    crossings.clear()
    seen = set()
    for image in FRAMES[1:]:
        with jax.transfer_guard_host_to_device("disallow"):
            states, results = lanes.step(states, [image] * 2)
        kinds = [kind for kind, _ in crossings]
        assert kinds[:2] == ["into look", "out"] and crossings[1] == ("out", (2, 7))
        stored = kinds[2:3] == ["into store"]
        assert set(kinds[2 + stored :]) <= {"into update"}  # one for each number of iterations
        # Masks, rates and the numbers of lanes.
        assert all(shape in [(2,), (4,)] for _, shapes in crossings[2:] for shape in shapes)
        seen.update(kinds)
        crossings.clear()
    assert seen == {"into look", "out", "into store", "into update"}
