"""Torch state dicts to this package's variables, and back.

Ours are `{"params": {...}, "batch_stats": {...}}`: nested dicts of float32 numpy, convolutions
HWIO. What the network does not use goes to the extras, a flat dict of the torch names, so that the
way back is exact.
"""

import re

import ml_dtypes
import numpy as np
from flax import traverse_util

from dimp_jax.checkpoints import CheckpointError
from dimp_jax.checkpoints.inert_pickle import Opaque
from dimp_jax.checkpoints.torch_names import (
    ARCHITECTURES,
    LITE0_USED_BLOCKS,
    RESNETS,
    TRACKERS,
    efficientnet_entries,
    entries,
)

LITE0_BLOCKS = 16
# Where training programs keep the state dict in what they save, and what wrappers of modules
# (DataParallel, torch.compile, Lightning) put before all its names. None of ours begins with these.
KEYS = ("net", "network", "state_dict", "model", "model_state_dict", "params")
PREFIXES = ("module.", "_orig_mod.", "net.", "network.", "model.")
MAX_WRAPPERS = 4
FLOATS = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def find(value):
    """The state dict in a saved object.

    Args:
      value: of a `torch_file.TorchFile`.

    Returns:
      (tensors, constructor, found_as): name -> array, without what wrappers put before all names;
      what is pickled beside it under that name, or None; a remark on key and prefix for people, ""
      if there is nothing to say.

    Raises:
      CheckpointError: none in it, or it is not clear which.
    """
    constructor, keys, prefixes = None, [], []
    while isinstance(value, dict) and len(keys) < MAX_WRAPPERS:
        found = [key for key in KEYS if _holds_tensors(value.get(key), MAX_WRAPPERS)]
        if len(found) > 1:
            raise CheckpointError(
                f"holds state dicts under {' and '.join(map(repr, found))}: which of them is meant "
                "is not clear; save that one alone"
            )
        if not found:
            break
        keys += found
        constructor = value.get("constructor", constructor)
        value = value[found[0]]
    if not isinstance(value, dict) or not value:
        what = f"with the keys {list(value)[:5]!r:.200}" if isinstance(value, dict) else ""
        if isinstance(value, Opaque):
            what = f"of {value.name!a:.80}: save model.state_dict() instead of the model"
        raise CheckpointError(
            "holds no state dict: expected a dict of tensors, or one under "
            f"{', '.join(map(repr, KEYS))}; found {type(value).__name__} {what}".rstrip()
        )
    for name, tensor in value.items():
        if type(name) is not str or not isinstance(tensor, np.ndarray):
            raise CheckpointError(
                f"holds no state dict: {name!r:.80} is {type(tensor).__name__}, expected a tensor"
            )
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in value)), None):
        prefixes.append(prefix)
        value = {name.removeprefix(prefix): tensor for name, tensor in value.items()}
    found_as = f"; under {'/'.join(keys)!r}" if keys not in ([], ["net"]) else ""
    found_as += f"; without the prefix {''.join(prefixes)!r}" if prefixes else ""
    kinds = {str(tensor.dtype) for tensor in value.values()} & {"float16", "bfloat16"}
    found_as += f"; {' and '.join(sorted(kinds))} read as float32" if kinds else ""
    return value, constructor, found_as


def _holds_tensors(value, depth):
    if not isinstance(value, dict):
        return False
    return any(isinstance(part, np.ndarray) for part in value.values()) or (
        depth > 0 and any(_holds_tensors(value.get(key), depth - 1) for key in KEYS)
    )


def identify(state_dict) -> str:
    """Which of `torch_names.ARCHITECTURES` a state dict is of, by its names and shapes.

    SuperDiMP has the names and shapes of DiMP-50, and is taken for it: only the file's constructor
    tells them apart, see dimp_jax/convert.py.

    Raises:
      CheckpointError: another network; the message says what it looks like.
    """
    names = set(state_dict)
    if any(name.startswith(("classifier.", "bb_regressor.")) for name in names):
        return _identify_tracker(names)
    if "conv1.weight" in names and "layer1.0.conv1.weight" in names:
        return _identify_resnet(names, "")
    if "_conv_stem.weight" in names:
        return _identify_efficientnet(state_dict)
    first = ", ".join(f"{name!r:.80}" for name in list(state_dict)[:3])
    raise CheckpointError(
        f"not the state dict of a known network ({len(names)} tensors; the first are {first}): "
        f"expected one of {', '.join(ARCHITECTURES)}"
    )


def _identify_tracker(names):
    optimizer = "classifier.filter_optimizer."
    parameters = {name.removeprefix(optimizer) for name in names if name.startswith(optimizer)}
    if "filter_reg" in parameters:
        learned_maps = bool(parameters - {"log_step_length", "filter_reg"})
        wanted = (_identify_resnet(names, "feature_extractor."), learned_maps)
        return next(name for name, parts in TRACKERS.items() if parts == wanted)
    if not any(name.startswith("classifier.") for name in names):
        looks = "ATOM (an IoU network without a DiMP classifier)"
    else:
        looks = f"an unknown or incomplete relative of DiMP ({len(names)} tensors)"
    raise CheckpointError(f"the network looks like {looks}: expected {', '.join(TRACKERS)}")


def _identify_resnet(names, prefix):
    pattern = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.conv1\.weight")
    found = {match.groups() for name in names if (match := pattern.fullmatch(name))}
    blocks = tuple(sum(stage == str(s) for stage, _ in found) for s in range(1, 5))
    bottleneck = f"{prefix}layer1.0.conv3.weight" in names
    for architecture, (expected, has_bottleneck) in RESNETS.items():
        if blocks[:3] == expected[:3] and bottleneck == has_bottleneck:
            return architecture
    kind = "bottleneck" if bottleneck else "basic"
    raise CheckpointError(
        f"the backbone looks like a ResNet of {blocks} {kind} blocks: expected ResNet-18 "
        "((2, 2, 2, 2) basic) or ResNet-50 ((3, 4, 6, 3) bottleneck)"
    )


def _identify_efficientnet(state_dict):
    blocks = {name.split(".")[1] for name in state_dict if name.startswith("_blocks.")}
    squeeze = any("._se_" in name for name in state_dict)
    shape = np.shape(state_dict["_conv_stem.weight"])
    if len(blocks) == LITE0_BLOCKS and not squeeze and shape == (32, 3, 3, 3):
        return "efficientnet_lite0"
    raise CheckpointError(
        f"the network looks like an EfficientNet of {len(blocks)} blocks, stem {shape}"
        f"{', with squeeze-and-excitation' if squeeze else ''}: expected EfficientNet-Lite0 "
        f"({LITE0_BLOCKS} blocks, stem (32, 3, 3, 3), no squeeze-and-excitation)"
    )


def from_torch(state_dict, architecture):
    """Maps a state dict of numpy arrays to our variables.

    Args:
      state_dict: torch name -> array, in single or half precision. `num_batches_tracked` may be
        absent, and of an ImageNet network a whole part that is not used here (layer4, fc).
      architecture: one of `torch_names.ARCHITECTURES`, e.g. from `identify`.

    Returns:
      (variables, extras): new float32 arrays, of trackers in the groups backbone, clf,
      filter_init, predictor, iou, of ImageNet networks in backbone only; torch name -> array of
      what the network does not use, half precision as float32.

    Raises:
      CheckpointError: a tensor is missing, unexpected, mis-shaped, not finite or of another type.
    """
    return _map(state_dict, architecture, entries(architecture))


def efficientnet_from_torch(state_dict, num_blocks=LITE0_USED_BLOCKS, with_head=False):
    """`from_torch` of EfficientNet-Lite0, with a choice of what counts as used.

    Args:
      num_blocks: the first 0..16 blocks become variables.
      with_head: also backbone/head and the classifier backbone/fc do.
    """
    if not 0 <= num_blocks <= LITE0_BLOCKS:
        raise ValueError(f"num_blocks={num_blocks}: EfficientNet-Lite0 has {LITE0_BLOCKS}")
    return _map(state_dict, "efficientnet_lite0", efficientnet_entries(num_blocks, with_head))


def _map(state_dict, architecture, rows):
    expected = {row.name for row in rows}
    part = lambda name: name.split(".")[0]
    parts = {part(row.name) for row in rows if row.path is not None} | set(map(part, state_dict))
    rows = [row for row in rows if part(row.name) in parts]
    problems = [problem for row in rows if (problem := _tensor_problem(state_dict, row))]
    problems += [f"{name!r:.80} is unexpected" for name in state_dict if name not in expected]
    _refuse(problems, f"not a {architecture} state dict", "tensors are wrong")
    used = {row.path: row.to_ours(state_dict[row.name]) for row in rows if row.path is not None}
    unused = [row.name for row in rows if row.path is None and row.name in state_dict]
    single = lambda array: np.array(array, np.float32 if array.dtype in FLOATS else None)
    extras = {name: single(state_dict[name]) for name in unused}
    return {"params": {}, "batch_stats": {}} | traverse_util.unflatten_dict(used), extras


def _tensor_problem(state_dict, row):
    if row.name not in state_dict:
        return None if row.optional else f"{row.name!r} is missing"
    tensor = state_dict[row.name]
    if not isinstance(tensor, np.ndarray):
        return f"{row.name!r} is not a tensor"
    if tensor.shape != row.shape:
        return f"{row.name!r} has shape {tensor.shape}, expected {row.shape}"
    if not row.optional and tensor.dtype not in FLOATS:
        return f"{row.name!r} is {tensor.dtype}, expected float32, or half precision"
    if not np.isfinite(tensor).all():
        return (
            f"{row.name!r} is not finite (a training that failed, or an overflow in half precision)"
        )
    return None


def with_unused(extras, architecture) -> dict:
    """`extras` with zeros for the tensors of a tracker's state dict that no part of it evaluates.

    A strict loader wants them to be there; a training does not have them.
    """
    _check_way_back(architecture)
    return extras | {
        row.name: np.zeros(row.shape, np.float32)
        for row in entries(architecture)
        if row.path is None and not row.optional and row.name not in extras
    }


def _check_way_back(architecture):
    if architecture not in TRACKERS:
        raise CheckpointError(
            f"architecture {architecture!r}: only {', '.join(TRACKERS)} have a torch state dict"
        )


def to_torch(variables, extras, architecture) -> dict:
    """The tracker's state dict that `from_torch` made `variables` and `extras` of, bit for bit.

    Args:
      variables: nested dicts; leaves numpy or jax arrays, float32.
      extras: torch name -> array; layer4 and fc, which published files hold, must be there.
      architecture: one of `torch_names.TRACKERS`.

    Returns:
      torch name -> new numpy array, in the order of the published files.

    Raises:
      CheckpointError: an array is missing, unexpected, mis-shaped or not float32.
    """
    _check_way_back(architecture)
    rows = entries(architecture)
    ours = traverse_util.flatten_dict(variables)
    expected = {row.path for row in rows} | {row.name for row in rows if row.path is None}
    problems = [problem for row in rows if (problem := _array_problem(ours, extras, row))]
    problems += [f"{'/'.join(path)!r} is unexpected" for path in ours if path not in expected]
    problems += [f"extra {name!r:.80} is unexpected" for name in extras if name not in expected]
    _refuse(problems, f"not the weights of a {architecture}", "arrays are wrong")
    state_dict = {}
    for row in rows:
        if row.path is not None:
            state_dict[row.name] = row.to_torch(np.asarray(ours[row.path]))
        elif row.name in extras:
            state_dict[row.name] = np.array(extras[row.name])
    return state_dict


def _array_problem(ours, extras, row):
    if row.path is None:
        problem = _tensor_problem(extras, row)
        return problem and f"extra {problem}"
    name = "/".join(row.path)
    if row.path not in ours:
        return f"{name!r} is missing"
    array = ours[row.path]
    if tuple(np.shape(array)) != row.our_shape:
        return f"{name!r} has shape {tuple(np.shape(array))}, expected {row.our_shape}"
    if getattr(array, "dtype", None) != np.float32:
        return f"{name!r} is {getattr(array, 'dtype', type(array).__name__)}, expected float32"
    return None


def _refuse(problems, what, counted):
    if problems:
        more = f" ({len(problems) - 1} more {counted})" if len(problems) > 1 else ""
        raise CheckpointError(f"{what}: {problems[0]}{more}")
