"""Many sequences through a few lanes: refilling, failures, frames decoded ahead. Fake lanes."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from dimp_jax.evaluation.jobs import Tracked
from dimp_jax.evaluation.runners.lanes import track_many
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError
from dimp_jax.tracking.localize import Verdict
from tests.media.test_sequences import make_sequence, truncate


class FakeLanes:
    """Boxes move by one pixel a frame; a first box of width 1000 is refused, of 97 to 99 go bad."""

    def __init__(self, size=2):
        self.size, self.started, self.steps = size, [], []

    def empty(self):
        return (None,) * self.size

    def init(self, states, lane, image, box_xywh, seed=0):
        if box_xywh[2] == 1000:
            raise ValueError("the box is too large for this fake")
        if box_xywh[2] == 2000:
            raise RuntimeError("no memory")
        self.started.append((lane, seed))
        return (*states[:lane], np.array(box_xywh), *states[lane + 1 :])

    def step(self, states, images):
        self.steps.append(sum(image is not None for image in images))
        moved, results = list(states), [None] * self.size
        for lane, image in enumerate(images):
            if image is not None:
                moved[lane] = states[lane] + [1, 0, 0, 0]
                box = moved[lane] if moved[lane][2] != 99 else np.full(4, np.nan)
                score = np.nan if moved[lane][2] == 97 else 0.5
                results[lane] = SimpleNamespace(box_xywh=box, score=score, verdict=Verdict.NORMAL)
                if moved[lane][2] == 98:
                    results[lane] = ValueError("no window")
        return tuple(moved), results


def jobs_of(folder, counts):
    made = [
        sequences.load_sequence(make_sequence(folder / f"s{i}", count=count))
        for i, count in enumerate(counts)
    ]
    return [(sequence.name, sequence, 10 + i) for i, sequence in enumerate(made)]


def test_a_lane_that_ends_is_refilled(tmp_path):
    seen, lanes = [], FakeLanes()
    jobs = jobs_of(tmp_path, [3, 6, 1, 4])
    on_frame = lambda key, index, image, box, result: seen.append((key, index, box[0], result))
    done = dict(track_many(lanes, iter(jobs), on_frame=on_frame))
    assert {key: len(o.boxes) for key, o in done.items()} == {"s0": 3, "s1": 6, "s2": 1, "s3": 4}
    for key, outcome in done.items():
        np.testing.assert_array_equal(outcome.boxes[:, 0], 8 + np.arange(len(outcome.boxes)))
        assert outcome.times_s.shape == outcome.decode_s.shape == (len(outcome.boxes),)
        assert (outcome.times_s > 0).all() and (outcome.decode_s > 0).all()
        assert [s[1] for s in seen if s[0] == key] == list(range(len(outcome.boxes)))
    # s2 (one frame) and s3 follow s0 in lane 0, at once: both lanes take part in all five steps.
    assert lanes.started == [(0, 10), (1, 11), (0, 12), (0, 13)]
    assert lanes.steps == [2] * 5
    assert all((result is None) == (index == 0) for _, index, _, result in seen)


def test_failed_jobs_lose_nothing_else(tmp_path):
    jobs = jobs_of(tmp_path, [5, 5, 5, 5, 5, 5, 5])
    truncate(sorted((tmp_path / "s1" / "img").iterdir())[2])
    for place, width in ((2, 1000), (3, 99), (4, 98), (6, 97)):
        changed = np.array([8.0, 10.0, width, 12.0])
        key, sequence, seed = jobs[place]
        jobs[place] = (key, sequences.Sequence(key, sequence.frames, None, changed), seed)
    jobs.append(("drawn", sequences.Sequence("drawn", jobs[0][1].frames, None, None), 0))
    jobs.append(("oom", sequences.Sequence("oom", jobs[0][1].frames, None, np.full(4, 2000.0)), 0))
    done = dict(track_many(FakeLanes(), jobs))
    assert {key for key, outcome in done.items() if isinstance(outcome, Tracked)} == {"s0", "s5"}
    assert len(done["s0"].boxes) == len(done["s5"].boxes) == 5
    expected = {
        "s1": (InputError, "000003.jpg: the image is truncated"),
        "s2": (InputError, "s2: the box is too large for this fake"),
        "s3": (FloatingPointError, r"s3, frame 1: the tracker returned the box \[nan"),
        "s4": (ValueError, "no window"),
        "s6": (FloatingPointError, "s6, frame 1: the score is nan"),
        "drawn": (InputError, "drawn: no first box"),
        "oom": (RuntimeError, "no memory"),
    }
    for key, (kind, match) in expected.items():
        with pytest.raises(kind, match=match):
            raise done[key].error
    assert done["s1"].error.__traceback__ is not None
    assert done["s2"].error.__cause__.__traceback__ is not None


def decoders():
    return [thread for thread in threading.enumerate() if thread.name.startswith("frames of")]


def test_frames_are_decoded_ahead_within_bounds_and_threads_end(tmp_path):
    (job,) = jobs_of(tmp_path, [30])
    decoded = []

    class Counting:
        name, init_box = "counting", job[1].init_box

        def images(self):
            for label, image in job[1].images():
                decoded.append(label)
                yield label, image

    most = []
    on_frame = lambda key, index, *_: most.append(len(decoded) - index - 1)
    ((_, outcome),) = track_many(
        FakeLanes(), [("k", Counting(), 0)], prefetch_frames=3, on_frame=on_frame
    )
    assert len(outcome.boxes) == 30
    assert max(most) <= 5  # three wait, one is on its way into the queue, one was taken
    assert not decoders()
    running = track_many(FakeLanes(), jobs_of(tmp_path / "more", [2, 30, 30]))
    assert next(running)[0] == "s0"
    running.close()  # while two others are under way
    assert not decoders()


def test_an_observer_may_stop_everything(tmp_path):
    def stop(key, index, *_):
        if index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(track_many(FakeLanes(), jobs_of(tmp_path, [9, 9]), on_frame=stop))
    assert not decoders()
