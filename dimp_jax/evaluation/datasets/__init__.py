"""Benchmarks as sequences: `load` for an evaluation, `check` for a look at a copy before it."""

import dataclasses
import difflib
import functools
from pathlib import Path
from types import ModuleType

from dimp_jax.evaluation.datasets import (
    files,
    got10k,
    lasot,
    nfs,
    otb,
    trackingnet,
    uav123,
    vot2018,
)
from dimp_jax.media import sequences, text
from dimp_jax.media.images import ImageFrames, InputError, read_image

FOLDER = "folder"
READERS: dict[str, tuple[ModuleType, str]] = {  # module, and the name of the official metric rule
    "otb100": (otb, "otb"),
    "otb50": (otb, "otb"),
    "nfs": (nfs, "otb"),
    "uav123": (uav123, "uav"),
    "lasot": (lasot, "lasot"),
    "lasot_ext": (lasot, "lasot"),
    "trackingnet": (trackingnet, "trackingnet"),
    "got10k_val": (got10k, "got10k"),
    "got10k_test": (got10k, "got10k"),
    # Its official numbers need resets; for a run without them there is no rule of the challenge.
    "vot2018": (vot2018, "visible"),
}
NAMES = (*READERS, FOLDER)


def official_rule(name) -> str:
    """Name of the metric rule that a data set's official toolkit has.

    Raises:
      InputError: no such data set.
    """
    _known(name)
    return "visible" if name == FOLDER else READERS[name][1]


def load(name, data_dir, *, limit=None, only=()) -> list[sequences.Sequence]:
    """The sequences of a data set, in its order; decodes only the first frame of each.

    Args:
      name: one of NAMES; "folder" is any folder of sequences.
      data_dir: the copy, in the official layout.
      limit: only the first `limit` frames of each are used.
      only: names of sequences; empty: all, and then none may be missing.

    Raises:
      InputError: no such data set, folder or sequence, sequences that are missing (their number and
        the first names), or one that cannot be used.
    """
    _known(name)
    if name == FOLDER:
        found = sequences.load_folder(data_dir, limit=limit)
        return _chosen(name, found, only)
    reader, root = READERS[name][0], _root(data_dir)
    inventory = reader.inventory(root, name)
    entries = _chosen(name, inventory.entries, only)
    missing = [entry.name for entry in entries if _lacks(entry)]
    if missing:
        hint = f": expected {reader.LAYOUT}" if len(missing) == len(entries) else ""
        raise InputError(
            f"{root}: {len(missing)} of {len(entries)} sequences of {name} are missing: "
            f"{text.first_names(missing)} (--check lists all, --sequences takes a part){hint}"
        )
    if not only and len(entries) < inventory.expected and reader in (nfs, trackingnet):
        # Without a list of names in it, nothing else says that a copy is incomplete.
        raise InputError(
            f"{root}: {len(entries)} sequences of {name}, expected {inventory.expected}: complete "
            "it, or name those to evaluate: --sequences NAME ..."
        )
    listing = functools.cache(files.list_frames)
    return [_loaded(reader.read(entry, listing), limit) for entry in entries]


def check(name, data_dir) -> list[str]:
    """What is wrong with a copy, one line each; none: it is complete.

    Looks for missing sequences, frames and flags, wrong lengths, boxes that are none where the
    release has some, folders that do not belong there, and first and last images that cannot be
    decoded. Only these two images of a sequence are read.

    Raises:
      InputError: no such data set.
    """
    _known(name)
    try:
        if name == FOLDER:
            found = sequences.load_folder(data_dir)
            return [line for sequence in found for line in _unreadable(sequence)]
        reader, root = READERS[name][0], _root(data_dir)
        inventory = reader.inventory(root, name)
    except InputError as error:
        return [_line(error)]
    problems = []
    if len(inventory.entries) != inventory.expected:
        problems.append(
            f"{root}: {len(inventory.entries)} sequences of {name}, expected {inventory.expected}"
        )
    listing = functools.cache(files.list_frames)
    for entry in inventory.entries:
        problems += _lacks(entry) or _inspect(reader, entry, listing)
    return list(dict.fromkeys(problems + _strangers(inventory)))


def _known(name):
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES) or NAMES
        raise InputError(f"no data set {name!r}: expected one of: {', '.join(near)}")


def _root(data_dir):
    root = Path(data_dir).resolve()
    if not root.is_dir():
        raise InputError(f"{data_dir}: no such folder")
    return root


def _chosen(data_set, available, only):
    """Those of `available` whose `name` is in `only`; all if that is empty."""
    names = [item.name for item in available]
    for name in only:
        if name not in names:
            similar = [n for n in names if name.lower() in n.lower()]
            near = difflib.get_close_matches(name, names) or similar or names
            raise InputError(
                f"{data_set} has no sequence {name!r}: there are {text.first_names(near)}"
            )
    return [item for item in available if not only or item.name in only]


def _lacks(entry) -> list[str]:
    """What an entry has not on disk."""
    lines = [] if entry.images.is_dir() else [f"{entry.images}: no such folder"]
    return lines if entry.boxes.is_file() else [*lines, f"{entry.boxes}: no such file"]


def _loaded(reading, limit):
    """The checked sequence, cut to `limit` frames."""
    if reading.faults:
        raise InputError(reading.faults[0])
    sequence = reading.sequence
    cut = lambda values: None if values is None else values[:limit]
    sequence = dataclasses.replace(
        sequence,
        frames=ImageFrames(sequence.frames.paths[:limit]),
        groundtruth=cut(sequence.groundtruth),
        visible=cut(sequence.visible),
    )
    return sequences.checked(sequence)


def _inspect(reader, entry, listing) -> list[str]:
    """Everything wrong with one sequence that is there."""
    try:
        reading = reader.read(entry, listing)
        lines = [*reading.faults, *reading.doubts]
        return lines + _unreadable(reading.sequence)
    except InputError as error:
        return [_line(error)]


def _unreadable(sequence) -> list[str]:
    """First and last image that cannot be decoded; a first box outside of the image."""
    lines = []
    try:
        sequences.checked(sequence)
    except InputError as error:
        lines.append(_line(error))
    try:
        read_image(sequence.frames.paths[-1])
    except InputError as error:
        lines.append(_line(error))
    return lines


def _strangers(inventory) -> list[str]:
    """Folders beside those of the entries."""
    if inventory.parent is None:
        return []
    own = {path for entry in inventory.entries for path in (entry.images, *entry.images.parents)}
    return [
        f"{folder}: not a folder of this data set"
        for folder in files.subfolders(inventory.parent)
        if folder not in own
    ]


def _line(error):
    return " ".join(str(error).split())
