"""What is exported: the tracker as functions of plain dicts of arrays, crops and draws included.

The runner keeps one dict, called `state` here, and passes it whole. A pose is {"center_yx": [2],
"size_hw": [2], "scale": []} as in `tracking.state.Pose`.
"""

import dataclasses
import functools
import inspect
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export

from dimp_jax.config import TrackerConfig
from dimp_jax.export import first_samples, windows
from dimp_jax.geometry.boxes import target_box_in_crop
from dimp_jax.models.dimp import STRIDE_PX
from dimp_jax.models.iou_net import Levels
from dimp_jax.tracking import augment, draws, online, programs, search_window
from dimp_jax.tracking.localize import Verdict
from dimp_jax.tracking.memory import Memory


def lower(tracker, platforms) -> dict[str, export.Exported]:
    """Every program that the runner needs, lowered for `platforms` ("cpu", "cuda", "tpu").

    `first_crop` and `crop` take an image of any size and are small; the others have fixed shapes.
    `learn1`, `learn2`, ... are the `variants` of `tabulate`.

    Args:
      tracker: `dimp_jax.tracking.tracker.Tracker`.

    Raises:
      ValueError: a blur of the first frame with sigma <= 0.
    """
    config = tracker.config.tracker
    # The functions themselves: what `host.traced` has kept is of one platform.
    plain = programs.Programs(*map(inspect.unwrap, tracker.network.programs))
    network = tracker.network._replace(programs=plain)
    plans = tabulate(config.memory)
    exported = {}

    def add(name, function, *args):
        exported[name] = export.export(jax.jit(function), platforms=platforms)(*args)
        return jax.tree.unflatten(exported[name].out_tree, exported[name].out_avals)

    shape = jax.ShapeDtypeStruct
    image = shape((*export.symbolic_shape("h, w"), 3), np.uint8)
    yx, number = shape((2,), np.float32), shape((), np.float32)
    pose = {"center_yx": yx, "size_hw": yx, "scale": number}
    params = flatten_dict(network.params, sep="/")
    seed = shape((), np.uint32)

    first = add("first_crop", functools.partial(first_crop, config), image, pose)
    started = add("start", functools.partial(start, network, config), params, pose, first, seed)
    state = started | {"pose": pose, "image_hw": yx}
    cut = functools.partial(crop, config, network.filter_size_cells)
    crops = add("crop", cut, image, pose, state["frames_lost"])
    seen = add("look", functools.partial(look, network, config, plans), params, state, crops)
    for k, variant in enumerate(plans.variants, 1):
        run = functools.partial(learn, network, config, *variant)
        add(f"learn{k}", run, params, state, seen["sample"])
    return exported


class Plans(NamedTuple):
    """`online.plan_learning` as tables, for the device."""

    variants: tuple  # (store the sample?, iterations) of the programs learn1, learn2, ...
    choice: np.ndarray  # int32 [period, verdicts, 2]: of frame, verdict, low score; 0: do not learn
    rate: np.ndarray  # float32 [verdicts]


def tabulate(config) -> Plans:
    """config: `MemoryConfig`."""
    variants = tuple(sorted(online.learning_variants(config)))
    number = {(False, 0): 0} | {variant: k for k, variant in enumerate(variants, 1)}
    period = math.lcm(config.sample_interval, config.train_interval)
    plan = functools.partial(online.plan_learning, config)
    choice = [
        [[number[plan(frame, v, score)[:2]] for score in (np.inf, -np.inf)] for v in Verdict]
        for frame in range(period, 2 * period)
    ]
    rate = [plan(period, verdict, np.inf)[2] for verdict in Verdict]
    return Plans(variants, np.array(choice, np.int32), np.array(rate, np.float32))


def first_crop(config: TrackerConfig, image, pose):
    """The enlarged patch of the first frame, and by how much its content is to be moved."""
    crop_px = config.crop_size_px
    expanded_px = augment.expansion_size_px(config.augment, crop_px)
    center_yx = jnp.round(pose["center_yx"])
    patch, _ = windows.cut(
        image,
        center_yx,
        pose["scale"] * expanded_px,
        expanded_px,
        border_mode="replicate",
        max_scale_change=None,
        arithmetic=config.crop_arithmetic,
    )
    further_shift_yx = jnp.zeros(2, jnp.float32)
    if config.border_mode == "inside":  # see `online.init_with`
        into = windows.inside_shift_yx(center_yx, pose["scale"] * crop_px, image.shape[:2])
        further_shift_yx = -into / pose["scale"]
    return {"patch": patch, "further_shift_yx": further_shift_yx}


def start(network, config: TrackerConfig, params, pose, first, seed):
    """Learns the first filter: `online.init` after the crop."""
    settings, crop_px = config.augment, config.crop_size_px
    key = jax.random.key(seed)
    drawn, frame_key = draws.for_init(key, settings, network.clf_channels)
    samples, shifts = first_samples.make(
        first["patch"], settings, crop_px, drawn.shift, first["further_shift_yx"]
    )
    center_yx, size_hw, scale = pose["center_yx"], pose["size_hw"], pose["scale"]
    target = target_box_in_crop(center_yx, size_hw, jnp.round(center_yx), scale, crop_px)
    # The box follows the shifts only; the dropout samples have that of the identity.
    moves = jnp.pad(shifts[:, ::-1], ((0, settings.dropout_samples), (0, 2)))
    began = network.programs.start(
        unflatten_dict(params, sep="/"), samples, target[None] + moves, drawn.dropout
    )
    return {
        "base_size_hw": size_hw / scale,
        "key": jax.random.key_data(frame_key),
        "filt": began.filt,
        "memory": _fields(began.memory),
        "modulation": tuple(began.modulation or ()),
        "frame": jnp.int32(1),
        "frames_lost": jnp.int32(0),
    }


def growth(config: TrackerConfig, frames_lost):
    """`search_window.growth` on the device."""
    table = jnp.asarray(search_window.sides(config.localize), jnp.float32)
    return table[jnp.minimum(frames_lost, len(table) - 1)]


def crop(config: TrackerConfig, filter_size_cells, image, pose, frames_lost):
    """The patches of one frame: `online.sample_crops` of the `search_window`."""
    crop_px = config.crop_size_px
    scale = pose["scale"] * growth(config, frames_lost)
    cells = crop_px // STRIDE_PX
    offset_px = ((cells + filter_size_cells) % 2) * crop_px / (2 * cells)
    cuts = []
    for factor in programs.scale_factors(config.refine):
        patch, coord_yxyx = windows.cut(
            image,
            pose["center_yx"] + scale * np.float32(offset_px),
            scale * windows.kept(jnp.float32(factor)) * crop_px,
            crop_px,
            border_mode=config.border_mode,
            max_scale_change=config.max_scale_change,
            arithmetic=config.crop_arithmetic,
        )
        cuts.append((patch, *windows.position_and_scale(coord_yxyx, crop_px)))
    patches, positions, scales = (jnp.stack(parts) for parts in zip(*cuts, strict=True))
    return {"patches": patches, "positions_yx": positions, "scales": scales}


def look(network, config: TrackerConfig, plans: Plans, params, state, crops):
    """Finds the target, and says which of the learn programs is due: `online.step`.

    Returns:
      {"report": [7] centre y, x; size h, w; verdict; score; 0 or the number of a learn program,
       "next": what it changes in the state, "sample": for that program}.
    """
    uniforms = None
    if config.refine.method != "scale_search":
        key = jax.random.wrap_key_data(state["key"])
        uniforms = draws.for_frame(key, state["frame"], config.refine.num_random_boxes)
    pose = state["pose"]
    seen = network.programs.look(
        unflatten_dict(params, sep="/"),
        state["filt"],
        Levels(*state["modulation"]) if state["modulation"] else None,
        crops["patches"],
        (pose["center_yx"], pose["size_hw"], pose["scale"]),
        state["base_size_hw"],
        state["image_hw"],
        crops["positions_yx"],
        crops["scales"],
        uniforms,
    )
    center_yx, size_hw, (scale, verdict, score) = jnp.split(seen.report, (2, 4))
    frame, lost = state["frame"] + 1, verdict == Verdict.NOT_FOUND
    grown = growth(config, state["frames_lost"]) != 1  # as `search_window.judged`
    verdict = jnp.where(grown & ~lost, float(Verdict.UNCERTAIN), verdict)
    threshold = config.memory.low_score_threshold
    low = 0 if threshold is None else (score < threshold).astype(jnp.int32)
    plan = jnp.asarray(plans.choice)[frame % len(plans.choice), verdict.astype(jnp.int32), low]
    last = jnp.stack([verdict, score, plan.astype(jnp.float32)])
    rate = jnp.asarray(plans.rate)[verdict.astype(jnp.int32)]
    return {
        "report": jnp.concatenate([center_yx, size_hw, last]),
        "next": {
            "pose": {"center_yx": center_yx, "size_hw": size_hw, "scale": scale},
            "frame": frame,
            "frames_lost": jnp.where(lost, state["frames_lost"] + 1, 0),
        },
        "sample": {"feat": seen.feat, "box_xywh": seen.box_xywh, "rate": rate},
    }


def learn(network, config: TrackerConfig, insert, num_iter, params, state, sample):
    """Returns what learning changes in the state."""
    transforms = first_samples.unshifted(config.augment, config.crop_size_px)
    num_init = len(transforms) + config.augment.dropout_samples
    filt, memory, _ = network.programs.learn(
        unflatten_dict(params, sep="/"),
        state["filt"],
        Memory(**state["memory"], num_init=num_init),
        sample["feat"],
        sample["box_xywh"],
        sample["rate"],
        insert=insert,
        num_iter=num_iter,
    )
    return {"filt": filt} | ({"memory": _fields(memory)} if insert else {})


def _fields(memory: Memory) -> dict:
    """The arrays of a memory; `num_init` follows from the config."""
    names = [field.name for field in dataclasses.fields(memory) if field.name != "num_init"]
    return {name: getattr(memory, name) for name in names}
