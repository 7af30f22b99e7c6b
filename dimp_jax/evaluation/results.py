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

from dimp_jax.host.files import write_atomically
from dimp_jax.media.images import InputError
from dimp_jax.media.text import numbers, require_utf8, rows_of

WARM_UP_FRAMES = 2  # tracked frames that are not timed: they compile
# What may follow a sequence's name in the name of a file.
SUFFIXES = ("", "_time", "_decode_time", "_score", "_error")
# A file has 255; the longest is .NAME_decode_time.txt.xxxxxxxx.part, while it is written.
MOST_NAME_BYTES = 255 - len("._decode_time.txt.xxxxxxxx.part")
NOT_FOUND = "NOT_FOUND"  # name of the verdict
GIVEN_SCORE = (1.0, 1.0)  # of the first frame: its box is known


def check_names(sequences):
    """Raises InputError: results cannot be called so, or two sequences would have files of one
    name."""
    owners = {}
    for sequence in sequences:
        for name in (sequence.name, *(path.name for path in getattr(sequence.frames, "paths", ()))):
            require_utf8(name, f"{sequence.name!r}: ")
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


def video_of(folder, name) -> Path:
    """Where the annotated video of a sequence is."""
    return Path(folder) / f"{name}.mp4"


def video_of_targets(folder, name) -> Path:
    """Where the annotated video with several targets is, of which `name` is one."""
    return video_of(folder, video_name(name))


def video_name(target: str) -> str:
    """Of the video with several targets: each is called <video>-<number>."""
    return target.rpartition("-")[0]


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


def read_json(path):
    """The content of a JSON file; None if it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
