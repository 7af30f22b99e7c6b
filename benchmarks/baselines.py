"""OpenCV's trackers and ours on the same sequences, with the same metric, one after the other.

python -m benchmarks.baselines --data DIR
python -m benchmarks.baselines --data DIR --config dimp_lite0 dimp_lite0_untrained --threads 0 1
python -m benchmarks.baselines --data DIR --nano backbone.onnx head.onnx    # files of your own

The first run makes a virtual environment with opencv-contrib-python, which is no dependency of this
project. OUT/<tracker>/ holds what `evaluate.py` writes; OUT/baselines.json all figures.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import comparison, opencv_env
from dimp_jax import config as configs
from dimp_jax.evaluation import identity, inputs, jobs, results
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.host import command_line, compilation, files, terminal
from dimp_jax.host.machine import busy_notice, machine
from dimp_jax.media import sequences
from dimp_jax.media.images import InputError

REFERENCE = "CSRT"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """OpenCV's trackers and ours on the same sequences, one after the other.

    Given again, the same command goes on with the missing sequences.
    """

    data: Path
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    out: Path | None = None
    """Folder of the results. Default: results/baselines-<data>."""

    config: tuple[str, ...] = ("dimp_lite0",)
    """Our trackers: config files, or names of those that ship with dimp_jax. May be empty."""

    checkpoint: str | None = None
    """Weights instead of those that the config names; for a single --config."""

    trackers: tuple[Literal["CSRT", "KCF", "MIL"], ...] = ("CSRT", "KCF", "MIL")
    """OpenCV's trackers. May be empty."""

    nano: tuple[Path, Path] | None = None
    """Backbone and head of OpenCV's TrackerNano, two ONNX files of your own: runs it, too."""

    threads: tuple[int, ...] = (0,)
    """Numbers of threads to run OpenCV with, each a run of its own; 0: OpenCV's default."""

    frames: int | None = None
    """Use only the first frames of each sequence."""

    env: Path = dataclasses.field(default_factory=lambda: files.cache_folder("baselines"))
    """Virtual environment with opencv-contrib-python; made if it does not exist."""


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One tracker of the comparison: OpenCV's if it has a `job`, ours if it has a `config`."""

    name: str
    folder: Path
    inputs: dict
    job: dict | None = None  # "tracker", "threads"
    config: configs.Config | None = None


def load_sequences(args: Arguments) -> list[sequences.Sequence]:
    """The sequences of --data.

    Raises:
      InputError: as `sequences.load_folder`, or a sequence has no ground truth.
    """
    if args.frames is not None and args.frames < 1:
        raise InputError(f"--frames {args.frames}: expected at least 1")
    found = sequences.load_folder(args.data, limit=args.frames)
    for sequence in found:
        if sequence.groundtruth is None:
            raise InputError(
                f"{args.data}: {sequence.name} has no ground truth but the first box: nothing can "
                "be compared on it"
            )
    return found


def entrants(args: Arguments, out: Path) -> list[Entrant]:
    """The trackers that the options name, OpenCV's first.

    Raises:
      InputError: none, one twice, a config that cannot be loaded, or a checkpoint for several.
    """
    made_from = lambda checkpoint: inputs.describe(
        inputs.Source(data=str(args.data), frames=args.frames), checkpoint=checkpoint
    )
    if any(count < 0 for count in args.threads):
        raise InputError(f"--threads {min(args.threads)}: expected 0 (OpenCV's default) or more")
    if args.checkpoint is not None and len(args.config) != 1:
        raise InputError(f"--checkpoint goes with one --config, not {len(args.config)}")
    found = []
    jobs_of = [{"tracker": name} for name in args.trackers]
    if args.nano is not None:
        jobs_of.append({"tracker": "Nano", **network(args.nano)})
    for job in jobs_of:
        for threads in args.threads:
            name = f"{job['tracker']}-threads{threads}" if threads else job["tracker"]
            job = job | {"threads": threads or None}
            found.append(Entrant(name, out / name, made_from(None), job=job))
    for given in args.config:
        try:
            config = configs.load(given)
        except (FileNotFoundError, ValueError) as error:
            raise InputError(str(error)) from error
        if args.checkpoint is not None:
            config = dataclasses.replace(config, checkpoint=args.checkpoint)
        name = Path(given).stem
        found.append(Entrant(name, out / name, made_from(config.checkpoint), config=config))
    names = [entrant.name for entrant in found]
    if not names:
        raise InputError("--trackers and --config are both empty, and no --nano: nothing to run")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: given twice")
    return found


def network(paths) -> dict:
    """The job's files of a network, and what identifies them.

    Raises:
      InputError: a file that is not there.
    """
    digests = []
    for path in paths:
        if not path.is_file():
            raise InputError(f"--nano {path}: no such file; expected BACKBONE.onnx HEAD.onnx")
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return {"network": [str(path.resolve()) for path in paths], "sha256": digests}


def provenance(entrant: Entrant, opencv: dict | None) -> dict:
    """What `identity.check_folder` compares before results are taken up again."""
    if entrant.config is None:
        # Files of a network are known by their digests, wherever they lie.
        config = {k: v for k, v in entrant.job.items() if k != "network"}
        config |= {"opencv": opencv["opencv"]}
    else:
        config = configs.to_dict(entrant.config)
        del config["training"]
    return {"config": config, "inputs": entrant.inputs}


def by_opencv(entrant, todo, env, console):
    """Tracks jobs in turn: yields (job, `jobs.Tracked`); says where OpenCV raised."""
    for number, job in enumerate(todo, 1):
        sequence = job.sequence
        with console.status(f"{entrant.name}: {sequence.name} ({number}/{len(todo)})"):
            images = [str(path) for path in sequence.frames.paths]
            what = entrant.job | {"images": images, "box_xywh": sequence.init_box.tolist()}
            result = opencv_env.run_job(env, what)
        if result["errors"]:
            console.print(
                f"{entrant.name}, {sequence.name}: OpenCV raised in {result['errors']} frames, "
                f"which repeat the box before ({result['first_error']})",
                markup=False,
            )
        yield job, jobs.Tracked(result["boxes"], result["seconds"], None)


def by_ours(entrant, todo, console):
    """As `by_opencv`, of one of our trackers.

    Raises:
      InputError: the weights cannot be loaded.
    """
    compilation.enable_cache()
    from dimp_jax.tracking.tracker import build

    try:
        tracker = build(entrant.config)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"{entrant.name}: {error}") from error
    if tracker.notice:
        console.print(f"{entrant.name}: {tracker.notice}", markup=False)
    with console.status(f"{entrant.name}: compiling"):
        tracker.warmup()
    options = jobs.Options(seed=entrant.config.seed)
    return one_by_one.one_by_one(tracker, todo, entrant.folder, options=options, console=console)


def run(entrant, found, env, console) -> dict:
    """Tracks the sequences that are not done yet; returns the summary of all.

    Raises:
      InputError: as `by_ours`, or the first sequence that failed.
    """
    if entrant.config is None:
        track = lambda todo: by_opencv(entrant, todo, env, console)
    else:
        track = lambda todo: by_ours(entrant, todo, console)
    scores = jobs.run_jobs(track, found, entrant.folder, options=jobs.Options(), console=console)
    for where, text in jobs.failures(entrant.folder, scores):
        raise InputError(f"{entrant.name}, {where}: {text.strip().splitlines()[-1]}")
    return scores


def compare(args: Arguments, console) -> dict:
    """Runs all trackers one after the other; writes and returns the figures of baselines.json."""
    found, here = load_sequences(args), machine()
    results.check_names(found)
    out = args.out or Path("results") / f"baselines-{args.data.resolve().name}"
    listed = entrants(args, out)
    opencv = None
    wanted = sorted({e.job["tracker"] for e in listed if e.job is not None})
    if wanted:
        opencv = opencv_env.ensure(args.env, wanted, console=console)
    for entrant in listed:  # all, before hours are spent on the first
        identity.check_folder(entrant.folder, **provenance(entrant, opencv))
        identity.check_unchanged(entrant.folder, found)
    notice = busy_notice(here)
    if notice:
        console.print(notice, markup=False)
    entries = {}
    for entrant in listed:
        identity.make_folder(entrant.folder, **provenance(entrant, opencv), sequences=found)
        scores = run(entrant, found, args.env, console)
        entries[entrant.name] = comparison.entry(entrant.folder, found, scores)
    figures = {"machine": here, "opencv": opencv, "trackers": entries}
    results.write_atomically(out / "baselines.json", json.dumps(figures, indent=2) + "\n")
    return figures


def show(figures: dict, ours, console):
    """Prints the tables, and for each of ours whether it keeps what CSRT keeps."""
    entries = figures["trackers"]
    console.print(comparison.per_sequence(entries))
    console.print(comparison.per_tracker(entries))
    reference = next((n for n in entries if n.split("-threads")[0] == REFERENCE), None)
    for name in ours if reference else ():
        lost = comparison.lost_though_kept(entries[name], entries[reference])
        verdict = f"missed: {', '.join(lost)}" if lost else "met"
        console.print(
            f"{name}: no sequence lost in its first {comparison.EARLY_FRAMES} frames that "
            f"{REFERENCE} keeps: {verdict}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@command_line.command(
    "baselines", InputError, OSError, stopped="the same command goes on with the missing sequences"
)
def main(argv=None) -> int:
    """Exit status: 0; 2 if the input cannot be used; 130 if stopped."""
    args = tyro.cli(Arguments, args=argv, prog="python -m benchmarks.baselines")
    console = terminal.console()
    figures = compare(args, console)
    show(figures, [Path(name).stem for name in args.config], console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
