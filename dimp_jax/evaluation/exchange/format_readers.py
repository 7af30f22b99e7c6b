"""Reads the formats of `formats.py` back, also as other tools write them."""

import csv as csv_files
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation.exchange.formats import CSV_COLUMNS
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError
from dimp_jax.media.text import numbers, read_lines, read_rows, read_text


class Found(NamedTuple):
    """A target in n frames of a video; in the others it was not found."""

    path: Path
    frames: np.ndarray  # [n] int, from 0, ascending
    boxes: np.ndarray  # [n, 4] x, y, w, h in 0-based pixels
    scores: np.ndarray  # [n]

    def filled(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """A box for each of `count` frames [count, 4], the last known one where it was not found,
        and [count, 2] scores with found as 1 or 0.

        Raises:
          InputError: none in the first frame, or one after the last.
        """
        if self.frames[0] != 0:
            raise InputError(
                f"{self.path}: the first box is in frame {self.frames[0]} (counted from 0): "
                "expected one in the first frame, the given one"
            )
        if self.frames[-1] >= count:
            raise InputError(
                f"{self.path}: a box in frame {self.frames[-1]} (counted from 0) for {count} frames"
            )
        last = np.searchsorted(self.frames, np.arange(count), side="right") - 1
        found = np.isin(np.arange(count), self.frames)
        return self.boxes[last], np.stack([np.where(found, self.scores[last], 0.0), found], axis=1)


class Row(NamedTuple):
    """One box of a file."""

    video: str
    number: int  # of the target
    frame: int  # from 0
    box: list[float]  # x, y, w, h in 0-based pixels
    score: float
    where: str  # in words


Runs = list[dict[str, Found]]  # one dict


def otb(path, first_px: int = 1) -> Runs:
    """`<target>.txt`, one or a folder of them: a line for every frame."""
    found = {}
    for file in _files(path, ".txt", "OTB"):
        boxes = read_rows(file, finite=True) - np.array([first_px, first_px, 0, 0])
        found[_stem(file)] = Found(file, np.arange(len(boxes)), boxes, np.ones(len(boxes)))
    return [found]


def mot(path) -> Runs:
    """`<video>.txt`, one or a folder of them. Lines of ground truth have fewer columns: taken."""
    return [_grouped(row for file in _files(path, ".txt", "MOT") for row in _mot_rows(file))]


def coco(path) -> Runs:
    """One JSON file with videos, images and annotations, or a folder with one."""
    return [_grouped(row for file in _files(path, ".json", "COCO-VID") for row in _coco_rows(file))]


def csv(path) -> Runs:
    """Tables with the header of `formats.csv`; rows with `found` 0 are passed over."""
    return [_grouped(row for file in _files(path, ".csv", "CSV") for row in _csv_rows(file))]


READERS = {"otb": otb, "mot": mot, "coco": coco, "csv": csv}


def _files(path, suffix, what):
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    found = listed(path, f"*{suffix}")
    if not found:
        raise InputError(f"{path}: no {what} results in it: expected *{suffix}")
    return found


def _stem(path):
    """The page of `dimp-jax demo` calls its files clip.otb.txt and clip.mot.txt."""
    return re.sub(r"\.(otb|mot)$", "", path.stem)


def _mot_rows(path) -> Iterator[Row]:
    for place, line in enumerate(read_lines(path), 1):
        where, row = f"{path}, line {place}", numbers(line)
        if len(row) < 6 or not np.isfinite(row).all():
            raise InputError(f"{where}: {line[:60]!r}: expected frame,id,x,y,w,h,score,-1,-1,-1")
        frame, number, x, y, w, h, *more = row
        score = more[0] if more else 1.0
        frame = _whole(frame, 1, "frame", where) - 1
        yield Row(
            _stem(path), _whole(number, 0, "id", where), frame, [x - 1, y - 1, w, h], score, where
        )


def _csv_rows(path) -> Iterator[Row]:
    table = csv_files.DictReader(read_text(path).splitlines())
    missing = [name for name in CSV_COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}: expected {','.join(CSV_COLUMNS)}")
    for row in table:
        where = f"{path}, line {table.line_num}"
        values = [numbers(row[name] or "") for name in CSV_COLUMNS[1:]]
        if not all(len(value) == 1 and np.isfinite(value).all() for value in values):
            raise InputError(f"{where}: expected one finite number in {','.join(CSV_COLUMNS[1:])}")
        number, frame, *box, score, found = (value[0] for value in values)
        if found:
            number, frame = _whole(number, 0, "id", where), _whole(frame, 0, "frame", where)
            yield Row(row["video"], number, frame, box, score, where)


def _coco_rows(path) -> Iterator[Row]:
    try:
        content = json.loads(read_text(path))
        videos = {video["id"]: str(video["name"]) for video in content["videos"]}
        images = {image["id"]: image for image in content["images"]}
        for place, annotation in enumerate(content["annotations"]):
            where, image = f"{path}, annotation {place}", images[annotation["image_id"]]
            number = int(annotation.get("instance_id", annotation.get("track_id", 1)))
            box = [float(value) for value in annotation["bbox"]]
            score = float(annotation.get("score", 1.0))
            if len(box) != 4 or not np.isfinite([*box, score]).all():
                raise InputError(f"{where}: expected a bbox of four finite numbers, a finite score")
            frame = _whole(image["frame_id"], 0, "frame_id", where)
            yield Row(videos[image["video_id"]], number, frame, box, score, where)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: is not COCO-VID ({type(error).__name__}: {error}): expected JSON with "
            "videos, images (video_id, frame_id) and annotations (image_id, bbox)"
        ) from error


def _whole(value, least, what, where) -> int:
    if not np.isfinite(value) or value != int(value) or value < least:
        raise InputError(f"{where}: {what} {value:g}: expected a whole number from {least}")
    return int(value)


def _grouped(rows) -> dict[str, Found]:
    """By the record's name of the target: that of the video, with a number where it has several."""
    targets = defaultdict(lambda: defaultdict(list))
    for row in rows:
        targets[row.video][row.number].append(row)
    found = {}
    for video, by_number in targets.items():
        for place, (_, mine) in enumerate(sorted(by_number.items()), 1):
            mine.sort(key=lambda row: row.frame)
            frames = np.array([row.frame for row in mine])
            twice = np.flatnonzero(np.diff(frames) == 0)
            if len(twice):
                raise InputError(f"{mine[twice[0] + 1].where}: a second box in that frame")
            name = f"{video}-{place}" if len(by_number) > 1 else video
            boxes = np.array([row.box for row in mine], np.float64)
            scores = np.array([row.score for row in mine], np.float64)
            path = Path(mine[0].where.rpartition(", ")[0])
            found[name] = Found(path, frames, boxes, scores)
    return found
