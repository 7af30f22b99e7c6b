"""Rematerialisation of the backbone and of the unrolled solve: the same numbers, less memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax.config import PredictorConfig
from dimp_jax.models import dimp
from dimp_jax.predictor import predict
from tests.support import small_training
from tests.support.small_training import assert_close, tiny_network  # noqa: F401  (a fixture)

TINY = small_training.TINY


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_remat_keeps_the_parameters(backbone):
    model = dataclasses.replace(small_training.MODEL, backbone=backbone)
    args = (jax.random.key(0), jnp.zeros((1, 64, 64, 3)), jnp.ones((1, 4)))
    plain, remat = (
        jax.eval_shape(dimp.DiMP(model, remat_backbone=flag).init, *args) for flag in (False, True)
    )
    assert plain == remat


def backbone_loss(remat, variables, images):
    """A function of the parameters that goes through the backbone in training mode."""
    net = dimp.DiMP(TINY, remat_backbone=remat, frozen=("backbone/layer3_0",))

    def loss(params):
        variables_now = {**variables, "params": params}
        maps, updated = net.apply(
            variables_now, images, True, method="features", mutable=["batch_stats"]
        )
        return (maps["layer3"] ** 2).sum(), updated["batch_stats"]

    return loss


@pytest.mark.long
def test_backbone_remat():
    """The same gradients and statistics; the backward pass gets the blocks' inputs alone.

    Counted in what the forward pass leaves to the backward pass: XLA's CPU backend, unlike those of
    GPU and TPU, removes the barriers that keep both apart within one program.
    """
    variables = small_training.variables(TINY)
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    results, kept_bytes = [], []
    for remat in (False, True):
        loss = backbone_loss(remat, variables, images)
        results.append(jax.jit(jax.grad(loss, has_aux=True))(variables["params"]))
        kept = jax.eval_shape(lambda p, f=loss: jax.vjp(f, p, has_aux=True)[1], variables["params"])
        kept_bytes.append(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept)))
    (grads, stats), (remat_grads, remat_stats) = results
    assert_close(remat_grads, grads, rtol=1e-3)
    assert_close(remat_stats, stats, rtol=1e-5)
    assert kept_bytes[1] < 0.75 * kept_bytes[0], kept_bytes
    # A frozen block keeps its statistics, inside a rematerialised block too.
    frozen = stats["backbone"].pop("layer3_0")
    before = variables["batch_stats"]["backbone"]
    jax.tree.map(np.testing.assert_array_equal, frozen, before["layer3_0"])
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()),
        stats["backbone"],
        {name: before[name] for name in stats["backbone"]},
    )
    assert all(jax.tree.leaves(moved))


def solver_gradient(num_iter, adjoint, last_only=False):
    """Compiled gradient of the iterates' energy for features and parameters; its arguments."""
    config = PredictorConfig(adjoint=adjoint)
    params = predict.init_params(config)
    rng = np.random.default_rng(0)
    feat = rng.standard_normal((3, 18, 18, 16)).astype(np.float32) / 16
    filt = rng.standard_normal((4, 4, 16)).astype(np.float32) / 16
    box = np.tile(np.float32([[110, 120, 60, 50]]), (3, 1))

    def energy(params, feat, filt):
        descent = predict.optimize_filter(
            params, filt, feat, box, np.full(3, 1 / 3, np.float32), config, num_iter=num_iter
        )
        return ((descent.last if last_only else descent.iterates) ** 2).sum()

    args = (params, feat, filt)
    return jax.jit(jax.grad(energy, argnums=(0, 1, 2))).lower(*args).compile(), args


FILTER_BYTES = 4 * 4 * 16 * 4


def temp_bytes(program):
    return program.memory_analysis().temp_size_in_bytes


@pytest.mark.long
def test_solver_remat():
    """The same gradients; memory grows with the iterations only by the iterates themselves."""
    (few, _), (many, args) = (solver_gradient(n, "unrolled") for n in (5, 20))
    (few_remat, _), (many_remat, _) = (solver_gradient(n, "checkpointed") for n in (5, 20))
    assert_close(many_remat(*args), many(*args), rtol=1e-5)
    assert temp_bytes(many) - temp_bytes(few) > 10 * 15 * FILTER_BYTES
    assert temp_bytes(many_remat) - temp_bytes(few_remat) < 4 * 15 * FILTER_BYTES
    assert temp_bytes(many_remat) < 0.5 * temp_bytes(many)


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["truncated", "one_step", "implicit"])
def test_memory_of_the_last_iterates_gradient(adjoint):
    """It does not grow with the iterations, where not all of them are passed."""
    few, many = (temp_bytes(solver_gradient(n, adjoint, last_only=True)[0]) for n in (5, 40))
    assert many - few < 2 * FILTER_BYTES, (few, many)
