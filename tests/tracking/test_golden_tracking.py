"""Localisation, memory and box refinement against recorded numbers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dimp_jax import config
from dimp_jax.checkpoints.state_dict import from_torch
from dimp_jax.config import LocalizeConfig, RefineConfig
from dimp_jax.geometry.boxes import rect_to_relative, relative_to_rect
from dimp_jax.models.dimp import DiMP
from dimp_jax.models.iou_net import Levels
from dimp_jax.tracking import memory
from dimp_jax.tracking.localize import Verdict, localize
from dimp_jax.tracking.refine import ascend
from tests.support.golden_files import cases, inputs, recorded_json, recording, state_dict

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("case", cases("j_localize"))
def test_localize(case):
    golden, meta = recording("j_localize"), recorded_json("j_localize")[case]
    over = meta["over"]
    assert set(over) <= {
        "advanced_localization",
        "score_filter_ksz",
        "uncertain_threshold",
        "hard_sample_threshold",
        "target_not_found_threshold",
        "distractor_threshold",
        "hard_negative_threshold",
    }, "an option that this test does not know"
    options = LocalizeConfig(
        advanced=over.get("advanced_localization", True),
        score_preprocess=meta["score_preprocess"],
        score_filter_cells=over.get("score_filter_ksz", 1),
        window=meta["window"] is not None,
        hard_negative_without_window=meta["perform_hn_without_windowing"],
        not_found_threshold=meta["target_not_found_threshold"],
        uncertain_threshold=over.get("uncertain_threshold"),
        hard_sample_threshold=over.get("hard_sample_threshold"),
        distractor_threshold=meta["distractor_threshold"],
        hard_negative_threshold=meta["hard_negative_threshold"],
        neighborhood_scale=meta["target_neighborhood_scale"],
        displacement_scale=meta["dispalcement_scale"],
    )
    scores = jnp.asarray(golden[f"{case}/scores_in"])
    found = localize(
        scores,
        *(jnp.asarray(golden[f"{case}/{k}"]) for k in ("pos", "target_sz")),
        *(jnp.asarray(golden[f"{case}/{k}"]) for k in ("sample_pos", "sample_scales")),
        options,
        int(meta["img_support_sz"]),
        scores.shape[-1] - 1,
    )
    # Without advanced localisation the published tracker has no flag and acts as for "normal".
    assert Verdict(int(found.verdict)).name.lower() == (meta["flag"] or "normal")
    golden.check(f"{case}/translation", found.translation_yx)
    assert int(found.scale_index) == int(golden[f"{case}/scale_ind"])
    recorded = golden[f"{case}/scores_out"]
    shown = found.scores if recorded.ndim == 3 else found.scores[found.scale_index]
    golden.check(f"{case}/scores_out", shown)


@pytest.mark.parametrize("case", cases("k_memory"))
def test_memory(case):
    golden, meta = recording("k_memory"), recorded_json("k_memory")[case]
    size, num_init = meta["memory"], meta["num_init"]
    minimum = meta["init_samples_minimum_weight"] or 0.0
    feat = jnp.zeros((num_init, 1, 1, 1))  # each sample's feature is its update number
    mem = memory.create(feat, jnp.zeros((num_init, 4)), size)
    insert = jax.jit(memory.insert, static_argnums=4)
    weights, slots, counts = [mem.weight], [], [int(mem.num_stored)]
    for number, rate in enumerate(golden[f"{case}/lr"], start=1):
        sample = jnp.full((1, 1, 1), float(number))
        mem = insert(mem, sample, jnp.zeros(4), jnp.float32(rate), minimum)
        weights.append(mem.weight)
        slots.append(int(mem.last_slot))
        counts.append(int(mem.num_stored))
    golden.check(f"{case}/weights", jnp.stack(weights))
    np.testing.assert_array_equal(slots, golden[f"{case}/replace_ind"])
    np.testing.assert_array_equal(counts, golden[f"{case}/num_stored"])
    np.testing.assert_array_equal(mem.feat.reshape(-1), golden[f"{case}/final_sample_ids"])


@functools.cache
def refinement(model):
    """(weights of the IoU network, modulation, features): what every case shares."""
    variables, _ = from_torch(state_dict(model), model)
    vector = lambda tag: jnp.abs(jnp.asarray(inputs.nrm(tag, (256,))))[None]
    image = lambda tag, s: jnp.abs(jnp.asarray(inputs.nrm(tag, (1, 256, s, s)))).transpose(
        0, 2, 3, 1
    )
    modulation = Levels(vector("i/mod3"), vector("i/mod4"))
    features = Levels(image("i/feat3", 36), image("i/feat4", 18))
    variables = {kind: {"iou": jax.device_put(tree["iou"])} for kind, tree in variables.items()}
    return variables, modulation, features


@functools.cache
def ascent(model, method, num_iter):
    """A jitted function of what `refinement` returns, the boxes and the three step settings."""
    net = DiMP(config.load(model).model)

    @jax.jit
    def run(shared, boxes, step_position, step_size, step_decay):
        variables, modulation, features = shared
        predict = lambda b: net.apply(
            variables, modulation, features, b[None], method="predict_iou"
        )[0]
        options = RefineConfig(
            method=method,
            iterations=num_iter,
            step_position=step_position,
            step_size=step_size,
            step_decay=step_decay,
        )
        return ascend(predict, boxes, options)

    return run


@pytest.mark.parametrize("case", cases("i_refine", depth=3))
def test_refine(case):
    golden = recording("i_refine")
    model, space, spec = case.split("/")
    step, num_iter, decay = re.fullmatch(r"step(.+)_it(\d+)_dec([\d.]+)", spec).groups()
    steps = [float(v) for v in step.strip("()").split(",")]
    run = ascent(model, {"default": "iou", "relative": "iou_relative"}[space], int(num_iter))
    boxes = jnp.asarray(golden["boxes"])
    boxes, iou = run(refinement(model), boxes, steps[0], steps[-1], float(decay))
    golden.check(f"{case}/boxes", boxes, rtol=5e-5)
    golden.check(f"{case}/iou", iou, rtol=1e-4)


def test_relative_boxes():
    golden = recording("b_layers")
    boxes = jnp.asarray(golden["rel/boxes"])
    first = boxes[0, 2:]
    relative = rect_to_relative(boxes, first)
    golden.check("rel/rel_norm0", relative)
    golden.check("rel/back", relative_to_rect(relative, first))
    own = [rect_to_relative(b[None], b[2:])[0] for b in boxes]
    golden.check("rel/rel_own", jnp.stack(own))
