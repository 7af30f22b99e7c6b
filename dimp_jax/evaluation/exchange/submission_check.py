"""Checks a submission against what the benchmarks' servers and toolkits ask for.

The servers say little, and days later, about an archive that they cannot use. This is written from
their rules alone and shares nothing with `submission.py`, which writes such archives: neither the
names nor the number formats.

GOT-10k      <seq>/<seq>_001.txt, _002.txt, _003.txt: `x,y,w,h` a frame, of three runs;
             <seq>/<seq>_time.txt: seconds a frame, one column a run, separated by commas
TrackingNet  <id>.txt: `x,y,w,h` a frame
LaSOT        <tracker>_tracking_result/<seq>.txt: `x,y,w,h` a frame; a zip, or the folder
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.media.images import InputError

SEQUENCES = {"got10k": 180, "trackingnet": 511, "lasot": 280, "lasot_ext": 150}  # by server
GOT10K_RUNS = 3
LASOT_SUFFIX = "_tracking_result"
# Of the first box: toolkits write two decimals, and never fewer.
FIRST_BOX_TOLERANCE_PX = 0.01


class Expected(NamedTuple):
    """What the data set says of one sequence."""

    frames: int
    box_xywh: np.ndarray  # [4] the given first box


def expected_of(sequences) -> dict[str, Expected]:
    """By name, from loaded `Sequence`s."""
    return {s.name: Expected(s.frames.count, np.asarray(s.init_box, float)) for s in sequences}


def check(path, server: str, expected: dict[str, Expected]) -> list[str]:
    """What is wrong with an archive, one line each; nothing if it can be handed in.

    Args:
      path: a zip file; for LaSOT also a folder `<tracker>_tracking_result`.
      server: a key of SEQUENCES.
      expected: of all sequences in a copy of the data set.

    Raises:
      InputError: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        if not server.startswith("lasot"):
            return [f"{path.name}: a folder, and the server wants a zip file"]
        inside = (p for p in sorted(path.rglob("*")) if not p.is_dir())
        files = {str(p.relative_to(path.parent)): p.read_bytes() for p in inside}
        return list(_check_files(files, server, expected))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            files, problems = _read_archive(archive)
    except zipfile.BadZipFile as error:
        return [f"{path.name}: not a zip file, or damaged ({error})"]
    return problems + list(_check_files(files, server, expected))


def _read_archive(archive):
    """{name: content} of what can be read, and the problems of the archive itself."""
    files, problems = {}, []
    for info in archive.infolist():
        if info.is_dir():
            continue
        if info.filename in files:
            problems.append(f"{info.filename}: is twice in the archive")
        elif info.flag_bits & 1:
            problems.append(f"{info.filename}: is encrypted")
            files[info.filename] = None
        else:
            try:
                files[info.filename] = archive.read(info)
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
                problems.append(f"{info.filename}: cannot be unpacked ({error})")
                files[info.filename] = None
    return files, problems


def _check_files(files, server, expected) -> Iterator[str]:
    if len(expected) != SEQUENCES[server]:
        yield f"{len(expected)} sequences in the data set's folder: expected {SEQUENCES[server]}"
    if server.startswith("lasot"):
        top, problem = _lasot_folder(files)
    else:
        top, problem = _needless_folder(files, server, expected)
    if problem:
        yield problem
    wanted = _wanted(server, expected)
    present = {name.removeprefix(top): content for name, content in files.items()}
    for name in sorted(set(wanted) - set(present)):
        yield f"{name}: is missing"
    for name in sorted(set(present) - set(wanted)):
        yield f"{top}{name}: does not belong there"
    for name, (sequence, is_time) in wanted.items():
        if present.get(name) is not None:
            test = _check_times if is_time else _check_boxes
            yield from test(name, present[name], expected[sequence])


def _wanted(server, expected) -> dict[str, tuple[str, bool]]:
    """(sequence, whether it holds times) by file name, below LaSOT's folder of the tracker."""
    if server != "got10k":
        return {f"{name}.txt": (name, False) for name in expected}
    wanted = {}
    for name in expected:
        for run in range(1, GOT10K_RUNS + 1):
            wanted[f"{name}/{name}_{run:03d}.txt"] = (name, False)
        wanted[f"{name}/{name}_time.txt"] = (name, True)
    return wanted


def _needless_folder(files, server, expected):
    """A single folder around all that the server looks for at the top: (it, problem)."""
    tops = {name.partition("/")[0] for name in files}
    if len(tops) == 1 and all("/" in name for name in files):
        top = f"{tops.pop()}/"
        below = {name.removeprefix(top) for name in files}
        if below & set(_wanted(server, expected)):
            return top, f"{top}: everything is in this folder; it must be at the top of the archive"
    return "", None


def _lasot_folder(files):
    """The tracker's folder: (it, problem)."""
    tops = {name.partition("/")[0] for name in files if "/" in name}
    results = sorted(top for top in tops if top.endswith(LASOT_SUFFIX))
    if len(results) != 1:
        found = ", ".join(results) or "none"
        return "", f"expected one folder <tracker>{LASOT_SUFFIX} at the top, found {found}"
    return f"{results[0]}/", None


def _check_boxes(name, content, sequence) -> Iterator[str]:
    rows, problem = _numbers(content, sequence.frames, columns=4)
    if problem:
        yield f"{name}{problem}"
        return
    for index in np.flatnonzero((rows[:, 2:] <= 0).any(axis=1))[:1]:
        yield f"{name}, line {index + 1}: {_shown(rows[index])}: width and height must be > 0"
    if np.abs(rows[0] - sequence.box_xywh).max() > FIRST_BOX_TOLERANCE_PX:
        given = _shown(sequence.box_xywh)
        yield f"{name}, line 1: {_shown(rows[0])}: the first box must be the given one, {given}"


def _check_times(name, content, sequence) -> Iterator[str]:
    rows, problem = _numbers(content, sequence.frames, columns=GOT10K_RUNS)
    if problem:
        yield f"{name}{problem}"
        return
    for index in np.flatnonzero((rows <= 0).any(axis=1))[:1]:
        yield f"{name}, line {index + 1}: {_shown(rows[index])}: times must be > 0"


def _numbers(content, frames, *, columns):
    """[frames, columns] finite numbers of a text of comma separated lines, and None; or None, and
    the first problem as the rest of a sentence that begins with the file."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        return None, ": is not plain text"
    if len(lines) != frames:
        return None, f": {len(lines)} lines for {frames} frames"
    rows = np.empty((frames, columns))
    for index, line in enumerate(lines):
        try:
            values = [float(part) for part in line.split(",")]
        except ValueError:
            values = []
        where = f", line {index + 1}: {line[:60]!r}"
        if len(values) != columns:
            return None, f"{where}: expected {columns} numbers separated by commas"
        if not np.isfinite(values).all():
            return None, f"{where}: the numbers must be finite"
        rows[index] = values
    return rows, None


def _shown(values):
    return ",".join(f"{value:g}" for value in values)
