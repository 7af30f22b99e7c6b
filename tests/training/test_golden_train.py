"""A training step against recorded numbers: scores, losses, gradients, running statistics."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints.state_dict import from_torch, to_torch
from dimp_jax.config.training import LossConfig
from dimp_jax.models.dimp import DiMP
from dimp_jax.models.train_forward import Batch, forward
from dimp_jax.predictor.target_maps import gaussian_label
from dimp_jax.training.losses import iou_regression, loss_terms
from tests.support.golden_files import (
    GOLDEN_DIR,
    LOCAL_DIR,
    cases,
    inputs,
    long_where,
    recording,
    state_dict,
)

pytestmark = pytest.mark.golden

GROUPS = {
    "backbone": "feature_extractor.",
    "clf_feature_extractor": "classifier.feature_extractor.",
    "initializer": "classifier.filter_initializer.",
    "optimizer": "classifier.filter_optimizer.",
    "bb_regressor": "bb_regressor.",
}


def sequences_first(x):
    return jnp.asarray(x).swapaxes(0, 1)


def images(which):
    return sequences_first(np.moveaxis(inputs.g_images(which), 2, -1))


def is_parameter(name):
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def norm(x):
    return np.sqrt((np.asarray(x, np.float64) ** 2).sum())


def run(case, dtype, gradients):
    """Losses, predictions and new statistics of one step, and gradients on request, in `dtype`."""
    golden = recording("g_train")
    model, mode = case.split("_")
    cast = lambda x: jnp.asarray(x, dtype)
    variables, extras = from_torch(state_dict(model), model)
    variables = jax.tree.map(cast, variables)
    net = DiMP(dataclasses.replace(config.load(model).model, compute_dtype=dtype))
    batch = Batch(
        cast(images("train")),
        cast(sequences_first(golden["train_bb"])),
        cast(images("test")),
        cast(sequences_first(golden["proposals"])),
    )
    test_box = cast(sequences_first(golden["test_bb"]))
    label = jax.vmap(lambda b: gaussian_label(b, 0.9, (19, 19), 16, 4))(test_box)
    iou_target = cast(sequences_first(golden["proposal_iou"]))

    def objective(params):
        prediction, stats = forward(
            net, {**variables, "params": params}, batch, train=mode == "train"
        )
        box_loss = iou_regression(prediction.iou, iou_target)
        terms = loss_terms(prediction.scores, label, box_loss, LossConfig())
        return sum(terms.values()), (terms, prediction, stats)

    as_float32 = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float32), tree)
    zeros = {name: np.zeros_like(value) for name, value in extras.items()}
    named_grads = None
    if gradients:
        step = jax.value_and_grad(objective, has_aux=True)
        (total, (terms, prediction, stats)), grads = jax.jit(step)(variables["params"])
        named_grads = to_torch(
            as_float32({"params": grads, "batch_stats": variables["batch_stats"]}), zeros, model
        )
    else:
        total, (terms, prediction, stats) = jax.jit(objective)(variables["params"])
    after = to_torch(
        as_float32({"params": variables["params"], "batch_stats": stats}), zeros, model
    )
    return label, total, terms, prediction, named_grads, after


CASES = cases("g_train", only=lambda c: c.endswith(("_eval", "_train")))


@pytest.mark.slow
@pytest.mark.parametrize("case", long_where(CASES, lambda case: case.endswith("_eval")))
def test_forward_and_loss(case):
    golden = recording("g_train")
    label, total, terms, prediction, _, after = run(case, "float32", gradients=False)
    golden.check("test_label", label.swapaxes(0, 1))
    golden.check(f"{case}/loss_total", total[None])
    golden.check(f"{case}/stat/Loss/total", total[None])
    for ours, theirs in (
        ("iou", "Loss/iou"),
        ("final", "Loss/target_clf"),
        ("initial", "Loss/test_init_clf"),
        ("iterates", "Loss/test_iter_clf"),
    ):
        golden.check(f"{case}/stat/{theirs}", terms[ours][None])
    for index, scores in enumerate(prediction.scores):
        golden.check(f"{case}/scores_iter{index}", scores.swapaxes(0, 1))
    golden.check(f"{case}/iou_pred", prediction.iou.swapaxes(0, 1))
    for key in golden.keys(f"{case}/bn/"):
        if not key.endswith("num_batches_tracked"):  # we have no such counter
            golden.check(key, after[key.removeprefix(f"{case}/bn/")])


# More than a minute of compiling each.
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    """In float64: in float32 an activation within rounding of 0 flips a ReLU now and then, and one
    flip moves single gradients by 1.5e-3 of their maximum."""
    golden = recording("g_train")
    with jax.enable_x64():
        named = run(case, "float64", gradients=True)[4]
    for group, prefix in GROUPS.items():
        trained = [v for k, v in named.items() if k.startswith(prefix) and is_parameter(k)]
        total = np.sqrt(sum(norm(v) ** 2 for v in trained))
        golden.check(f"{case}/gradnorm/{group}", total[None], rtol=1e-3)
    model = case.split("_")[0]
    names = GOLDEN_DIR / f"param_names_{model}.json"
    names = json.loads((names if names.is_file() else LOCAL_DIR / names.name).read_text())
    unused = ("feature_extractor.layer4.", "feature_extractor.fc.")
    norms = [-1.0 if name.startswith(unused) else norm(named[name]) for name in names]
    golden.check(f"{case}/gradnorm_each", np.asarray(norms), rtol=1e-3)
    for key in golden.keys(f"{case}/grad/"):
        golden.check(key, named[key.removeprefix(f"{case}/grad/")], rtol=1e-3)
