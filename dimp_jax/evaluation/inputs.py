"""From the options of `evaluate.py` to the sequences to track, and back from a results folder."""

import dataclasses
import hashlib
from pathlib import Path
from typing import NamedTuple

from dimp_jax.checkpoints import shipped
from dimp_jax.evaluation import datasets, demo, identity
from dimp_jax.media import sequences, window
from dimp_jax.media.images import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What is tracked; at most one of `data`, `video` and `dataset`, none of them: the demo."""

    data: str | None = None  # a sequence, or a folder of them
    video: str | None = None  # a file, or the number of a camera
    dataset: str | None = None  # one of datasets.NAMES
    data_dir: str | None = None  # where it is
    only: tuple[str, ...] = ()  # names of its sequences; none: all
    boxes: tuple[str, ...] = ()  # first boxes "X,Y,W,H"
    frames: int | None = None  # only the first ones of each sequence


LISTS = ("only", "boxes")  # fields of `Source` that are lists of names in JSON


class Inputs(NamedTuple):
    """The sequences, and what they are called together."""

    sequences: list[sequences.Sequence]
    name: str | None  # None: the demo
    rule: str  # name of the metric rule that is used for them by default
    objects: bool = False  # the sequences are several targets of one video


def load(source: Source, *, show: bool = False) -> Inputs:
    """Finds the sequences, and decodes their first frames.

    Args:
      show: there will be a window, in which a box can be drawn.

    Raises:
      InputError: options that do not go together, or input that cannot be used.
    """
    if source.frames is not None and source.frames < 1:
        raise InputError(f"--frames {source.frames}: expected at least 1")
    given = [f"--{name}" for name in ("data", "video", "dataset") if getattr(source, name)]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: give only one of them")
    if source.dataset is None and source.data_dir is not None:
        raise InputError("--data-dir goes with --dataset; a folder of your own is --data")
    boxes = [sequences.parse_box(text) for text in source.boxes]
    if show:
        window.check_display()
    if source.dataset is not None:
        return _of_dataset(source, boxes)
    if source.data is not None:
        found = sequences.load_folder(
            source.data, limit=source.frames, box=boxes[0] if boxes else None
        )
        found = _chosen(found, source)
        return _of_objects(found, Path(source.data).resolve().name, boxes)
    if source.only:
        raise InputError("--sequences goes with --dataset or --data")
    if source.video is not None:
        found = _video(source, boxes, show)
        return _of_objects([found], found.name, boxes)
    if boxes:
        raise InputError("--box goes with --video, or with --data: the demo has its own")
    return Inputs([demo.load(limit=source.frames)], None, datasets.official_rule(datasets.FOLDER))


def describe(source: Source, *, checkpoint) -> dict:
    """What the results depend on beside the configuration, as JSON types."""
    absolute = lambda path: None if path is None else str(Path(path).resolve())
    camera = source.video is not None and source.video.isdecimal()
    return {
        **dataclasses.asdict(source),
        "data": absolute(source.data),
        "video": source.video if camera else absolute(source.video),
        "data_dir": absolute(source.data_dir),
        **_version(checkpoint),
    }


def reload(out) -> Inputs:
    """The sequences whose results are in `out`, from its `input.json`.

    Raises:
      InputError: it cannot be read, or what it names is gone.
    """
    described = identity.read_input(out)
    names = {field.name for field in dataclasses.fields(Source)}
    values = {name: value for name, value in described.items() if name in names}
    for name, value in values.items():
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        kinds = {"only": is_list, "boxes": is_list, "frames": type(value) is int}
        if not (kinds.get(name, isinstance(value, str)) or (value is None and name not in LISTS)):
            raise InputError(f"{Path(out) / 'input.json'}: {name} is not what evaluate.py writes")
    values |= {name: tuple(values[name]) for name in LISTS if name in values}
    return load(Source(**values))


def _of_dataset(source, boxes):
    if boxes:
        raise InputError(f"--box: {source.dataset} has first boxes of its own")
    if source.data_dir is None:
        raise InputError(f"--dataset {source.dataset}: needs --data-dir, the folder where it is")
    found = datasets.load(source.dataset, source.data_dir, limit=source.frames, only=source.only)
    return Inputs(found, source.dataset, datasets.official_rule(source.dataset))


def _chosen(found, source):
    if not source.only:
        return found
    names = {sequence.name for sequence in found}
    missing = [name for name in source.only if name not in names]
    if missing:
        raise InputError(f"--sequences {missing[0]}: there is no such folder in {source.data}")
    return [sequence for sequence in found if sequence.name in source.only]


def _video(source, boxes, show):
    if not boxes and not show:
        raise InputError(f"--video {source.video}: needs --box X,Y,W,H, or --show to draw it")
    number = int(source.video) if source.video.isdecimal() else source.video
    if isinstance(number, int) and source.frames is None and not show:
        raise InputError(f"--video {source.video}: a camera needs --show or --frames to end")
    box = boxes[0] if boxes else None
    return sequences.load_video(number, limit=source.frames, box=box)


def _of_objects(found, name, boxes):
    """`found`, or its only sequence once for each of several boxes, numbered from 1."""
    rule = datasets.official_rule(datasets.FOLDER)
    if len(boxes) < 2:
        return Inputs(found, name, rule)
    (sequence,) = found  # `load_folder` refuses boxes for several sequences
    objects = [
        sequences.checked(
            dataclasses.replace(
                sequence, name=f"{sequence.name}-{number}", init_box=box, groundtruth=None
            )
        )
        for number, box in enumerate(boxes, 1)
    ]
    return Inputs(objects, name, rule, objects=True)


def _version(checkpoint) -> dict:
    """What changes when other weights are stored under the same name."""
    path = None if checkpoint is None else shipped.resolve(checkpoint)
    if path is not None and path.is_file():
        # Not its time: the same file is installed again and again.
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        return {"checkpoint_sha256": digest.hexdigest()}
    files = [] if path is None else [p for p in path.rglob("*") if p.is_file()]
    return {"checkpoint_modified": max((p.stat().st_mtime for p in files), default=None)}
