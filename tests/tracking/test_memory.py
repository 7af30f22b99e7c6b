"""The sample memory: which slot is replaced, and what the weights are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.tracking import memory

SIZE, NUM_INIT = 8, 3
insert = jax.jit(memory.insert, static_argnums=4)


def create(size=SIZE, num_init=NUM_INIT):
    return memory.create(jnp.zeros((num_init, 1, 1, 1)), jnp.zeros((num_init, 4)), size)


def add(mem, number, rate=0.01, minimum=0.0):
    """A sample whose features and box are its number."""
    return insert(
        mem, jnp.full((1, 1, 1), number * 1.0), jnp.full(4, number * 1.0), np.float32(rate), minimum
    )


def test_create():
    feat = jnp.arange(6.0).reshape(3, 1, 1, 2)
    box = jnp.arange(12.0).reshape(3, 4)
    mem = memory.create(feat, box, 5)
    assert mem.feat.shape == (5, 1, 1, 2) and mem.box_xywh.shape == (5, 4)
    np.testing.assert_array_equal(mem.feat[:3], feat)
    np.testing.assert_array_equal(mem.box_xywh[:3], box)
    np.testing.assert_allclose(mem.weight, [1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert (int(mem.num_stored), int(mem.last_slot), mem.num_init) == (3, -1, 3)


def test_too_small():
    with pytest.raises(ValueError, match="memory.size=2: too small for the 3 samples"):
        create(size=2)


def test_free_slots_are_filled_in_order():
    mem = create()
    for number in range(1, 4):
        mem = add(mem, number)
        assert int(mem.last_slot) == NUM_INIT + number - 1
    np.testing.assert_array_equal(mem.feat.reshape(-1), [0, 0, 0, 1, 2, 3, 0, 0])
    np.testing.assert_array_equal(mem.box_xywh[:, 2], [0, 0, 0, 1, 2, 3, 0, 0])
    assert int(mem.num_stored) == 6
    np.testing.assert_array_equal(mem.weight[6:], 0)


def test_weights_by_hand():
    """First: the others / (1 - r), the new one r. Later: the newest times 1 / (1 - r)."""
    first = add(create(), 1, rate=0.1)
    raw = np.array([1 / 0.9 / 3] * 3 + [0.1])
    np.testing.assert_allclose(first.weight[:4], raw / raw.sum(), rtol=1e-6)
    second = add(first, 2, rate=0.2)
    raw = np.asarray([*first.weight[:4], first.weight[3] / 0.8])
    np.testing.assert_allclose(second.weight[:5], raw / raw.sum(), rtol=1e-6)


def test_a_full_memory_replaces_the_smallest_weight():
    mem = create()
    for number in range(1, SIZE - NUM_INIT + 1):
        mem = add(mem, number, rate=0.2)
    assert int(mem.num_stored) == SIZE
    smallest = int(np.argmin(mem.weight))
    assert smallest == NUM_INIT  # the oldest: each is heavier than the one before
    mem = add(mem, 99, rate=0.2)
    assert int(mem.last_slot) == smallest and mem.feat[smallest, 0, 0, 0] == 99
    assert int(mem.num_stored) == SIZE + 1


def run(rates, minimum, size=SIZE):
    mem = create(size)
    for number, rate in enumerate(rates, start=1):
        mem = add(mem, number, rate, minimum)
        yield mem


RATES = np.random.default_rng(0).uniform(0.001, 0.5, 200)


def test_weights_sum_to_one():
    for mem in run(RATES, 0.0):
        np.testing.assert_allclose(mem.weight.sum(), 1, rtol=1e-5)
        assert (mem.weight >= 0).all()


@pytest.mark.parametrize("minimum", [0.25, 0.5])
def test_first_frame_keeps_its_minimum(minimum):
    floored = 0
    for mem in run(RATES, minimum):
        share = float(mem.weight[:NUM_INIT].sum())
        assert share >= minimum - 1e-6
        assert (mem.weight >= 0).all() and np.isfinite(mem.weight).all()
        np.testing.assert_array_equal(mem.feat[:NUM_INIT], 0)  # never replaced
        if abs(share - minimum) < 1e-6:
            floored += 1
            np.testing.assert_allclose(mem.weight[:NUM_INIT], minimum / NUM_INIT, rtol=1e-5)
    assert floored > 100, "the floor was hardly ever reached: the test shows nothing"


def test_without_a_minimum_the_first_frame_can_be_forgotten():
    *_, mem = run(RATES, 0.0)
    assert (mem.feat.reshape(-1) != 0).all()


def test_floor_by_hand():
    """Below the minimum m: the others / (m + their sum), the first ones m / n."""
    weight = jnp.asarray([0.02, 0.02, 0.02, 0.5, 0.44, 0, 0, 0])
    new, slot = memory.update_weights(weight, jnp.int32(5), jnp.int32(4), 3, 0.1, 0.25)
    raw = np.array([0.02, 0.02, 0.02, 0.5, 0.44, 0.44 / 0.9, 0, 0])
    raw /= raw.sum()
    expected = raw / (0.25 + raw[3:].sum())
    expected[:3] = 0.25 / 3
    np.testing.assert_allclose(new, expected, rtol=1e-5)
    assert slot == 5


def test_a_rate_of_one_leaves_only_the_new_sample():
    mem = add(add(create(), 1), 2, rate=1.0)
    np.testing.assert_array_equal(mem.weight, [1, 0, 0, 0, 0, 0, 0, 0])
    assert int(mem.last_slot) == 0 and mem.feat[0, 0, 0, 0] == 2


def test_a_memory_full_of_first_frame_samples():
    """Without a minimum they are replaced; with one there is no slot to use, and it says so."""
    mem = add(create(size=NUM_INIT), 7)
    assert int(mem.last_slot) == 0 and mem.feat[0, 0, 0, 0] == 7
    with pytest.raises(ValueError, match="memory.size=3: the 3 samples .* leave no slot"):
        add(create(size=NUM_INIT), 7, minimum=0.25)


def test_one_compilation_for_all_updates():
    fn = jax.jit(functools.partial(memory.insert), static_argnums=4)
    mem = create()
    for number in range(12):
        mem = fn(mem, jnp.zeros((1, 1, 1)), jnp.zeros(4), np.float32(0.01 * (number + 1)), 0.25)
    assert fn._cache_size() == 1
