"""A training step against recorded numbers: scores, losses, gradients, running statistics."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import GOLDEN_DIR, LOCAL_DIR, cases, inputs, recording, state_dict

from dimp_jax import config
from dimp_jax.checkpoints.state_dict import from_torch, to_torch
from dimp_jax.losses import dimp_loss
from dimp_jax.models.dimp import DiMP
from dimp_jax.models.train_forward import Batch, forward
from dimp_jax.predictor.target_maps import gaussian_label

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


def norm(x):
    return np.sqrt((np.asarray(x, np.float64) ** 2).sum())


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in cases("g_train") if c.endswith(("_eval", "_train"))])
def test_training_step(case):
    golden = recording("g_train")
    model, mode = case.split("_")
    variables, extras = from_torch(state_dict(model), model)
    net = DiMP(config.load(model).model)
    test_box = sequences_first(golden["test_bb"])
    batch = Batch(
        images("train"),
        sequences_first(golden["train_bb"]),
        images("test"),
        sequences_first(golden["proposals"]),
    )
    label = jax.vmap(lambda b: gaussian_label(b, 0.9, (19, 19), 16, 4))(test_box)
    golden.check("test_label", label.swapaxes(0, 1))
    iou_target = sequences_first(golden["proposal_iou"])

    def objective(params):
        prediction, stats = forward(
            net, {**variables, "params": params}, batch, train=mode == "train"
        )
        total, terms = dimp_loss(prediction.scores, label, prediction.iou, iou_target)
        return total, (terms, prediction, stats)

    (total, (terms, prediction, stats)), grads = jax.jit(
        jax.value_and_grad(objective, has_aux=True)
    )(variables["params"])

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

    # Gradients, by their names in the published state dict.
    zeros = {name: np.zeros_like(value) for name, value in extras.items()}
    named = to_torch(
        {"params": jax.tree.map(np.asarray, grads), "batch_stats": variables["batch_stats"]},
        zeros,
        model,
    )
    for group, prefix in GROUPS.items():
        trained = [
            v
            for k, v in named.items()
            if k.startswith(prefix) and not k.endswith(("_mean", "_var", "_tracked"))
        ]
        golden.check(
            f"{case}/gradnorm/{group}", np.sqrt(sum(norm(v) ** 2 for v in trained))[None], rtol=1e-3
        )
    names_file = GOLDEN_DIR / f"param_names_{model}.json"
    names = json.loads((names_file if names_file.is_file() else LOCAL_DIR / names_file.name).read_text())
    unused = ("feature_extractor.layer4.", "feature_extractor.fc.")
    norms = [-1.0 if name.startswith(unused) else norm(named[name]) for name in names]
    golden.check(f"{case}/gradnorm_each", np.asarray(norms), rtol=1e-3)
    for key in golden.keys(f"{case}/grad/"):
        golden.check(key, named[key.removeprefix(f"{case}/grad/")], rtol=1e-3)

    if mode == "train":
        after = to_torch({"params": variables["params"], "batch_stats": stats}, extras, model)
        for key in golden.keys(f"{case}/bn/"):
            name = key.removeprefix(f"{case}/bn/")
            if not name.endswith("num_batches_tracked"):
                golden.check(key, after[name])
