"""The training step of PrDiMP: its label density, its losses, the zero filter it starts from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config as configs
from dimp_jax.config.training import OptimConfig
from dimp_jax.models.filter_init import FilterInitializer
from dimp_jax.training import steps
from tests.support import small_training
from tests.support.small_training import tiny_network  # noqa: F401  (a fixture)

PRDIMP = configs.load("prdimp18")
MODEL = dataclasses.replace(
    small_training.TINY,
    filter_init="zero",
    predictor=dataclasses.replace(PRDIMP.model.predictor, num_iter=3),
)
CONFIG = small_training.settings(
    MODEL,
    loss=PRDIMP.training.loss,
    optim=OptimConfig(learning_rates=(("default", 1e-3),), frozen=("backbone",)),
)
BATCH = small_training.batch(4)


def start():
    variables = small_training.variables(MODEL)
    assert set(variables["params"]["predictor"]) == {"filter_reg", "log_step_length"}
    zero = jax.tree.map(np.zeros_like, variables["params"]["filter_init"])
    params = variables["params"] | {"filter_init": zero}
    return steps.init_state(variables | {"params": params}, CONFIG)


@pytest.mark.long
def test_losses_fall_from_a_zero_filter():
    state = start()
    step = jax.jit(steps.make_train_step(CONFIG))
    history = []
    for _ in range(6):
        state, metrics = step(state, BATCH)
        assert steps.first_non_finite(metrics) is None
        history.append({name: float(metrics[f"loss/{name}"]) for name in steps.LOSS_TERMS})
    # A zero filter says nothing: the divergence is the logarithm of the number of cells, 5 x 5.
    np.testing.assert_allclose(history[0]["initial"], 0.25 * np.log(25), rtol=1e-5)
    assert history[0]["final"] < history[0]["initial"]
    for name in steps.LOSS_TERMS:
        assert history[-1][name] < history[0][name], (name, history)
    assert np.any(state.params["filter_init"]["conv"]["kernel"] != 0)
    assert set(state.params["predictor"]) == {"filter_reg", "log_step_length"}


def test_label_density():
    """Sums to 1, greatest at the target; uniform where the target is not on the map."""
    box = np.array([[[16.0, 16.0, 32.0, 32.0]], [[900.0, 900.0, 9.0, 9.0]]] * 2, np.float32)
    density = np.asarray(steps.label_map(BATCH._replace(test_box=box), CONFIG))
    assert density.shape == (4, 1, 5, 5)
    np.testing.assert_allclose(density.sum((2, 3)), 1, rtol=1e-6)
    assert np.unravel_index(density[0, 0].argmax(), (5, 5)) == (2, 2)
    np.testing.assert_allclose(density[0, 0, 2, 3] / density[0, 0, 2, 2], np.exp(-0.5 / 0.9**2))
    np.testing.assert_allclose(density[1, 0], 1 / 25)
    # Densities up to the threshold are nothing; the middle of this one is 1 / (2 pi 0.9^2) = 0.196.
    loss = dataclasses.replace(CONFIG.training.loss, label_threshold=0.19)
    training = dataclasses.replace(CONFIG.training, loss=loss)
    config = dataclasses.replace(CONFIG, training=training)
    peak = np.asarray(steps.label_map(BATCH._replace(test_box=box), config))[0, 0]
    assert peak[2, 2] == 1.0 and peak.sum() == 1.0


def test_the_filter_initialiser_starts_from_zero_where_the_config_says_so():
    feat, box = jnp.ones((2, 5, 5, 3)), jnp.asarray([[16.0, 16.0, 32.0, 32.0]] * 2)

    def kernel(zero):
        module = FilterInitializer(4, zero_init=zero)
        return module.init(jax.random.key(0), feat, box)["params"]["conv"]["kernel"]

    assert not kernel(True).any() and kernel(False).all()
    assert PRDIMP.model.filter_init == configs.load("prdimp50").model.filter_init == "zero"
    assert configs.load("super_dimp").model.filter_init == "normal"
