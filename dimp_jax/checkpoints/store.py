"""Weights as an Orbax directory with a card.

PATH/card.json       what the weights are: architecture, config, source
PATH/variables/      Orbax: {"params": ..., "batch_stats": ...}
PATH/extras/         Orbax, optional: tensors of the source that the network does not use
PATH/checksums.json  SHA-256 of the files of both: Orbax itself does not notice changed bytes
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import jax
import numpy as np
import orbax.checkpoint as ocp

from dimp_jax import config as config_lib
from dimp_jax.checkpoints import CheckpointError

FORMAT = 1
CARD_TYPES = {
    "format": int,
    "architecture": str,
    "config": dict,
    "contains": list,
    "source": dict,
    "dimp_jax": str,
}


def save(path, variables, card, extras=None) -> None:
    """Writes a new checkpoint directory, all of it or nothing.

    Args:
      path: must not exist; missing parents are made.
      variables: nested dicts of float32 arrays (numpy or jax), none of them empty.
      card: see `read_card`.
      extras: name -> array, of any type; None or {} writes none.

    Raises:
      CheckpointError: `path` exists, `card` is not a card, or an array cannot be stored.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise CheckpointError(f"{path}: already exists; remove it or choose another name")
    _check_card(card, path)
    variables, extras = jax.tree.map(np.asarray, (variables, extras or {}))
    for key, array in jax.tree_util.tree_leaves_with_path(variables):
        if array.dtype != np.float32 or array.size == 0:
            name = jax.tree_util.keystr(key)
            raise CheckpointError(
                f"{path}: variables{name} is {array.dtype} of shape {array.shape}, expected "
                "float32 with at least one element"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, for the rename to be atomic. The card comes last: without it nothing loads.
    partial = path.absolute().with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        groups = {"variables": variables}
        if extras:
            groups["extras"] = {_escape(name): array for name, array in extras.items()}
        with ocp.PyTreeCheckpointer() as checkpointer:
            for group, tree in groups.items():
                checkpointer.save(partial / group, tree)
        _write_json(partial / "checksums.json", {g: _digests(partial / g) for g in groups})
        _write_json(partial / "card.json", card)
        partial.rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):  # the usual case: it was renamed
            shutil.rmtree(partial)


def load(path):
    """Reads a checkpoint directory.

    Returns:
      variables: nested dicts of float32 numpy arrays.
      card: see `read_card`.

    Raises:
      CheckpointError: `path` is not a checkpoint directory, or a file of it is damaged.
    """
    card = read_card(path)
    variables = _load_group(Path(path), "variables")
    return variables, card


def load_extras(path) -> dict:
    """The tensors of the source that the network does not use: name -> array, {} if none."""
    read_card(path)
    if "extras" not in _checksums(Path(path)):
        return {}
    extras = _load_group(Path(path), "extras")
    return {unquote(name): array for name, array in extras.items()}


def read_card(path) -> dict:
    """Reads what a checkpoint directory is, without its arrays.

    Returns:
      A dict: "format" 1, "architecture", "config" (`config.to_dict` of a Config), "contains"
      (the parameter groups there are, e.g. ["backbone"]), "source" (of the converted file: file,
      sha256, container, unknown_globals), "dimp_jax" (the version that wrote it).

    Raises:
      CheckpointError: there is no such directory, or its card is missing or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing there"
        raise CheckpointError(
            f"{path}: expected a checkpoint directory made by `python -m dimp_jax.convert`, "
            f"found {found}"
        )
    card = _read_json(path / "card.json")
    _check_card(card, path)
    return card


def _check_card(card, path):
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: damaged card: expected a dict, got {type(card).__name__}")
    if card.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{path}: its card has format {card['format']!r}, this version reads {FORMAT}"
        )
    for key, kind in CARD_TYPES.items():
        if type(card.get(key)) is not kind:
            raise CheckpointError(
                f"{path}: damaged card: {key!r} is {card.get(key)!r:.80}, expected {kind.__name__}"
            )
    try:
        config_lib.from_dict(config_lib.Config, card["config"])
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its card has no valid config: {error}") from error


def _load_group(path, group):
    expected = _checksums(path).get(group)
    found = _digests(path / group)
    wrong = sorted(name for name in expected or () if found.get(name) != expected[name])
    if not expected or wrong:
        name = wrong[0] if wrong else "checksums.json"
        state = "damaged" if name in found else "missing"
        raise CheckpointError(f"{path / group}: damaged checkpoint: {name} is {state}")
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(path.absolute() / group).item_metadata.tree
            # As numpy: no sharding is needed, on any topology.
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return checkpointer.restore(path.absolute() / group, restore_args=as_numpy)
    except Exception as error:  # Orbax documents none; whatever it is, the arrays are unusable
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{path / group}: Orbax cannot read it ({detail:.200})") from error


def _checksums(path):
    checksums = _read_json(path / "checksums.json")
    if not isinstance(checksums, dict) or not all(isinstance(g, dict) for g in checksums.values()):
        raise CheckpointError(f"{path / 'checksums.json'}: damaged: expected a dict of dicts")
    return checksums


def _digests(folder):
    digests = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
            digests[file.relative_to(folder).as_posix()] = digest.hexdigest()
    return digests


def _escape(name):
    """A name without the dots and slashes that Orbax joins keys with."""
    return quote(name, safe="").replace(".", "%2E")


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: not JSON ({error})") from error
