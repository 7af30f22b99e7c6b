"""When a frame is stored and when the filter is updated; which programs that takes."""

import dataclasses
import itertools

import pytest

from dimp_jax import config
from dimp_jax.config import MemoryConfig
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.online import learning_variants, plan_learning

NORMAL, HARD = Verdict.NORMAL, Verdict.HARD_NEGATIVE
UNCERTAIN, LOST = Verdict.UNCERTAIN, Verdict.NOT_FOUND
DEFAULT = MemoryConfig()  # rates 0.01 and 0.02, every 20 frames, 2 iterations, 1 if hard
LOW = MemoryConfig(low_score_threshold=0.5, low_score_iterations=7)
SPARSE = MemoryConfig(sample_interval=3, train_interval=4)


@pytest.mark.parametrize(
    ("settings", "frame", "verdict", "score", "expected"),
    [
        (DEFAULT, 2, NORMAL, 0.9, (True, 0, 0.01)),
        (DEFAULT, 20, NORMAL, 0.9, (True, 0, 0.01)),
        (DEFAULT, 21, NORMAL, 0.9, (True, 2, 0.01)),  # the first frame is 1
        (DEFAULT, 41, NORMAL, 0.0, (True, 2, 0.01)),
        (DEFAULT, 2, HARD, 0.9, (True, 1, 0.02)),
        (DEFAULT, 21, HARD, 0.9, (True, 1, 0.02)),  # not both
        (DEFAULT, 21, UNCERTAIN, 0.9, (False, 0, None)),
        (DEFAULT, 21, LOST, 0.1, (False, 0, None)),
        (LOW, 2, NORMAL, 0.5, (True, 0, 0.01)),
        (LOW, 2, NORMAL, 0.49, (True, 7, 0.01)),
        (LOW, 21, NORMAL, 0.49, (True, 7, 0.01)),  # before the interval
        (LOW, 21, NORMAL, 0.51, (True, 2, 0.01)),
        (LOW, 2, HARD, 0.49, (True, 1, 0.02)),  # after the hard negative
        (LOW, 2, UNCERTAIN, 0.49, (False, 0, None)),
        (SPARSE, 2, NORMAL, 0.9, (False, 0, 0.01)),
        (SPARSE, 3, NORMAL, 0.9, (True, 0, 0.01)),
        (SPARSE, 5, NORMAL, 0.9, (False, 2, 0.01)),
        (SPARSE, 9, NORMAL, 0.9, (True, 2, 0.01)),
        (SPARSE, 2, HARD, 0.9, (True, 1, 0.02)),
    ],
)
def test_plan(settings, frame, verdict, score, expected):
    insert, num_iter, rate = plan_learning(settings, frame, verdict, score)
    assert (insert, num_iter) == expected[:2]
    assert expected[2] is None or rate == expected[2]


VARIANTS = [
    DEFAULT,
    LOW,
    SPARSE,
    dataclasses.replace(LOW, sample_interval=4, train_interval=6),
    dataclasses.replace(SPARSE, train_interval=1),
    dataclasses.replace(DEFAULT, hard_negative_iterations=0, update_iterations=0),
    config.load("dimp18_vot18").tracker.memory,
    config.load("dimp50_vot19").tracker.memory,
]


@pytest.mark.parametrize("settings", VARIANTS)
def test_variants_are_all_that_is_planned(settings):
    planned = {
        plan_learning(settings, frame, verdict, score)[:2]
        for frame, verdict, score in itertools.product(range(2, 500), Verdict, (-1.0, 0.3, 9.0))
    }
    assert learning_variants(settings) == planned - {(False, 0)}


def test_default_variants():
    assert learning_variants(DEFAULT) == {(True, 0), (True, 1), (True, 2)}
    assert learning_variants(SPARSE) == {(True, 0), (True, 1), (True, 2), (False, 2)}
