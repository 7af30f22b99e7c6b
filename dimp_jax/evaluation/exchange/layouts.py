"""Where other toolkits keep the boxes and times of a tracker, and what they call sequences."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError
from dimp_jax.media.text import numbers, read_lines

PREFIXES = ("nfs_", "uav_")  # pytracking's, of sequences of NFS and UAV123
# The only target of this OTB sequence is that of its second annotation; some names tell.
ALIASES = {"human4_2": "human4"}
TIME = "_time"
RUN = re.compile(r"(.+)_(\d{3})")


class Files(NamedTuple):
    """What one run left of one sequence."""

    boxes: Path
    times: Path | None
    column: int = -1  # of the times, counted from the end


Runs = list[dict[str, Files]]  # by the toolkit's name of a sequence, one dict a run


def pytracking(directory) -> Runs:
    """`<tracker>/<param>_<run>/<seq>.txt` and `<seq>_time.txt`, or `<param>` without a run.

    Args:
      directory: `<tracker>/<param>`, for all its runs; one folder of boxes; or `<tracker>` where
        it has only one parameter setting.

    Raises:
      InputError: no boxes there, or settings to choose from.
    """
    directory = Path(directory)
    if _texts(directory):
        return [_flat(directory, directory)]
    if directory.is_dir():
        found = {p.name: p for p in listed(directory) if _texts(p)}
        settings = sorted({_setting(name) for name in found})
        if len(settings) > 1:
            raise InputError(
                f"{directory}: results of several settings: give one of them: "
                f"{', '.join(str(directory / name) for name in settings)}"
            )
    else:
        found = {
            p.name: p
            for p in listed(directory.parent)
            if _run_of(p.name, directory.name) and _texts(p)
        }
    if not found:
        raise _no_results(directory, "<param>_000/<sequence>.txt")
    return [_flat(found[name], found[name]) for name in sorted(found)]


def pysot(directory) -> Runs:
    """`<tracker>/<seq>.txt`, one run without times. Raises InputError: no boxes there."""
    directory = Path(directory)
    if not _texts(directory):
        raise _no_results(directory, "<sequence>.txt (GOT-10k's are in the got10k layout)")
    return [_flat(directory, directory)]


def got10k(directory) -> Runs:
    """`<tracker>/<seq>/<seq>_001.txt` with `<seq>_time.txt` of one column a run (GOT-10k), or
    `<tracker>/<seq>.txt` with `times/<seq>_time.txt` (the other data sets).

    Raises:
      InputError: no boxes there.
    """
    directory = Path(directory)
    if _texts(directory):
        return [_flat(directory, directory / "times")]
    numbered = {}
    for path in sorted(directory.glob("*/*.txt")):
        match = RUN.fullmatch(path.stem)
        if match and match[1] == path.parent.name and int(match[2]) > 0:
            numbered[match[1], int(match[2])] = path
    if not numbered:
        raise _no_results(directory, "<sequence>/<sequence>_001.txt or <sequence>.txt")
    runs = [{} for _ in range(max(run for _, run in numbered))]
    last = dict(sorted(numbered))  # by name: ascending, so the highest run of each stays
    for (name, run), path in numbered.items():
        times = path.with_name(f"{name}{TIME}.txt")
        column = run - 1 - last[name]
        runs[run - 1][name] = Files(path, times if times.is_file() else None, column)
    return runs


LAYOUTS = {"pytracking": pytracking, "pysot": pysot, "got10k": got10k}


def match_names(stems, names) -> tuple[dict[str, str], list[str]]:
    """Maps a toolkit's names of sequences to ours: equal ones first, then by spelling.

    Upper case, the separators of a number (Jogging-1, Jogging_1, Jogging.1) and the prefixes
    nfs_ and uav_ do not count, unless two of our names differ by nothing else.

    Returns:
      {stem: name}, and the stems that are of no sequence.

    Raises:
      InputError: two stems are the same sequence.
    """
    matched = {stem: stem for stem in set(stems) & set(names)}
    spellings = Counter(_spelling(name) for name in names)
    by_spelling = {_spelling(name): name for name in names if spellings[_spelling(name)] == 1}
    strays = []
    for stem in sorted(set(stems) - set(matched)):
        name = by_spelling.get(_spelling(stem))
        if name is None:
            strays.append(stem)
            continue
        other = next((s for s, n in matched.items() if n == name), None)
        if other is not None:
            raise InputError(f"{other!r} and {stem!r} are both the sequence {name}: remove one")
        matched[stem] = name
    return matched, strays


def read_times(files: Files, frames) -> np.ndarray | None:
    """Seconds [frames] of a run; None where there are none that can be used.

    Boxes are worth having without them, so a file that does not fit them is no error.
    """
    if files.times is None:
        return None
    try:
        rows = [numbers(line) for line in read_lines(files.times, "times")]
    except InputError:
        return None
    widths = {len(row) for row in rows}
    # Counted from the end: the got10k toolkit adds columns when runs are made again.
    if len(rows) != frames or len(widths) != 1 or min(widths) < -files.column:
        return None
    times_s = np.array(rows)[:, files.column]
    return times_s if (np.isfinite(times_s) & (times_s >= 0)).all() else None


def _flat(folder, times_folder):
    """The files of one run that lie beside each other."""
    found = {}
    for path in _texts(folder):
        times = times_folder / f"{path.stem}{TIME}.txt"
        found[path.stem] = Files(path, times if times.is_file() else None)
    return found


def _texts(folder):
    """Files of boxes in a folder; none if it is no folder."""
    return [path for path in listed(folder, "*.txt") if not path.stem.endswith(TIME)]


def _setting(name):
    match = RUN.fullmatch(name)
    return match[1] if match else name


def _run_of(name, setting):
    return name != setting and _setting(name) == setting


def _spelling(name):
    text = re.sub(r"[-. ]", "_", name.lower())
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    return ALIASES.get(text, text)


def _no_results(directory, expected):
    if not directory.is_dir():
        return InputError(f"{directory}: no such folder")
    return InputError(f"{directory}: no results of a tracker in it: expected {expected}")
