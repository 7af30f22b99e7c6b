"""Weights as one file to give away: a .safetensors file with a card.

Tensors are named by their path, "params/clf/conv/kernel". Kernels may be stored in 16 bit;
vectors and scalars (biases, batch norms, the learned loss) are always float32: they are a fiftieth
of the numbers, and variances span more than float16 does. The metadata holds the card as JSON and a
SHA-256 of all of it, since the format itself does not notice changed bytes.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from dimp_jax.checkpoints import CheckpointError, refuse_existing, refuse_not_finite
from dimp_jax.checkpoints import card as cards
from dimp_jax.host import files

SUFFIX = ".safetensors"
# By their names on the command line, and in the file.
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
STORED = {"F16": np.float16, "BF16": ml_dtypes.bfloat16, "F32": np.float32}
COLLECTIONS = ("params", "batch_stats")
# Of the largest value of its tensor; rounding alone is 0.0005 in float16, 0.004 in bfloat16.
MAX_CHANGE = 0.01


def save(path, variables, card, dtype: str = "float32") -> tuple[float, str]:
    """Writes a new file, all of it or nothing.

    Args:
      path: must not exist; missing parents are made.
      variables: {"params": ..., "batch_stats": ...}, nested dicts of float32 arrays.
      card: see `store.read_card`.
      dtype: of the tensors with two dimensions or more, a key of `DTYPES`.

    Returns:
      The largest change of a value, as a share of the largest value of its tensor, and the name
      of that tensor.

    Raises:
      CheckpointError: `path` exists, `card` is not a card, an array is not finite or not float32,
        or `dtype` cannot hold its values.
      OSError: it cannot be written.
    """
    path = Path(path)
    refuse_existing(path)
    cards.check(card, path)
    if not variables.get("params") or not set(variables) <= set(COLLECTIONS):
        raise CheckpointError(f"{path}: expected variables {COLLECTIONS}, got {list(variables)}")
    refuse_not_finite(variables, path)
    changes, tensors = {}, {}
    for name, array in sorted(traverse_util.flatten_dict(variables, sep="/").items()):
        tensors[name], changes[name] = _stored(array, DTYPES[dtype], name, path)
    text = json.dumps(card)
    metadata = {"card": text, "sha256": _digest(text, tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(path) as partial:
        partial.write_bytes(safetensors.numpy.save(tensors, metadata))
    worst = max(changes, key=lambda name: changes[name])
    return changes[worst], worst


def load(path):
    """Reads such a file.

    Returns:
      (variables, card): nested dicts {"params": ..., "batch_stats": ...} of float32 numpy arrays;
      see `store.read_card`.

    Raises:
      CheckpointError: it cannot be read, is damaged, or is another kind of file.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    if not {"card", "sha256"} <= metadata.keys():
        raise CheckpointError(
            f"{path}: its metadata has no card: expected a file made by "
            f"`python -m dimp_jax.convert WORKDIR NAME{SUFFIX}`"
        )
    if _digest(metadata["card"], tensors) != metadata["sha256"]:
        raise CheckpointError(f"{path}: damaged: its bytes are not those that were saved")
    try:
        card = json.loads(metadata["card"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its card is not JSON ({error})") from error
    cards.check(card, path)
    floats = {name: array.astype(np.float32) for name, array in tensors.items()}
    empty = {collection: {} for collection in COLLECTIONS}
    return empty | traverse_util.unflatten_dict(floats, sep="/"), card


def _stored(array, dtype, name, path):
    """`array` as it is written, contiguous, and the largest change relative to its maximum."""
    array = np.asarray(array)
    if array.dtype != np.float32 or array.size == 0:
        raise CheckpointError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}, expected float32 with at "
            "least one element"
        )
    # Zero-dimensional arrays stay arrays.
    dtype = dtype if array.ndim >= 2 else np.float32
    with np.errstate(over="ignore"):
        stored = np.array(array, dtype, order="C")
    back = stored.astype(np.float32)
    if not np.isfinite(back).all():
        raise CheckpointError(
            f"{path}: {name} has values up to {np.abs(array).max():.3g}, too large for "
            f"{np.dtype(dtype).name}: use --dtype bfloat16 or float32"
        )
    largest = np.abs(array).max()
    change = float(np.abs(back - array).max() / largest) if largest else 0.0
    if change > MAX_CHANGE:
        raise CheckpointError(
            f"{path}: {name} has values below {largest:.3g}, which {np.dtype(dtype).name} would "
            f"change by {change:.1%}: use --dtype bfloat16 or float32"
        )
    return stored, change


def _digest(card, tensors) -> str:
    """SHA-256 over the card and the names, types, shapes and bytes of all tensors."""
    sha = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _read(path):
    """({name: array as stored}, metadata) of a .safetensors file of ours."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged, or no {SUFFIX} file ({error})") from error
    tensors = {}
    folders = {parent.as_posix() for name, _ in entries for parent in PurePosixPath(name).parents}
    for name, entry in entries:
        ours = "/" in name and name.split("/")[0] in COLLECTIONS and name not in folders
        if not ours or entry["dtype"] not in STORED:
            raise CheckpointError(
                f"{path}: tensor {name!a:.80} of type {entry['dtype']}: expected "
                f"params/... or batch_stats/... of {', '.join(STORED)}: not a file made by "
                "`python -m dimp_jax.convert`"
            )
        flat = np.frombuffer(entry["data"], STORED[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    # Valid by now; the library gives the metadata only of a file that it opens itself.
    end = 8 + int.from_bytes(data[:8], "little")
    return tensors, json.loads(data[8:end]).get("__metadata__", {})
