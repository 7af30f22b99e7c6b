"""The device work of the tracker: three jitted programs of fixed shapes.

`start` runs once a sequence, `look` once a frame, `learn` when a frame is worth learning from. Each
`num_iter` of `learn` compiles once.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from dimp_jax.config import ModelConfig, TrackerConfig
from dimp_jax.geometry.boxes import target_box_in_crop
from dimp_jax.host import traced
from dimp_jax.models.dimp import STRIDE_PX, DiMP
from dimp_jax.models.iou_net import Levels
from dimp_jax.predictor import parts
from dimp_jax.predictor.correlation import correlate
from dimp_jax.predictor.predict import optimize_filter
from dimp_jax.tracking import memory as memories
from dimp_jax.tracking import modulation as modulations
from dimp_jax.tracking.localize import Verdict, localize, subcell_offset_yx
from dimp_jax.tracking.refine import refine_pose
from dimp_jax.tracking.search_window import check_growth

UPDATES = ("memory", "moving_average", "none")


class Look(NamedTuple):
    """What a frame shows. `report` is the only part that the host waits for."""

    report: jax.Array  #: [7]: centre y, x; size h, w; scale; verdict; maximum of the scores
    feat: jax.Array  #: [H, W, C] of the crop in which the target was found
    box_xywh: jax.Array  #: [4] the target in that crop, crop pixels
    scores: jax.Array  #: [n, S, S] score maps of the n crops


class Start(NamedTuple):
    """What the first frame gives."""

    filt: jax.Array  #: [K, K, C] target filter
    memory: memories.Memory  #: with the first frame's samples
    modulation: object  #: as in `TrackerState`
    losses: jax.Array  #: [I + 1] before, between and after the iterations


class Programs(NamedTuple):
    """The jitted functions of one network and one tracker configuration."""

    start: Callable
    look: Callable
    learn: Callable


def scale_factors(refine) -> tuple[float, ...]:
    """Sizes of the crops of a frame relative to the present scale."""
    if refine.method == "scale_search":
        return (1.0, 1 / refine.scale_step, refine.scale_step)
    return (1.0,)


def check_update(config) -> None:
    """Raises ValueError unless a `MemoryConfig` names an update there is, and a share for it."""
    if config.update not in UPDATES:
        expected = ", ".join(UPDATES)
        raise ValueError(f"memory.update={config.update!r}: expected one of {expected}")
    if not 0 < config.average_rate <= 1:
        raise ValueError(
            f"memory.average_rate={config.average_rate:g}: the share of the new filter in the "
            "moving average, expected above 0 and at most 1"
        )


def check_refine(config) -> None:
    """Raises ValueError for a `RefineConfig` whose modulation cannot be fitted."""
    count = config.modulation_samples
    if count < 0:
        raise ValueError(f"refine.modulation_samples={count}: expected 0 or more")
    if count > 0 and config.method == "iou":
        raise ValueError(
            f"refine.modulation_samples={count} with refine.method='iou': the fit needs a network "
            "of log densities, whose method is 'iou_relative'; give 0 samples for one of overlaps"
        )


@functools.lru_cache(maxsize=32)
def build(model: ModelConfig, tracker: TrackerConfig) -> Programs:
    """The programs; the same configuration gives the same, already compiled ones.

    Raises:
      ValueError: as `check_update`, `check_refine` and `search_window.check_growth`.
    """
    return _jitted(_functions(model, tracker))


@functools.lru_cache(maxsize=32)
def build_kept(model: ModelConfig, tracker: TrackerConfig) -> Programs:
    """As `build`, but what an earlier process has traced is read, and kept otherwise.

    See `host.traced`. Changes of code of others would go unnoticed: where the config names some,
    nothing is kept.
    """
    made = _functions(model, tracker)
    if not parts.of_others(model.predictor):
        made = Programs(*(traced.kept(program, repr((model, tracker))) for program in made))
    return _jitted(made)


def _jitted(functions: Programs) -> Programs:
    start, look, learn = functions
    return Programs(
        jax.jit(start), jax.jit(look), jax.jit(learn, static_argnames=("insert", "num_iter"))
    )


def _functions(model: ModelConfig, tracker: TrackerConfig) -> Programs:
    check_update(tracker.memory)
    check_refine(tracker.refine)
    check_growth(tracker.localize)
    net = DiMP(model, folded=True)
    uses_iou = tracker.refine.method != "scale_search"
    averages = tracker.memory.update == "moving_average"
    crop_px = tracker.crop_size_px
    # Nothing passes back.
    predictor = dataclasses.replace(model.predictor, adjoint="unrolled", adjoint_options=())

    def apply(params, *args, method):
        return net.apply({"params": params}, *args, method=method)

    def solve(params, filt, feat, box, weight, num_iter):
        loss_params = apply(params, method="loss_parameters")
        return optimize_filter(
            loss_params, filt, feat, box, weight, predictor, num_iter=num_iter, stride_px=STRIDE_PX
        )

    def start(params, patches, box_xywh, dropout):
        """patches [A, P, P, 3] in 0..255; box_xywh [A + D, 4]; dropout [D, C] in [0, 1)."""
        maps = apply(params, apply(params, patches, method="normalize"), method="features")
        feat = apply(params, maps["layer3"], method="clf_features")
        rate = tracker.augment.dropout_rate
        kept = (dropout >= rate).astype(feat.dtype) / (1 - rate)
        feat = jnp.concatenate([feat, feat[:1] * kept[:, None, None, :]])
        count = feat.shape[0]
        filt = apply(params, feat, box_xywh, method="initial_filter")
        weight = jnp.full(count, 1 / count, jnp.float32)
        descent = solve(params, filt, feat, box_xywh, weight, tracker.memory.init_iterations)
        modulation = None
        if uses_iou:  # the identity sample alone
            modulation = apply(
                params, maps["layer2"][:1], maps["layer3"][:1], box_xywh[:1], method="modulation"
            )
            if tracker.refine.modulation_samples > 0:
                modulation = fitted_modulation(params, modulation, patches[0], box_xywh[0])
        # Without later samples, slots for them would be of no use.
        size = tracker.memory.size if tracker.memory.update == "memory" else count
        memory = memories.create(feat, box_xywh, size)
        return Start(descent.last, memory, modulation, descent.losses)

    def fitted_modulation(params, modulation, patch, box_xywh):
        refine = tracker.refine
        patches, boxes = modulations.copies(patch, box_xywh, refine.modulation_samples)

        def features_of(patch):
            maps = apply(params, apply(params, patch[None], method="normalize"), method="features")
            return apply(params, maps["layer2"], maps["layer3"], method="iou_features")

        # One by one: on a CPU more than four together are slower.
        features = jax.tree.map(lambda f: f[:, 0], jax.lax.map(features_of, patches))
        iou_fn = lambda m, b: apply(params, m, features, b, method="predict_iou")
        return modulations.fitted(modulation, iou_fn, boxes, refine)

    def refine_iou(params, modulation, maps, pose, sample_pos, sample_scale, uniforms):
        features = apply(params, maps["layer2"][:1], maps["layer3"][:1], method="iou_features")
        iou_fn = lambda b: apply(params, modulation, features, b[None], method="predict_iou")[0]
        *pose, base_size = pose
        return refine_pose(
            iou_fn, pose, base_size, sample_pos, sample_scale, uniforms, tracker.refine, crop_px
        )

    def search_scale(pose, scale_index, image_hw):
        center, _, scale, base_size = pose
        factors = jnp.asarray(scale_factors(tracker.refine), jnp.float32)
        change = factors[scale_index] ** tracker.refine.scale_rate
        smallest = (10 / base_size).max()
        largest = jnp.maximum((image_hw / base_size).min(), smallest)
        scale = jnp.clip(scale * change, smallest, largest)
        return center, base_size * scale, scale

    def look(
        params,
        filt,
        modulation,
        crops,
        pose,
        base_size,
        image_hw,
        sample_pos,
        sample_scale,
        uniforms,
    ):
        """crops [n, P, P, 3] in 0..255; sample_pos [n, 2]; sample_scale [n]; others as in state."""
        center, size, scale = pose
        maps = apply(params, apply(params, crops, method="normalize"), method="features")
        feat = apply(params, maps["layer3"], method="clf_features")
        scores = correlate(filt, feat)
        compared = scores
        if not uses_iou:
            # A change of scale must be worth it: noise favours either side of the present one.
            penalty = (
                jnp.full(scores.shape[0], tracker.refine.scale_penalty, jnp.float32).at[0].set(1.0)
            )
            compared = scores * penalty[:, None, None]
        found = localize(
            compared,
            center,
            size,
            sample_pos,
            sample_scale,
            tracker.localize,
            crop_px,
            scores.shape[-1] - (filt.shape[0] + 1) % 2,
        )
        best = found.scale_index
        reach = (tracker.inside_ratio - 0.5) * size
        translation = found.translation_yx
        if not uses_iou:  # nothing else finds the position within the cell of 16 crop pixels
            cell_px = crop_px / (scores.shape[-1] - (filt.shape[0] + 1) % 2) * sample_scale[best]
            translation += cell_px * subcell_offset_yx(scores[best], found.cell)
        moved = sample_pos[best] + translation
        moved = jnp.maximum(jnp.minimum(moved, image_hw - reach), reach)
        new_pose = (moved, size, scale, base_size)
        if uses_iou:
            new_pose = refine_iou(
                params, modulation, maps, new_pose, sample_pos[best], sample_scale[best], uniforms
            )
        else:
            new_pose = search_scale(new_pose, best, image_hw)
        lost = found.verdict == Verdict.NOT_FOUND
        new_pose = tuple(jnp.where(lost, old, new) for new, old in zip(new_pose, pose, strict=True))
        box = target_box_in_crop(
            new_pose[0], new_pose[1], sample_pos[best], sample_scale[best], crop_px
        )
        verdict = found.verdict.astype(jnp.float32)
        report = jnp.concatenate(
            [*new_pose[:2], jnp.stack([new_pose[2], verdict, found.max_score])]
        )
        return Look(report, feat[best], box, found.scores)

    def learn(params, filt, memory, feat, box_xywh, rate, *, insert, num_iter):
        """Stores the sample if `insert`, then runs `num_iter` iterations on the whole memory.

        As a moving average, instead: on a new filter, predicted from the sample alone, of which
        the share `rate` is mixed into `filt`; the memory is of no matter.
        """
        if averages:
            one, box = feat[None], box_xywh[None]
            new = apply(params, one, box, method="initial_filter")
            descent = solve(params, new, one, box, jnp.ones(1, jnp.float32), num_iter)
            return (1 - rate) * filt + rate * descent.last, memory, descent.losses
        if insert:
            memory = memories.insert(
                memory, feat, box_xywh, rate, tracker.memory.init_samples_minimum_weight
            )
        if num_iter == 0:
            return filt, memory, jnp.zeros(0, jnp.float32)
        descent = solve(params, filt, memory.feat, memory.box_xywh, memory.weight, num_iter)
        return descent.last, memory, descent.losses

    return Programs(start, look, learn)


export.register_namedtuple_serialization(Start, serialized_name="dimp_jax.Start")
export.register_namedtuple_serialization(Look, serialized_name="dimp_jax.Look")
export.register_namedtuple_serialization(Levels, serialized_name="dimp_jax.Levels")
export.register_pytree_node_serialization(
    memories.Memory,
    serialized_name="dimp_jax.Memory",
    serialize_auxdata=lambda static: json.dumps(static).encode(),
    deserialize_auxdata=lambda data: tuple(json.loads(data)),
)
