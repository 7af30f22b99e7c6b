"""Weights as an Orbax directory with a card; and all that counts as a checkpoint, read.

PATH/card.json       what the weights are: architecture, config, source
PATH/variables/      Orbax: {"params": ..., "batch_stats": ...}
PATH/extras/         Orbax, optional: tensors of the source that the network does not use
PATH/checksums.json  SHA-256 of the files of both: Orbax itself does not notice changed bytes

The work directory of a training has a card too, and is read as its best checkpoint; so is one of
its steps, WORKDIR/checkpoints/STEP (checkpoints/run.py). A .safetensors file (weights_file.py) and
the name of shipped weights (shipped.py) are read as well.
"""

import hashlib
import json
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import jax
import numpy as np

from dimp_jax.checkpoints import (
    CheckpointError,
    refuse_existing,
    refuse_not_finite,
    run,
    shipped,
    weights_file,
)
from dimp_jax.checkpoints import card as cards
from dimp_jax.host import files

FORMAT = cards.FORMAT


def save(path, variables, card, extras=None) -> None:
    """Writes a new checkpoint directory, all of it or nothing.

    Args:
      path: must not exist; missing parents are made.
      variables: nested dicts of float32 arrays (numpy or jax), none of them empty.
      card: see `read_card`.
      extras: name -> array, of any type; None or {} writes none.

    Raises:
      CheckpointError: `path` exists, `card` is not a card, or an array cannot be stored or is not
        finite.
    """
    import orbax.checkpoint as ocp  # takes long: not before it is needed

    path = Path(path)
    refuse_existing(path)
    cards.check(card, path)
    variables, extras = jax.tree.map(np.asarray, (variables, extras or {}))
    for key, array in jax.tree_util.tree_leaves_with_path(variables):
        if array.dtype != np.float32 or array.size == 0:
            name = jax.tree_util.keystr(key)
            raise CheckpointError(
                f"{path}: variables{name} is {array.dtype} of shape {array.shape}, expected "
                "float32 with at least one element"
            )
    refuse_not_finite(variables, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(path) as partial:
        partial.mkdir()
        groups = {"variables": variables}
        if extras:
            groups["extras"] = {_escape(name): array for name, array in extras.items()}
        with ocp.PyTreeCheckpointer() as checkpointer:
            for group, tree in groups.items():
                checkpointer.save(partial / group, tree)
        write_json(partial / "checksums.json", {g: _digests(partial / g) for g in groups})
        write_json(partial / "card.json", card)  # last: without it nothing loads


def start_run(workdir, card, start=None) -> None:
    """Makes `workdir` readable as a checkpoint, once it holds one: writes its card.

    Args:
      card: see `read_card`.
      start: the checkpoint directory that the training starts from, or None; the tensors of its
        source that the network does not use are copied, so that the way back to torch is whole.
    """
    workdir = Path(workdir)
    cards.check(card, workdir)
    # Of a start from something else, before there was a checkpoint; without a card not ours.
    if (workdir / "card.json").exists():
        shutil.rmtree(workdir / "extras", ignore_errors=True)
        (workdir / "checksums.json").unlink(missing_ok=True)
    if start is not None and load_extras(start):  # checks their bytes, too
        folder = Path(start) if (Path(start) / "extras").is_dir() else _run_of(start)
        shutil.copytree(folder / "extras", workdir / "extras", dirs_exist_ok=True)
        write_json(workdir / "checksums.json", {"extras": _digests(workdir / "extras")})
    write_json(workdir / "card.json", card)


def load(where):
    """Reads a checkpoint.

    Args:
      where: a checkpoint directory, the work directory of a training (its best checkpoint), a
        .safetensors file, or, as a str, the name of shipped weights (`shipped.resolve`).

    Returns:
      (variables, card): nested dicts of float32 numpy arrays; see `read_card`.

    Raises:
      CheckpointError: it is none of these, a file of it is damaged, or a tensor is not finite.
    """
    path = _existing(where)
    if path.is_file():
        variables, card = weights_file.load(path)
    else:
        card = read_card(path)
        step = run.step_folder(path)
        variables = run.load_variables(step) if step else _load_group(path, "variables")
    refuse_not_finite(variables, path)
    return variables, card


def load_extras(where) -> dict:
    """The tensors of the source that the network does not use: name -> array, {} if none.

    Only directories have any; `where` is that of `load`.
    """
    path = _existing(where)
    if path.is_file():
        return {}
    read_card(path)
    path = _run_of(path)
    # A training from scratch has none, and no checksums of them.
    if not (path / "checksums.json").exists() and run.is_run(path):
        return {}
    if "extras" not in _checksums(path):
        return {}
    extras = _load_group(path, "extras")
    return {unquote(name): array for name, array in extras.items()}


def read_card(where) -> dict:
    """Reads what a checkpoint is, without its arrays if it is a directory.

    Args:
      where: that of `load`.

    Returns:
      A dict of "format" (1), "architecture", "config" (`config.to_dict` of a Config), "contains"
      (the parameter groups there are, e.g. ["backbone"]), "source" (of the converted file: file,
      sha256, container, unknown_globals), "dimp_jax" (the version that wrote it).

    Raises:
      CheckpointError: there is no such checkpoint, or its card is missing or damaged.
    """
    path = _existing(where)
    if path.is_file():
        return weights_file.load(path)[1]
    card = _read_json(_run_of(path) / "card.json")
    cards.check(card, path)
    return card


def _existing(where) -> Path:
    """The directory or .safetensors file that `where` stands for."""
    path = shipped.resolve(where)
    if path.is_dir() or (path.is_file() and path.suffix == weights_file.SUFFIX):
        return path
    if shipped.is_shipped(where):
        raise CheckpointError(
            f"{path}: the weights {where!r}, which ship with dimp_jax, are missing from this "
            "installation: install it again"
        )
    found = "nothing there"
    if path.exists():
        found = "a file: one of torch must be converted first, `python -m dimp_jax.convert "
        found += f"{path} {path.with_name(path.name.split('.')[0])}`"
    raise CheckpointError(
        f"{path}: expected a checkpoint directory made by `python -m dimp_jax.convert` or "
        f"train.py, a {weights_file.SUFFIX} file or the name of shipped weights "
        f"({', '.join(shipped.NAMES)}), found {found}"
    )


def _run_of(path):
    """The directory with the card: the work directory for one of its steps, else `path`."""
    path = Path(path)
    return path.parent.parent if path.parent.name == run.FOLDER else path


def _load_group(path, group):
    expected = _checksums(path).get(group)
    found = _digests(path / group)
    wrong = sorted(name for name in expected or () if found.get(name) != expected[name])
    if not expected or wrong:
        name = wrong[0] if wrong else "checksums.json"
        state = "damaged" if name in found else "missing"
        raise CheckpointError(f"{path / group}: damaged checkpoint: {name} is {state}")
    return run.read_tree(path / group)


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


def write_json(path, value) -> None:
    """Writes JSON types for people, too: all of the file, or what was there stays."""
    files.write_atomically(path, json.dumps(value, indent=2) + "\n")


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: not JSON ({error})") from error
