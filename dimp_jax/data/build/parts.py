"""Builds a split in parts that are each written whole or not at all, and joins them.

While it is being built, a split lives in `DATA_DIR/name/split.building/`: `plan.json`, and a folder
for each part, complete once it has `part.json`. A build that was cut short goes on with the parts
that are missing.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import reprlib
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow_datasets as tfds

from dimp_jax.data import records_index
from dimp_jax.data.builders.tracking import Footage, Request, TrackingBuilder, split_metadata
from dimp_jax.data.records_index import Problem
from dimp_jax.host.files import write_atomically
from dimp_jax.media import text
from dimp_jax.media.folders import is_hidden
from dimp_jax.media.images import InputError


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is built, from what, into which parts."""

    builder: type[TrackingBuilder]
    request: Request
    directory: Path  # DATA_DIR/name/split
    parts: tuple[tuple[Footage, ...], ...]
    problems: tuple[Problem, ...]  # found while listing
    part_frames: int
    made_from: dict  # JSON values; equal for equal builds

    @property
    def work(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.building")

    @property
    def lock(self) -> Path:
        return self.directory.with_name(f".{self.directory.name}.lock")

    @property
    def num_frames(self) -> int:
        return sum(footage.num_frames for part in self.parts for footage in part)

    def part_folder(self, number) -> Path:
        return self.work / f"part-{number:05d}"

    def missing(self) -> list[int]:
        """Numbers of the parts that are not built yet."""
        numbers = range(len(self.parts))
        return [n for n in numbers if not (self.part_folder(n) / "part.json").exists()]


def make_plan(builder, request, directory, part_frames) -> Plan:
    """Lists the footage and cuts it into parts; writes nothing.

    Raises:
      InputError: the source does not have the builder's layout, or the list of names to exclude
        does not fit it, or a name is not UTF-8.
    """
    footage, problems = builder.list_footage(request)
    excluded = set(request.exclude or ())
    known = builder.names_to_exclude(request, footage)
    unknown = excluded - known
    if unknown:
        raise InputError(
            f"--exclude: {len(unknown)} of its {len(excluded)} names are not in {request.source}, "
            f"{min(unknown)!r} among them; those there are such as {min(known)!r}"
        )
    footage = [item for item in footage if item.name not in excluded]
    if not footage:
        raise InputError(f"{request.source}: nothing is left to build after --exclude")
    parts, frames = [[]], 0
    for item in footage:
        if parts[-1] and frames + item.num_frames > part_frames:
            parts.append([])
            frames = 0
        parts[-1].append(item)
        frames += item.num_frames
    for item in footage:
        text.require_utf8(item.name)
    digest = hashlib.sha256()
    for item in footage:  # details can be long: `reprlib` takes the beginning of them
        digest.update(f"{item.name}\t{item.num_frames}\t{reprlib.repr(item.detail)}\n".encode())
    made_from = {
        "builder": builder.name,
        "source": str(request.source.resolve()),
        "split": request.split,
        "excluded names": len(excluded),
        "videos or images": len(footage),
        "contents": digest.hexdigest()[:16],
    }
    return Plan(
        builder,
        request,
        Path(directory),
        tuple(tuple(part) for part in parts),
        tuple(problems),
        part_frames,
        made_from,
    )


def check_same_build(made_from, before, directory):
    """Raises InputError if what is in `directory` was built from something else."""
    changes = [
        f"{key} {before.get(key)!r} then, {value!r} now"
        for key, value in made_from.items()
        if before.get(key) != value
    ]
    if changes:
        raise InputError(
            f"{directory}: was built from something else ({'; '.join(changes)}): choose another "
            "--name or --out, or delete that folder to build it anew"
        )


def changed_since(plan, folder) -> list[Path]:
    """Files of the source that were changed after a build, of which something is in `folder`.

    Annotation, masks, and what the build could not use. JPEG files that it could use are not looked
    at: there may be millions of them.
    """
    began = min(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())
    roots = {item.path for part in plan.parts for item in part}
    roots.add(plan.request.source / "annotations")  # COCO's, whose footage are files
    found = {Path(problem.where) for problem in _problems(folder)}
    for root in roots:
        for place, folders, names in os.walk(root):
            if "dataset_info.json" in names:  # a built data set
                folders.clear()
                continue
            names = [name for name in names if not name.lower().endswith((".jpg", ".jpeg"))]
            found.update(Path(place, name) for name in names if not is_hidden(name))
    changed = []
    for path in sorted(found):
        if os.path.isfile(path):
            state = path.stat()
            # A copy may keep the time of its original; that of the change of its entry is new.
            if max(state.st_mtime, state.st_ctime) > began:
                changed.append(path)
    return changed


def _problems(folder) -> list[Problem]:
    """Those of a built split; of one that is being built, of its finished parts."""
    if (folder / "metadata.json").exists():
        return records_index.read_problems(folder)
    parts = [json.loads(path.read_text()) for path in sorted(folder.glob("*/part.json"))]
    return [Problem(*problem) for part in parts for problem in part["metadata"]["problems"]]


def start(plan) -> bool:
    """Makes the work folder, or takes up the one that a build cut short has left (True).

    Raises:
      InputError: that one was for something else.
    """
    path = plan.work / "plan.json"
    cut_how = {**plan.made_from, "frames a part": plan.part_frames}
    if path.exists():
        check_same_build(cut_how, json.loads(path.read_text()), plan.work)
        return True
    plan.work.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(cut_how))
    return False


def build_part(plan_builder, request, footage, folder, on_frames: Callable[[int], None]):
    """Builds one part in `folder` through TFDS; `part.json` comes last."""
    folder = Path(folder)
    if folder.exists():  # cut short
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    with _quiet_tfds():
        builder = plan_builder(
            request=request, footage=footage, on_frames=on_frames, data_dir=folder / "data"
        )
        try:
            builder.download_and_prepare(
                download_dir=folder / "downloads",  # stays empty
                download_config=tfds.download.DownloadConfig(compute_stats="skip"),
            )
        except AssertionError:
            # TFDS refuses a data set without records; here all of a part can be left out.
            if builder.info.metadata.get("is_video") is None or builder.info.metadata.get("names"):
                raise
    metadata = dict(builder.info.metadata)
    shards, num_bytes = [], 0
    if metadata.get("names"):
        info = builder.info.splits[request.split]
        shards = [
            [str(path.relative_to(folder)), length]
            for path, length in zip(map(Path, info.filepaths), info.shard_lengths, strict=True)
        ]
        num_bytes = int(info.num_bytes)
    part = {"metadata": metadata, "shards": shards, "num_bytes": num_bytes}
    write_atomically(folder / "part.json", json.dumps(part))


def finish(plan) -> tuple[records_index.SequenceIndex, list[Problem]]:
    """Joins all parts to one TFDS data set in `plan.directory` and removes the work folder.

    Returns:
      The index and the problems of the whole split.

    Raises:
      InputError: no part has a record.
    """
    folders = [plan.part_folder(number) for number in range(len(plan.parts))]
    parts = [json.loads((folder / "part.json").read_text()) for folder in folders]
    problems = [*plan.problems, *_problems(plan.work)]
    used = [part["metadata"] for part in parts if part["shards"]]
    if not used:
        shutil.rmtree(plan.work)
        first = f"{problems[0].where}: {problems[0].why}" if problems else "no annotated frames"
        raise InputError(
            f"{plan.request.source}: nothing in it can be used; {len(problems)} problems, the "
            f"first: {first}"
        )
    index = records_index.concatenate(map(records_index.from_metadata, used))

    with _quiet_tfds():
        builder = plan.builder(request=plan.request, footage=[], data_dir=plan.work / "joined")
    target = Path(builder.data_dir)
    target.mkdir(parents=True, exist_ok=True)
    split = plan.request.split
    template = tfds.core.ShardedFileTemplate(
        data_dir=target, dataset_name=builder.name, split=split, filetype_suffix="array_record"
    )
    shards = [
        (folder / name, length)
        for folder, part in zip(folders, parts, strict=True)
        for name, length in part["shards"]
    ]
    for number, (path, _) in enumerate(shards):
        name = template.sharded_filepath(shard_index=number, num_shards=len(shards))
        if path.exists():  # moved already, if the joining was cut short
            os.replace(path, name)
    split_info = tfds.core.SplitInfo(
        name=split,
        shard_lengths=[length for _, length in shards],
        num_bytes=sum(part["num_bytes"] for part in parts),
        filename_template=template,
    )
    builder.info.set_splits(tfds.core.splits.SplitDict([split_info]))
    metadata = split_metadata(builder, index, ())
    del metadata["problems"]  # in a file of their own
    builder.info.metadata.update(metadata, made_from=plan.made_from)
    listed = json.dumps([problem._asdict() for problem in problems], indent=1)
    write_atomically(target / "problems.json", listed)
    builder.info.write_to_directory(target)

    plan.directory.mkdir(parents=True, exist_ok=True)
    os.replace(target, plan.directory / target.name)
    shutil.rmtree(plan.work)
    return index, problems


@contextlib.contextmanager
def _quiet_tfds():
    """No bars and no announcements of TFDS: the build has its own."""
    tfds.disable_progress_bar()
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
