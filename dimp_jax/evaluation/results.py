"""The files of one evaluation: written whole or not at all, and read back to go on with a run.

OUT/config.json           the resolved configuration
OUT/input.json            what was tracked
OUT/<sequence>.txt        one `x,y,w,h` line a frame; the first is the given box
OUT/<sequence>_time.txt   seconds a frame, without decoding; the first is the initialisation
OUT/<sequence>.mp4        with --save-video
OUT/summary.json          `summarize`
"""

import json
import os
from pathlib import Path

import numpy as np

from dimp_jax.evaluation import metrics
from dimp_jax.evaluation.images import InputError
from dimp_jax.evaluation.sequences import numbers

WARM_UP_FRAMES = 2  # tracked frames that are not timed: they compile
METRICS = ("auc", "precision_20", "norm_precision_20")
KEYS = (*METRICS, "frames", "fps")


def check_folder(out, *, config: dict, inputs: dict):
    """Refuses a folder whose results are not of `config` and `inputs` (JSON types).

    Raises:
      InputError: `out` holds results of another or an unknown configuration or input.
    """
    out = Path(out)
    if not (any(out.glob("*.txt")) or (out / "summary.json").exists()):
        return
    for name, values, what in (
        ("config.json", config, "configuration"),
        ("input.json", inputs, "input"),
    ):
        if _read_json(out / name) != json.loads(json.dumps(values)):
            raise InputError(
                f"{out}: holds results of another {what} (compare {out / name}): choose another "
                "--out, or delete it"
            )


def make_folder(out, *, config: dict, inputs: dict):
    """Makes `out` and notes in it what its results come from.

    Raises:
      InputError: it cannot be written.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, values in (("config.json", config), ("input.json", inputs)):
            write_atomically(out / name, json.dumps(values, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error


def write_atomically(path, text):
    """Writes `text` under `path`, so that at no time a part of it can be read there."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_sequence(out, name, boxes, times_s):
    """Writes the boxes [N, 4] and seconds [N] of a finished sequence; the boxes come last."""
    rows = ("".join(f"{v:.6f}\n" for v in times_s), "".join(_row(box) for box in boxes))
    write_atomically(Path(out) / f"{name}_time.txt", rows[0])
    write_atomically(Path(out) / f"{name}.txt", rows[1])


def read_sequence(out, name):
    """Boxes [N, 4] and seconds [N] of a finished sequence; None if it is missing or damaged."""
    out = Path(out)
    boxes, times_s = _read_rows(out / f"{name}.txt", 4), _read_rows(out / f"{name}_time.txt", 1)
    if boxes is None or times_s is None or len(boxes) != len(times_s):
        return None
    return boxes, times_s[:, 0]


def is_done(out, sequence, *, with_video):
    """Whether the complete results of `sequence` are in `out`; a camera's never count."""
    read = read_sequence(out, sequence.name)
    if read is None or sequence.frames.live:
        return False
    if sequence.frames.exact and len(read[0]) != sequence.frames.count:
        return False
    return not with_video or (Path(out) / f"{sequence.name}.mp4").is_file()


def frames_per_second(times_s):
    """Tracked frames a second: number of timed frames over the sum of their times.

    The initialisation (first entry) and the first two tracked frames are left out: they include
    compilation. `times_s` holds all work of the device, but no decoding and no drawing. None if
    nothing is left.
    """
    timed = np.asarray(times_s)[1 + WARM_UP_FRAMES :]
    return float(len(timed) / timed.sum()) if len(timed) and timed.sum() > 0 else None


def summarize(out, sequences) -> dict:
    """Computes and writes `summary.json` from the files of the sequences.

    Returns:
      {"sequences": {name: values}, "mean": values}; values have the keys "auc", "precision_20",
      "norm_precision_20" (`metrics.sequence_metrics`, in [0, 1]), "frames" and "fps"
      (`frames_per_second`). A value that does not exist is None, and left out of the mean over
      sequences.
    """
    table = {}
    for sequence in sequences:
        boxes, times_s = read_sequence(out, sequence.name)
        table[sequence.name] = {
            **metrics.sequence_metrics(boxes, sequence.groundtruth),
            "frames": len(boxes),
            "fps": frames_per_second(times_s),
        }
    mean = {}
    for key in KEYS:
        values = [row[key] for row in table.values() if row[key] is not None]
        mean[key] = float(np.mean(values)) if values else None
    summary = {"sequences": table, "mean": mean}
    write_atomically(Path(out) / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


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


def _row(box):
    return ",".join(f"{v:.4f}" for v in box) + "\n"


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # unreadable: not known to be this run's, so it counts as another one's
