"""What the results in a folder are of, so that they are taken for those of no other input.

A sequence is known by its first box, its number of frames and a digest of its files.
"""

import hashlib
import json
from pathlib import Path

from dimp_jax.evaluation import results
from dimp_jax.host.files import write_atomically
from dimp_jax.media.images import InputError

SAMPLED_FILES = 256  # of a folder of images: their contents are looked into, the others' sizes only
_END_BYTES = 4096
# What the results come from. The input is written first: it tells a folder of ours.
NOTES = ("input.json", "config.json", "sequences.json")
DESCRIBED = {"data", "video", "dataset"}  # always in input.json


def of(sequence) -> dict | None:
    """First box, number of frames, and a digest of the files, as JSON types; None of a camera.

    The digest is of names, sizes, first and last bytes: not of times, which every copy changes, and
    not of all bytes, which would take as long as decoding them.
    """
    frames = sequence.frames
    if frames.live:
        return None
    box = sequence.init_box
    return {
        "first_box": None if box is None else [float(value) for value in box],
        "frames": frames.count,
        "files": _digest(getattr(frames, "paths", None) or [frames.source]),
    }


def change(then: dict | None, now: dict | None) -> str | None:
    """How two identities differ, for people; None if they do not."""
    if then == now:
        return None
    if then is None or now is None:
        return "it was not recorded what they are of"
    found = []
    if then["first_box"] != now["first_box"]:
        found.append(f"first box {_box(then['first_box'])}, now {_box(now['first_box'])}")
    if then["frames"] != now["frames"]:
        found.append(f"{then['frames']} frames, now {now['frames']}")
    elif then["files"] != now["files"]:
        found.append("other image or video files")
    return ", ".join(found)


def check_folder(out, *, config: dict, inputs: dict, sequences=(), redo_changed=False):
    """Refuses a folder whose results are not of `config` and `inputs` (JSON types).

    Args:
      sequences: those to be tracked; what they are known by must not have changed, either.
      redo_changed: those may have changed: `forget_changed` deletes their results.

    Raises:
      InputError: `out` holds results of another or an unknown configuration or input, or of a
        camera, or files of somebody else that notes of ours would replace.
    """
    out = Path(out)
    if not (
        any(out.glob("*.txt")) or any(out.glob("run*/*.txt")) or (out / "summary.json").exists()
    ):
        notes = [out / name for name in NOTES if (out / name).exists()]
        described = results.read_json(out / "input.json")
        if notes and not (isinstance(described, dict) and described.keys() >= DESCRIBED):
            raise InputError(
                f"{notes[0]}: is not of an evaluation, and would be replaced: choose another "
                "--out, or move the file"
            )
        return
    for name, values, what in (
        ("config.json", config, "configuration"),
        ("input.json", inputs, "input"),
    ):
        then, now = results.read_json(out / name), json.loads(json.dumps(values))
        if then != now:
            raise InputError(
                f"{out}: holds results of another {what} ({_difference(then, now)}; compare "
                f"{out / name}): choose another --out, or delete it"
            )
    for name in [s.name for s in sequences if s.frames.live]:
        if (out / f"{name}.txt").exists():
            raise InputError(
                f"{out / name}.txt: what a camera showed cannot be tracked again: choose another "
                "--out"
            )
    changed = changed_sequences(out, sequences)
    if changed and not redo_changed:
        name, what = next(iter(changed.items()))
        more = f"; {len(changed) - 1} more have changed" if len(changed) > 1 else ""
        raise InputError(
            f"{out}: holds results of another input ({name}: {what}{more}): give --redo-changed to "
            "track what has changed again, or choose another --out"
        )


def changed_sequences(out, sequences) -> dict[str, str]:
    """What has changed since the results in `out` were made, by name of the sequence."""
    then = results.read_json(Path(out) / "sequences.json") or {}
    mine = [s for s in sequences if s.name in then or _has_files(out, s.name)]
    changes = {s.name: change(then.get(s.name), of(s)) for s in mine}
    return {name: what for name, what in changes.items() if what is not None}


def is_known(out, name) -> bool:
    """Whether a sequence was tracked into `out`, or begun."""
    noted = results.read_json(Path(out) / "sequences.json") or {}
    return name in noted or _has_files(out, name)


def _has_files(out, name) -> bool:
    files = [f"{name}{suffix}.txt" for suffix in results.SUFFIXES]
    return any(
        (results.run_folder(out, run) / file).exists()
        for run in range(results.count_runs(out))
        for file in files
    )


def check_unchanged(out, sequences):
    """Raises InputError if results in `out` are of another input than its sequences are now.

    Sequences that it has no record of are passed: imported results have none.
    """
    known = results.read_json(Path(out) / "sequences.json") or {}
    for name, what in changed_sequences(out, [s for s in sequences if s.name in known]).items():
        raise InputError(f"{out}: {name} has changed since it was tracked: {what}")


def make_folder(out, *, config: dict, inputs: dict, sequences=()):
    """Makes `out` and notes in it what its results come from.

    Raises:
      InputError: it cannot be written.
    """
    out = Path(out)
    notes = {"input.json": inputs, "config.json": config}
    if sequences:
        notes["sequences.json"] = {s.name: of(s) for s in sequences}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, values in notes.items():
            write_atomically(out / name, json.dumps(values, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error


def check_ours(out, *, config: dict, inputs: dict):
    """Raises InputError if another process has begun something else in `out`."""
    for name, values in (("config.json", config), ("input.json", inputs)):
        if results.read_json(Path(out) / name) != json.loads(json.dumps(values)):
            raise InputError(
                f"{out}: another process has begun other results in it: choose another --out"
            )


def _difference(then, now) -> str:
    """The first option that differs between two trees of JSON, for people."""
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return f"{_short(then)}, now {_short(now)}"
    # A field of another version is in one of them only.
    key = next(k for k in {**then, **now} if (k in then, then.get(k)) != (k in now, now.get(k)))
    if key not in then:
        return f"{key}: not recorded, now {_short(now[key])}"
    if key not in now:
        return f"{key}: {_short(then[key])}, now no such option"
    inner = _difference(then[key], now[key])
    return f"{key}.{inner}" if isinstance(then[key], dict) else f"{key}: {inner}"


def _short(value) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def forget_changed(out, sequences, *, inputs: dict):
    """Deletes the results of what has changed; before `make_folder` notes what it is now.

    Videos stay until others take their place.
    """
    several = len(inputs["boxes"]) > 1
    for name in changed_sequences(out, sequences):
        for run in range(results.count_runs(out)):
            folder = results.run_folder(out, run)
            stale = [folder / f"{name}{suffix}.txt" for suffix in results.SUFFIXES]
            # What `--format` made of them; it writes the files of all sequences again.
            video = results.video_name(name) if several else name
            stale += [folder / "otb" / f"{name}.txt", folder / "mot" / f"{video}.txt"]
            stale += [folder / "coco" / "boxes.json", folder / "csv" / "boxes.csv"]
            for path in stale:
                path.unlink(missing_ok=True)


def read_input(out) -> dict:
    """What the results in `out` are of. Raises InputError: `out` has no readable input.json."""
    path = Path(out) / "input.json"
    described = results.read_json(path)
    if not isinstance(described, dict):
        raise InputError(f"{path}: cannot be read: expected a results folder of evaluate.py")
    return described


def _box(values) -> str:
    return "drawn" if values is None else ",".join(f"{value:g}" for value in values)


def _digest(paths) -> str:
    digest, step = hashlib.sha256(), -(-len(paths) // SAMPLED_FILES)
    for index, path in enumerate(map(Path, paths)):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        if index % step == 0 or index == len(paths) - 1:
            with path.open("rb") as stream:
                digest.update(stream.read(_END_BYTES))
                stream.seek(max(0, size - _END_BYTES))
                digest.update(stream.read(_END_BYTES))
    return digest.hexdigest()
