"""Tracked boxes in the formats that other tools of the field read: OTB, MOT, COCO-VID, CSV.

A format is a function of videos to texts by file name; `format_readers.py` reads them back. The
record of a run (`results.py`) has 0-based pixels and a box in every frame; where the target was not
found, it is the last known one.

otb   <target>.txt: a line `x,y,w,h` a frame, 1-based pixels. Every frame has its box.
mot   <video>.txt: `frame,id,x,y,w,h,score,-1,-1,-1`, 1-based frames and pixels. Frames in which the
      target was not found have no line.
coco  boxes.json, COCO-VID: videos, images, annotations, categories; 0-based frames and pixels.
      Frames in which the target was not found have no annotation.
csv   boxes.csv: a header, then a line for every target and frame; 0-based frames and pixels; the
      column `found` is 0 where the target was not found.
"""

import csv as csv_files
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dimp_jax.evaluation import datasets, inputs, results
from dimp_jax.host.files import write_atomically
from dimp_jax.media.images import ImageFrames

CSV_COLUMNS = ("video", "id", "frame", "x", "y", "w", "h", "score", "found")
CATEGORY = {"id": 1, "name": "object"}


class Target(NamedTuple):
    """What was tracked, N frames."""

    boxes: np.ndarray  #: [N, 4] x, y, w, h in 0-based pixels
    scores: np.ndarray  #: [N, 2] `results.score_row` of each frame


class Video(NamedTuple):
    """A video and its targets by number, from 1; `named` tells several ones apart by name."""

    name: str  #: of the files, and in them
    targets: dict[int, Target]  #: by number, from 1
    named: bool = False  #: targets are told apart by name
    size_wh: tuple[int, int] | None = None  #: for COCO-VID
    images: tuple[str, ...] | None = None  #: names of the frames' files; None: of a video file

    def target_name(self, number: int) -> str:
        """What the record calls a target."""
        return f"{self.name}-{number}" if self.named else self.name


Files = dict[str, str]  # texts by file name


def otb(videos: list[Video], first_px: int = 1) -> Files:
    """`first_px`: what the first pixel is called; 0 where the boxes are not to be moved."""
    files = {}
    for video in videos:
        for number, target in video.targets.items():
            moved = target.boxes + np.array([first_px, first_px, 0, 0])
            files[f"{video.target_name(number)}.txt"] = "".join(_numbers(box) for box in moved)
    return files


def mot(videos: list[Video]) -> Files:
    """Sorted by frame, then by target, as its tools expect."""
    files = {}
    for video in videos:
        rows = sorted((frame, number, row) for number, frame, row in _found(video))
        files[f"{video.name}.txt"] = "".join(
            f"{frame + 1},{number}," + _numbers([x + 1, y + 1, w, h, score], ",-1,-1,-1\n")
            for frame, number, (x, y, w, h, score) in rows
        )
    return files


def coco(videos: list[Video]) -> Files:
    """Identifiers count from 1 through the whole file, those of targets, too."""
    content = {"videos": [], "images": [], "annotations": [], "categories": [CATEGORY]}
    track = 0
    for video_id, video in enumerate(videos, 1):
        width, height = video.size_wh
        size = {"width": width, "height": height}
        length = max(len(target.boxes) for target in video.targets.values())
        first = len(content["images"]) + 1
        content["videos"].append({"id": video_id, "name": video.name, "length": length} | size)
        names = video.images or [f"{video.name}/{frame:06d}.jpg" for frame in range(length)]
        content["images"] += [
            {"id": first + frame, "video_id": video_id, "frame_id": frame, "file_name": name} | size
            for frame, name in enumerate(names[:length])
        ]
        tracks = {number: track + place for place, number in enumerate(video.targets, 1)}
        track += len(tracks)
        for number, frame, (*box, score) in _found(video):
            annotation = {
                "id": len(content["annotations"]) + 1,
                "image_id": first + frame,
                "video_id": video_id,
                "category_id": CATEGORY["id"],
                "instance_id": tracks[number],  # so called by mmtracking
                "track_id": tracks[number],  # and so by others
                "bbox": [round(float(value), 4) for value in box],
                "area": round(float(box[2] * box[3]), 4),
                "iscrowd": 0,
                "score": round(float(score), 4),
            }
            content["annotations"].append(annotation)
    return {"boxes.json": json.dumps(content) + "\n"}


def csv(videos: list[Video]) -> Files:
    """One table, sorted by video, target and frame."""
    table = io.StringIO()
    writer = csv_files.writer(table, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for video in videos:
        for number, target in video.targets.items():
            for frame, (box, (score, found)) in enumerate(
                zip(target.boxes, target.scores, strict=True)
            ):
                values = [f"{value:.4f}" for value in (*box, score)]
                writer.writerow([video.name, number, frame, *values, int(found)])
    return {"boxes.csv": table.getvalue()}


FORMATS: dict[str, Callable[[list[Video]], Files]] = {
    "otb": otb,
    "mot": mot,
    "coco": coco,
    "csv": csv,
}


def first_pixel(dataset: str | None) -> int:
    """What the first pixel is called in OTB's format.

    Boxes of a benchmark stay in its own coordinates, whatever they are: they were never moved.
    """
    return 1 if dataset in (None, datasets.FOLDER) else 0


def write(out, found: inputs.Inputs, chosen, *, runs: int, dataset: str | None) -> list[str]:
    """Writes OUT/<format>/, and OUT/run<k>/<format>/, of all results that are in `out`.

    Args:
      found: what was tracked. chosen: names of formats. dataset: where it is from.

    Returns:
      Names of sequences whose scores were not recorded: they count as found in every frame.

    Raises:
      OSError: a file cannot be written. InputError: a first frame cannot be read.
    """
    scoreless = []
    makers = FORMATS | {"otb": functools.partial(otb, first_px=first_pixel(dataset))}
    for run in range(runs):
        folder = results.run_folder(out, run)
        videos = _videos(folder, found, with_images="coco" in chosen, scoreless=scoreless)
        for name in chosen:
            (folder / name).mkdir(exist_ok=True)
            for file, text in makers[name](videos).items():
                write_atomically(folder / name / file, text)
    return sorted(set(scoreless))


def _videos(folder, found, *, with_images, scoreless) -> list[Video]:
    """What there is of each sequence in the folder of a run; targets of one video together."""
    videos = []
    groups = [found.sequences] if found.objects else [[s] for s in found.sequences]
    for group in groups:
        targets = {}
        for number, sequence in enumerate(group, 1):
            read = results.read_sequence(folder, sequence.name)
            if read is None:
                continue
            scores = results.read_scores(folder, sequence.name)
            if scores is None or len(scores) != len(read[0]):
                scoreless.append(sequence.name)
                scores = np.tile(results.GIVEN_SCORE, (len(read[0]), 1))
            targets[number] = Target(read[0], scores)
        if targets:
            name = results.video_name(group[0].name) if found.objects else group[0].name
            size_wh, images = image_names(group[0]) if with_images else (None, None)
            videos.append(Video(name, targets, found.objects, size_wh, images))
    return videos


def image_names(sequence) -> tuple[tuple[int, int], tuple[str, ...] | None]:
    """Size of the first frame, and the names of the frames where they are image files."""
    _, image = next(sequence.images())
    names = None
    if isinstance(sequence.frames, ImageFrames):
        names = tuple("/".join(Path(path).parts[-3:]) for path in sequence.frames.paths)
    return (image.shape[1], image.shape[0]), names


def _found(video):
    """Yields (target's number, frame, [x, y, w, h, score]) of the frames in which it was found."""
    for number, target in video.targets.items():
        for frame, (box, (score, found)) in enumerate(
            zip(target.boxes, target.scores, strict=True)
        ):
            if found:
                yield number, frame, [*box, score]


def _numbers(values, end="\n"):
    return ",".join(f"{value:.4f}" for value in values) + end
