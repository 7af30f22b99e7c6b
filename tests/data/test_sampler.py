"""The frame sampler: what every draw obeys, sequences that can hardly be used, refusals."""

import dataclasses

import numpy as np
import pytest

from dimp_jax.config.training import SamplerConfig
from dimp_jax.data import sampler as sampling
from dimp_jax.data.draws import Draws, sample_draws
from dimp_jax.data.sampler import Sampler


class Sequences:
    def __init__(self, *visible, name="videos", is_video=True):
        self.name, self.is_video = name, is_video
        self._visible = [np.asarray(v, bool) for v in visible]

    def __len__(self):
        return len(self._visible)

    def visible(self, sequence):
        return self._visible[sequence]


def visible_at(length, *ids):
    visible = np.zeros(length, bool)
    visible[list(ids)] = True
    return visible


def draw_many(sampler, count=300):
    return [sampler.draw(sample_draws(0, index)) for index in range(count)]


HOLES = np.random.default_rng(0).uniform(size=200) < 0.4


@pytest.mark.parametrize("train,test", [(3, 3), (1, 1), (5, 2)])
@pytest.mark.parametrize("mode", ["causal", "interval"])
def test_frames_are_visible_and_near(mode, train, test):
    config = SamplerConfig(mode=mode, train_frames=train, test_frames=test, max_gap=20)
    sampler = Sampler((Sequences(HOLES),), (1.0,), config)
    reach = []
    for drawn in draw_many(sampler):
        assert len(drawn.train_ids) == train and len(drawn.test_ids) == test
        ids = np.array((*drawn.train_ids, *drawn.test_ids))
        assert HOLES[ids].all()
        base = drawn.train_ids[0]
        reach.append(np.abs(ids - base).max())
        if mode == "causal":
            assert train - 1 <= base < 200 - test
            assert max(drawn.train_ids) == base and drawn.train_ids.count(base) == 1
            assert min(drawn.test_ids) > base
    # Four in ten frames are visible: the gap grows only if the base is the first or the last.
    assert max(reach) <= 30 and np.mean(np.array(reach) <= 20) > 0.97


def test_interval_looks_both_ways():
    sampler = Sampler((Sequences(HOLES),), (1.0,), SamplerConfig(mode="interval"))
    offsets = np.array([np.array(d.test_ids) - d.train_ids[0] for d in draw_many(sampler)])
    assert (offsets < 0).any() and (offsets > 0).any() and offsets.min() >= -30


def test_every_frame_is_reached():
    sampler = Sampler((Sequences(np.ones(20, bool)),), (1.0,), SamplerConfig())
    drawn = draw_many(sampler, 500)
    assert {i for d in drawn for i in d.train_ids} == set(range(17))
    assert {i for d in drawn for i in d.test_ids} == set(range(3, 20))


def test_the_gap_grows_until_frames_are_found():
    """Frames 10 apart and a gap of 3: 3 + 5 + 5 is the first that reaches one on either side."""
    sampler = Sampler((Sequences(np.arange(200) % 10 == 0),), (1.0,), SamplerConfig(max_gap=3))
    drawn = draw_many(sampler, 100)
    assert {i for d in drawn for i in d.test_ids} <= set(range(0, 200, 10))
    nearest = [d.test_ids == (d.train_ids[0] + 10,) * 3 for d in drawn]
    assert np.mean(nearest) > 0.9


def test_a_base_draw_without_frames_goes_on():
    """Here the published sampler would crash: no visible frame can be a base."""
    visible = visible_at(30, 0, 1, *range(27, 30))
    config = SamplerConfig()
    assert sampling._attempt(visible, config, 30, sample_draws(0, 0)) is None
    assert sampling._draw_frames(visible, config, sample_draws(0, 0)) is None


def test_unusable_sequences_are_never_drawn():
    source = Sequences(
        np.ones(19, bool),  # too short
        visible_at(40, *range(12)),  # 12 visible frames: one too few
        visible_at(40, *range(13)),
        np.ones(20, bool),
    )
    drawn = draw_many(Sampler((source,), (1.0,), SamplerConfig()))
    assert {d.sequence for d in drawn} == {2, 3}


def test_one_usable_sequence_among_very_many_is_found():
    class Sparse(Sequences):
        def __len__(self):
            return 10**7

        def visible(self, sequence):
            return np.full(30, sequence % 10**5 == 7)

    drawn = Sampler((Sparse(),), (1.0,), SamplerConfig()).draw(sample_draws(0, 0))
    assert drawn.sequence % 10**5 == 7


def test_images_repeat_their_only_frame():
    images = Sequences([True], [False], [True], name="images", is_video=False)
    drawn = draw_many(Sampler((images,), (1.0,), SamplerConfig()), 60)
    assert {d.sequence for d in drawn} == {0, 2}
    assert {(d.train_ids, d.test_ids) for d in drawn} == {((0,) * 3, (0,) * 3)}


def test_sources_are_drawn_by_weight():
    videos = Sequences(np.ones(40, bool))
    sampler = Sampler((videos,) * 3, (1.0, 0.0, 3.0), SamplerConfig())
    counts = np.bincount([d.source for d in draw_many(sampler, 1000)], minlength=3)
    assert counts[1] == 0 and 200 < counts[0] < 300


def test_a_source_of_weight_zero_may_be_unusable():
    sources = (Sequences(np.ones(40, bool)), Sequences(np.ones(3, bool)))
    Sampler(sources, (1.0, 0.0), SamplerConfig())


@pytest.mark.parametrize(
    "source,message",
    [
        (
            Sequences(np.ones(19, bool), np.zeros(90, bool), name="tiny"),
            r"source 'tiny': none of its 2 sequences can be used; expected at least 20 frames "
            r"\(sampler.min_length\), the target visible in more than 12",
        ),
        (Sequences(name="empty"), "source 'empty': none of its 0 sequences"),
        (
            Sequences([False], name="photos", is_video=False),
            "source 'photos': none of its 1 images has a usable box",
        ),
    ],
)
def test_a_source_without_a_usable_sequence_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        Sampler((source,), (1.0,), SamplerConfig())


@pytest.mark.parametrize(
    "weights,message",
    [
        ((), "1 sources and 0 weights"),
        ((1.0, 2.0), "1 sources and 2 weights: expected one weight a source"),
        ((-1.0,), r"weights of the sources \[-1.0\]: expected numbers >= 0"),
        ((0.0,), r"\[0.0\].*one of them positive"),
        ((float("nan"),), "nan.*expected numbers >= 0"),
    ],
)
def test_weights_are_checked(weights, message):
    with pytest.raises(ValueError, match=message):
        Sampler((Sequences(np.ones(40, bool)),), weights, SamplerConfig())


@pytest.mark.parametrize(
    "change,message",
    [
        ({"mode": "random"}, "sampler.mode='random': expected 'causal' or 'interval'"),
        ({"train_frames": 0}, "sampler.train_frames=0: expected 1 or more"),
        ({"test_frames": 0}, "sampler.test_frames=0: expected 1 or more"),
        ({"max_gap": 0}, "sampler.max_gap=0: expected 1 or more"),
    ],
)
def test_options_are_checked(change, message):
    config = dataclasses.replace(SamplerConfig(), **change)
    with pytest.raises(ValueError, match=message):
        Sampler((Sequences(np.ones(40, bool)),), (1.0,), config)


class Scripted:
    """A stream that gives the listed numbers."""

    def __init__(self, *numbers):
        self._numbers = iter(numbers)

    def uniform(self, size=None):
        return next(self._numbers) if size is None else np.array([next(self._numbers)] * size)

    def standard_normal(self, size=None):
        return self.uniform(size)


def test_draws_by_hand():
    draws = Draws(Scripted(0.0, 0.999, 0.5, 0.5, 0.49, 0.51, 0.26), Scripted(2.0))
    assert draws.integer(3, 5) == 3 and draws.integer(3, 5) == 5
    assert draws.choice("abcd") == "c"
    assert draws.weighted_index((1.0, 1.0)) == 1  # a border belongs to the next
    assert draws.weighted_index((1.0, 1.0)) == 0
    assert draws.choices("abcd", 2) == ["c", "b"]
    assert draws.gausses(2) == [2.0, 2.0]


def test_a_sample_is_a_function_of_seed_and_index():
    numbers = lambda seed, index: (
        sample_draws(seed, index).uniforms(3).tolist(),
        sample_draws(seed, index).normals(3).tolist(),
    )
    assert numbers(1, 2) == numbers(1, 2)
    assert len({str(numbers(*pair)) for pair in ((1, 2), (2, 1), (1, 3), (0, 2))}) == 4
    assert sample_draws(1, 2).uniforms(2, 2).dtype == np.float32
