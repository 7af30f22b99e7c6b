"""Arms trained together are the arms trained alone, by the step of train.py."""

import dataclasses

import jax
import numpy as np
import pytest

from dimp_jax.config.predictor import LearnedParts
from dimp_jax.config.training import CropConfig, DataConfig, OptimConfig
from dimp_jax.studies.trainings import train
from dimp_jax.training import steps
from tests.support import small_training
from tests.support.small_training import assert_close, tiny_network  # noqa: F401  (a fixture)

ARMS = {"base": LearnedParts(), "no_label": LearnedParts(label="initial")}
CELLS, CHANNELS = 4, small_training.WIDTHS


def settings(learned):
    model = dataclasses.replace(
        small_training.TINY,
        predictor=dataclasses.replace(small_training.TINY.predictor, learned=learned),
    )
    # With the usual epsilon Adam makes a whole step of the rounding of a gradient that is 0.
    optim = OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",), adam_eps=1e-2)
    data = DataConfig(crop=CropConfig(size_px=16 * CELLS))
    return small_training.settings(model, global_batch=2, optim=optim, data=data)


def features(seed):
    """A batch of noise in place of a backbone's features."""
    rng = np.random.default_rng(seed)
    sample = small_training.batch(2, seed)

    def maps(box):
        shape = box.shape[:2]
        draw = lambda cells, channels: rng.standard_normal((*shape, cells, cells, channels))
        return {
            "layer2_0": draw(2 * CELLS, CHANNELS[1]).astype(np.float32),
            "layer3_0": draw(CELLS, CHANNELS[2]).astype(np.float32),
        }

    return sample._replace(train_crops=maps(sample.train_box), test_crops=maps(sample.test_box))


def alone_step(config):
    """The step of train.py, compiled without the box network, whose loss nothing asks for."""
    whole = steps.make_train_step(config)

    def step(state, batch):
        state, metrics = whole(state, batch)
        return state, {name: metrics[name] for name in train.METRICS}

    return jax.jit(step)


@pytest.mark.long
def test_together_as_alone():
    """Two steps of both arms in a loop, and mapped, against those of `make_train_step`."""
    variables = small_training.variables(small_training.TINY)
    shared = {g: {n: v for n, v in of.items() if n in train.SHARED} for g, of in variables.items()}
    heads = {
        g: {n: v for n, v in of.items() if n not in train.SHARED} for g, of in variables.items()
    }
    members = [train.Member(name, 0, settings(learned)) for name, learned in ARMS.items()]
    groups = train.grouped(members)
    assert len(groups) == 1
    batches = [features(0), features(1)]

    ends = {}
    for at_once in (1, 2):
        step = jax.jit(train.make_step(groups, at_once))
        states = train.init_states(groups, shared, lambda seed: heads)
        metrics = []
        for batch in batches:
            of_seeds = jax.tree.map(lambda leaf: leaf[None], batch)
            states, ((measured),) = step(states, of_seeds)
            metrics.append(jax.device_get(measured))
        ends[at_once] = (states[0], metrics)
    assert_close(ends[2][0].params, ends[1][0].params, 1e-5)

    for index, member in enumerate(members):
        state = steps.init_state(variables, train.trainable(member.config))
        step = alone_step(train.trainable(member.config))
        for number, batch in enumerate(batches):
            state, alone = step(state, batch)
            for name in train.METRICS:
                together = ends[1][1][number][name][index]
                if name == "grad_norm" and member.arm != "base":
                    assert together > alone[name]  # it holds the part that is put back
                else:
                    np.testing.assert_allclose(together, alone[name], rtol=1e-5, err_msg=name)
        found = train.member_variables(ends[1][0], index)["params"]
        assert_close(found, state.params, 1e-5)
        label = found["predictor"]["label"]
        unchanged = np.array_equal(label, variables["params"]["predictor"]["label"])
        assert unchanged is (member.arm == "no_label")
    assert int(ends[1][0].step) == 2
