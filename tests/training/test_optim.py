"""Rates by module, schedule, clipping, frozen modules, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dimp_jax.config.training import OptimConfig
from dimp_jax.training import optim

PARAMS = {
    "backbone": {
        "layer1_0": {"kernel": jnp.ones((2, 3))},
        "layer3_0": {"kernel": jnp.ones(4)},
        "layer3_1": {"kernel": jnp.ones(4)},
        "layer30": {"kernel": jnp.ones(2)},
    },
    "predictor": {"label": jnp.ones(5), "filter_reg": jnp.float32(1)},
    "iou": {"kernel": jnp.ones(3)},
}
RATES = (
    ("default", 1e-3),
    ("backbone", 1e-4),
    ("backbone/layer3_0", 1e-5),
    ("predictor/label", 1e-2),
)


def gradients(scale=1.0):
    """Of both signs and many sizes."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(scale * rng.standard_normal(x.shape), jnp.float32), PARAMS
    )


def updates(config, grads, steps=1):
    """The update of the last of some steps with the same gradient."""
    trained, _ = optim.split(PARAMS, config.frozen)
    grads, _ = optim.split(grads, config.frozen)
    optimizer = optim.build(config, PARAMS)
    state = optimizer.init(trained)
    for _ in range(steps):
        result, state = optimizer.update(grads, state, trained)
    return result


def test_the_longest_match_gives_the_rate():
    """Adam's first update is the rate times the sign of the gradient."""
    grads = gradients()
    got = updates(OptimConfig(learning_rates=RATES), grads)
    rates = {
        "backbone": {"layer1_0": 1e-4, "layer3_0": 1e-5, "layer3_1": 1e-4, "layer30": 1e-4},
        "predictor": {"label": 1e-2, "filter_reg": 1e-3},
        "iou": {"kernel": 1e-3},
    }
    for group, parts in rates.items():
        for part, rate in parts.items():
            for g, u in zip(
                jax.tree.leaves(grads[group][part]), jax.tree.leaves(got[group][part]), strict=True
            ):
                np.testing.assert_allclose(u, -rate * np.sign(g), rtol=1e-4)


def test_many_steps_equal_plain_adam():
    config = OptimConfig(learning_rates=(("default", 1e-3),), adam_b1=0.8, adam_b2=0.95)
    got = updates(config, gradients(), steps=5)
    plain = optax.adam(1e-3, 0.8, 0.95)
    state = plain.init(PARAMS)
    for _ in range(5):
        expected, state = plain.update(gradients(), state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


def test_schedule_decays_in_steps_after_a_linear_warmup():
    config = OptimConfig(
        learning_rates=(("default", 1.0), ("iou", 10.0)),
        decay_every_steps=8,
        decay_factor=0.5,
        warmup_steps=4,
    )
    rates = [optim.learning_rates(config, step) for step in (0, 1, 3, 7, 8, 15, 16)]
    assert [r["default"] for r in rates] == [0.25, 0.5, 1.0, 1.0, 0.5, 0.5, 0.25]
    assert all(r["iou"] == 10 * r["default"] for r in rates)


def test_the_optimizer_follows_the_schedule():
    """With a constant gradient every update of Adam is the rate."""
    config = OptimConfig(
        learning_rates=RATES, decay_every_steps=3, decay_factor=0.1, warmup_steps=2, adam_eps=0.0
    )
    for step in range(7):
        got = updates(config, gradients(), steps=step + 1)
        rates = optim.learning_rates(config, step)
        np.testing.assert_allclose(np.abs(got["iou"]["kernel"]), rates["default"], rtol=1e-4)
        kernel = got["backbone"]["layer3_0"]["kernel"]
        np.testing.assert_allclose(np.abs(kernel), rates["backbone/layer3_0"], rtol=1e-4)


def test_clipping_is_over_all_trained_parameters():
    """A large eps makes the update proportional to the gradient that Adam sees."""
    rates = (("default", 1.0), ("backbone", 1.0))
    base = dict(learning_rates=rates, adam_eps=1e6, frozen=("iou",))
    grads = gradients(scale=100.0)
    trained, _ = optim.split(grads, ("iou",))
    norm = float(optax.tree.norm(trained))
    free = updates(OptimConfig(**base), grads)
    clipped = updates(OptimConfig(**base, clip_norm=norm / 7), grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a / 7, b, rtol=1e-3), free, clipped)
    loose = updates(OptimConfig(**base, clip_norm=norm * 1.01), grads)
    jax.tree.map(np.testing.assert_array_equal, free, loose)


def test_split_and_merge():
    trained, frozen = optim.split(PARAMS, ("backbone/layer1_0", "backbone/layer3_0", "predictor"))
    assert set(frozen["backbone"]) == {"layer1_0", "layer3_0"} and set(frozen) == {
        "backbone",
        "predictor",
    }
    assert set(trained["backbone"]) == {"layer3_1", "layer30"} and set(trained) == {
        "backbone",
        "iou",
    }
    assert optim.merge(trained, frozen) == PARAMS
    assert optim.split(PARAMS, ()) == (PARAMS, {})


def test_frozen_parameters_have_no_state():
    optimizer = optim.build(OptimConfig(learning_rates=RATES, frozen=("backbone",)), PARAMS)
    trained, _ = optim.split(PARAMS, ("backbone",))
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(optimizer.init(trained))]
    assert any("predictor" in p for p in paths) and not any("layer" in p for p in paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ("backbone/layer3",)}, "frozen: .*layer3'; near: backbone/layer3_0, back"),
        ({"running_norms": ("bakbone",)}, "running_norms: .*bakbone'; near: backbone"),
        ({"frozen": ("bakbone",)}, "'bakbone'; near: backbone"),
        ({"frozen": ("zzz",)}, "'zzz'; near: backbone, predictor, iou"),
        ({"frozen": ("backbone", "predictor", "iou")}, "nothing is left to train"),
        ({"learning_rates": (("default", 1.0), ("iuo", 1.0))}, "learning_rates: .*near: iou"),
        ({"learning_rates": (("backbone", 1.0),)}, "no entry for predictor/label and no 'default'"),
        ({"learning_rates": (("default", 1.0), ("default", 2.0))}, "'default' is given 2 times"),
        ({"learning_rates": (("default", -1.0),)}, "'default' has -1.0, expected 0 or more"),
        ({"learning_rates": (("default", float("nan")),)}, "'default' has nan"),
        ({"decay_every_steps": 0}, "decay_every_steps=0: expected 1 or more"),
        ({"warmup_steps": -1}, "warmup_steps=-1: expected 0 or more"),
        ({"accumulate": 0}, "accumulate=0: expected 1 or more"),
        ({"decay_factor": -0.2}, "decay_factor=-0.2: expected a number >= 0"),
        ({"decay_factor": float("nan")}, "decay_factor=nan: expected a number >= 0"),
        ({"adam_b1": 2.0}, "adam_b1=2.0: expected a number >= 0 and < 1"),
        ({"adam_b2": 1.0}, "adam_b2=1.0: expected a number >= 0 and < 1"),
        ({"adam_eps": -1.0}, "adam_eps=-1.0: expected a number >= 0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0: expected a positive number or None"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        optim.build(OptimConfig(**{"learning_rates": RATES, **changes}), PARAMS)
