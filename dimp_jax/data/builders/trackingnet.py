"""TrackingNet: chunks `TRAIN_0` .. `TRAIN_11`, each `{frames/<id>/<k>.jpg, anno/<id>.txt}`."""

import re

from dimp_jax.data.builders import annotation_files as files
from dimp_jax.data.builders.tracking import Annotated, Footage, Target, TrackingBuilder
from dimp_jax.data.records_index import Problem
from dimp_jax.media import text
from dimp_jax.media.folders import listed
from dimp_jax.media.images import InputError

LAYOUT = "the folder of TrackingNet with TRAIN_0/anno/*.txt, TRAIN_0/frames/<id>/0.jpg, ..."
CHUNKS = 12


class TrackingNet(TrackingBuilder):
    """Splits "train_0" .. "train_11", "train_0_3" (chunks 0 to 3), "train" (all that are there).

    Frames are numbered from 0, without leading zeros.
    """

    name = "trackingnet"
    IS_VIDEO = True

    @staticmethod
    def list_footage(request):
        chunks = _chunks(request.split)
        source = text.require_folder(request.source, LAYOUT)
        folders = [source / f"TRAIN_{chunk}" for chunk in chunks]
        if request.split == "train":
            folders = [folder for folder in folders if folder.is_dir()]
            if not folders:
                raise InputError(f"{source}: no TRAIN_0 .. TRAIN_11 in it: expected {LAYOUT}")
        footage, problems = [], []
        for folder in folders:
            annotations = listed(folder / "anno", "*.txt")
            if not annotations:
                raise InputError(f"{folder / 'anno'}: no *.txt in it: expected {LAYOUT}")
            for path in annotations:
                frames = folder / "frames" / path.stem
                if frames.is_dir():
                    footage.append(Footage(path.stem, folder, files.count_images(frames)))
                else:
                    problems.append(Problem("other", str(frames), "no such folder: left out"))
        if not footage:
            raise InputError(f"{folders[0] / 'frames'}: no frames there: expected {LAYOUT}")
        return footage, problems

    @staticmethod
    def read_footage(footage):
        """Visible: a box with a size."""
        path = footage.path / "anno" / f"{footage.name}.txt"
        boxes, present, problems = files.read_boxes(path)
        frames = footage.path / "frames" / footage.name
        paths, extra = files.numbered_images(frames, len(boxes), "{:d}.jpg", 0)
        return Annotated(paths, [Target(footage.name, boxes, present)], problems + extra)


def _chunks(split):
    if split == "train":
        return range(CHUNKS)
    match = re.fullmatch(r"train_(\d+)(?:_(\d+))?", split)
    if match:
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if first <= last < CHUNKS:
            return range(first, last + 1)
    raise InputError(
        f"--split {split}: expected train, train_0 .. train_{CHUNKS - 1}, or train_0_3 for chunks "
        "0 to 3 (TEST has no boxes)"
    )
