"""The files of one evaluation: written whole or not at all, and read back to go on with a run.

OUT/config.json                  the resolved configuration
OUT/input.json                   what was tracked
OUT/sequences.json               what each sequence is known by (identity.py)
OUT/<sequence>.txt               one `x,y,w,h` line a frame; the first is the given box
OUT/<sequence>_time.txt          seconds a frame, without decoding; the first: the initialisation
OUT/<sequence>_decode_time.txt   seconds a frame of reading and decoding it
OUT/<sequence>_score.txt         one `score,found` line a frame, found 0 or 1; the first is 1,1
OUT/<sequence>_error.txt         instead of the boxes: the traceback of a sequence that failed
OUT/<sequence>.mp4               with --save-video
OUT/<format>/                    with --format, made of the files above (exchange/formats.py)
OUT/run1/, OUT/run2/ ..          the same files of repeated runs; the first run is OUT itself
OUT/summary.json                 `summary.summarize`
"""

import json
from pathlib import Path

import numpy as np

from dimp_jax.evaluation import identity
from dimp_jax.host.files import write_atomically
from dimp_jax.media.images import InputError
from dimp_jax.media.text import numbers, rows_of

WARM_UP_FRAMES = 2  # tracked frames that are not timed: they compile
# What may follow a sequence's name in the name of a file.
SUFFIXES = ("", "_time", "_decode_time", "_score", "_error")
# A file has 255; the longest is .NAME_decode_time.txt.xxxxxxxx.part, while it is written.
MOST_NAME_BYTES = 255 - len("._decode_time.txt.xxxxxxxx.part")
NOT_FOUND = "NOT_FOUND"  # name of the verdict
GIVEN_SCORE = (1.0, 1.0)  # of the first frame: its box is known
# What the results come from. The input is written first: it tells a folder of ours.
NOTES = ("input.json", "config.json", "sequences.json")
DESCRIBED = {"data", "video", "dataset"}  # always in input.json


def check_names(sequences):
    """Raises InputError: results cannot be called so, or two sequences would have files of one
    name."""
    owners = {}
    for sequence in sequences:
        for name in (sequence.name, *(path.name for path in getattr(sequence.frames, "paths", ()))):
            if name.encode(errors="replace").decode() != name:
                raise InputError(f"{sequence.name!r}: {name!r} is not UTF-8: rename it")
        size = len(sequence.name.encode())
        if size > MOST_NAME_BYTES:
            raise InputError(
                f"{sequence.name}: a name of {size} bytes: its results would have longer ones than "
                f"file systems take: expected at most {MOST_NAME_BYTES}: rename it"
            )
        for suffix in SUFFIXES:
            other = owners.setdefault(sequence.name + suffix, sequence.name)
            if other != sequence.name:
                raise InputError(
                    f"the results of {other!r} and {sequence.name!r} would have the same file "
                    f"names ({sequence.name + suffix}.txt): rename one of them"
                )


def check_folder(out, *, config: dict, inputs: dict, sequences=(), redo_changed=False):
    """Refuses a folder whose results are not of `config` and `inputs` (JSON types).

    Args:
      sequences: those to be tracked; what they are known by must not have changed, either.
      redo_changed: delete the results of those that have changed instead of refusing them.

    Raises:
      InputError: `out` holds results of another or an unknown configuration or input, or of a
        camera, or files of somebody else that notes of ours would replace.
    """
    out = Path(out)
    if not (
        any(out.glob("*.txt")) or any(out.glob("run*/*.txt")) or (out / "summary.json").exists()
    ):
        notes = [out / name for name in NOTES if (out / name).exists()]
        described = read_json(out / "input.json")
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
        then, now = read_json(out / name), json.loads(json.dumps(values))
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
    for name in changed:  # before the new identity is noted
        _forget(out, name, one_of_several=len(inputs.get("boxes") or ()) > 1)


def changed_sequences(out, sequences) -> dict[str, str]:
    """What has changed since the results in `out` were made, by name of the sequence."""
    then = read_json(Path(out) / "sequences.json") or {}
    mine = [s for s in sequences if s.name in then or _begun(out, s.name)]
    changes = {s.name: identity.change(then.get(s.name), identity.of(s)) for s in mine}
    return {name: what for name, what in changes.items() if what is not None}


def _begun(out, name) -> bool:
    """Whether there are results of a sequence, whole or not."""
    files = [f"{name}{suffix}.txt" for suffix in SUFFIXES]
    return any(
        (run_folder(out, run) / file).exists() for run in range(count_runs(out)) for file in files
    )


def check_unchanged(out, sequences):
    """Raises InputError if results in `out` are of another input than its sequences are now.

    Sequences that it has no record of are passed: imported results have none.
    """
    known = read_json(Path(out) / "sequences.json") or {}
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
        notes["sequences.json"] = {s.name: identity.of(s) for s in sequences}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, values in notes.items():
            write_atomically(out / name, json.dumps(values, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error


def check_ours(out, *, config: dict, inputs: dict):
    """Raises InputError if another process has begun something else in `out`."""
    for name, values in (("config.json", config), ("input.json", inputs)):
        if read_json(Path(out) / name) != json.loads(json.dumps(values)):
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


def _forget(out, name, *, one_of_several):
    for run in range(count_runs(out)):
        folder = run_folder(out, run)
        video = (video_of_targets if one_of_several else video_of)(folder, name)
        stale = [*(folder / f"{name}{suffix}.txt" for suffix in SUFFIXES), video]
        # What `--format` made of them; it writes the files of all sequences again.
        stale += [folder / "otb" / f"{name}.txt", folder / "mot" / f"{video.stem}.txt"]
        stale += [folder / "coco" / "boxes.json", folder / "csv" / "boxes.csv"]
        for path in stale:
            path.unlink(missing_ok=True)


def video_of(folder, name) -> Path:
    """Where the annotated video of a sequence is."""
    return Path(folder) / f"{name}.mp4"


def video_of_targets(folder, name) -> Path:
    """Where the video with several targets is: each is called <video>-<number>."""
    return Path(folder) / f"{name.rpartition('-')[0]}.mp4"


def run_folder(out, run: int) -> Path:
    """Where the files of a repeated run are; `out` itself for run 0."""
    return Path(out) / f"run{run}" if run else Path(out)


def count_runs(out) -> int:
    """How many runs were begun in `out`, the first included."""
    run = 1
    while run_folder(out, run).is_dir():
        run += 1
    return run


def write_sequence(folder, name, boxes, times_s, decode_s=None, scores=None):
    """Writes the boxes [N, 4], seconds [N] and scores [N, 2] of a finished sequence; the boxes come
    last."""
    folder = Path(folder)
    seconds = {"time": times_s} | ({} if decode_s is None else {"decode_time": decode_s})
    for what, values in seconds.items():
        write_atomically(folder / f"{name}_{what}.txt", "".join(f"{v:.6f}\n" for v in values))
    if scores is not None:
        lines = (f"{score:.4f},{found:.0f}\n" for score, found in scores)
        write_atomically(folder / f"{name}_score.txt", "".join(lines))
    write_atomically(folder / f"{name}.txt", rows_of(boxes))
    (folder / f"{name}_error.txt").unlink(missing_ok=True)


def write_error(folder, name, traceback_text):
    """Notes why a sequence has no boxes."""
    write_atomically(Path(folder) / f"{name}_error.txt", traceback_text)


def read_error(folder, name) -> str | None:
    """The traceback of a sequence that failed; None if it did not."""
    path = Path(folder) / f"{name}_error.txt"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def read_sequence(folder, name):
    """Boxes [N, 4] and seconds [N] of a finished sequence; None if it is missing or damaged."""
    folder = Path(folder)
    boxes, times_s = (
        _read_rows(folder / f"{name}.txt", 4),
        _read_rows(folder / f"{name}_time.txt", 1),
    )
    if boxes is None or times_s is None or len(boxes) != len(times_s):
        return None
    return boxes, times_s[:, 0]


def read_decode_times(folder, name):
    """Seconds [N] of decoding of a finished sequence; None if they were not recorded."""
    times_s = _read_rows(Path(folder) / f"{name}_decode_time.txt", 1)
    return None if times_s is None else times_s[:, 0]


def read_scores(folder, name):
    """Score and found (0 or 1) of each frame [N, 2]; None if they were not recorded."""
    return _read_rows(Path(folder) / f"{name}_score.txt", 2)


def score_row(score: float | None, verdict: str) -> tuple[float, float]:
    """A row of `<sequence>_score.txt`: the score, and 1 if the target was found, else 0.

    Args:
      score: None in the first frame. verdict: its name.
    """
    return GIVEN_SCORE if score is None else (float(score), float(verdict != NOT_FOUND))


def is_done(out, sequence, *, with_video):
    """Whether the complete results of `sequence` are in folder `out`; a camera's never count."""
    read = read_sequence(out, sequence.name)
    if read is None or sequence.frames.live:
        return False
    if sequence.frames.exact and len(read[0]) != sequence.frames.count:
        return False
    return not with_video or video_of(out, sequence.name).is_file()


def check_finite(where, box_xywh, score) -> None:
    """Raises FloatingPointError: what a tracker returned for a frame is of no use from there on."""
    if not np.isfinite(box_xywh).all():
        box = np.asarray(box_xywh, float).tolist()
        raise FloatingPointError(f"{where}: the tracker returned the box {box}")
    if not np.isfinite(score):
        raise FloatingPointError(
            f"{where}: the score is {score}: the target's filter, or what the network computes of "
            "this frame, is no longer finite"
        )


def frames_per_second(times_s):
    """Tracked frames a second: number of timed frames over the sum of their times.

    The initialisation (first entry) and the first two tracked frames are left out: they include
    compilation. `times_s` holds all work of the device, but no decoding and no drawing. None if
    nothing is left.
    """
    timed = np.asarray(times_s)[1 + WARM_UP_FRAMES :]
    return float(len(timed) / timed.sum()) if len(timed) and timed.sum() > 0 else None


def _read_rows(path, width):
    """Finite numbers [N, width] from a file whose every line was written whole, or None."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    rows = [numbers(line) for line in text.splitlines()]
    if not text.endswith("\n") or any(len(row) != width for row in rows):
        return None
    return np.array(rows) if np.isfinite(rows).all() else None


def read_input(out) -> dict:
    """What the results in `out` are of. Raises InputError: `out` has no readable input.json."""
    path = Path(out) / "input.json"
    described = read_json(path)
    if not isinstance(described, dict):
        raise InputError(f"{path}: cannot be read: expected a results folder of evaluate.py")
    return described


def read_json(path):
    """The content of a JSON file; None if it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
