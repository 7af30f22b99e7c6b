"""Accuracy against speed of the online parameters: variants of the tracker around its default.

python -m benchmarks.online --data DIR --out OUT --seeds 3
python -m benchmarks.online --data DIR --out OUT --seeds 3 --add "crop_size_px=256,memory.size=30"

The listed variants are in benchmarks/online_variants.py. OUT/online.jsonl gets one line a variant,
OUT/online.png the plot; the same command goes on with the missing ones.
"""

import dataclasses
import hashlib
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from benchmarks import online_report, online_variants
from benchmarks.online_variants import DEFAULT
from dimp_jax import compilation
from dimp_jax import config as configs
from dimp_jax.evaluation import inputs, rules, runner, sequences
from dimp_jax.evaluation.images import InputError
from dimp_jax.machine import busy_notice, machine

INTERRUPTED = 130
TIMED_FRAMES = 42  # of a sequence; one in twenty updates the filter
TIMED_SEQUENCES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Accuracy against speed of the online parameters, one variant after the other."""

    data: Path
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    out: Path
    """Folder of online.jsonl and online.png; finished variants in it are not run again."""

    config: str = "dimp_lite0"
    """The default: a config file, or the name of one that ships with dimp_jax."""

    checkpoint: str | None = None
    """Weights instead of those that the config names."""

    only: tuple[str, ...] | None = None
    """Names of listed variants; none after it: only those of --add and --variants."""

    add: tuple[str, ...] = ()
    """More variants: "refine.iterations=3,crop_size_px=256"."""

    variants: Path | None = None
    """A file of more variants, one a line: `refine.iterations=3` or `name: refine.iterations=3`."""

    seeds: int = 1
    """Number of tracker seeds (0, 1, ...)."""

    frames: int | None = None
    """Use only the first frames of each sequence."""

    rounds: int = 5
    """Times that default and variant are timed in turns; the ratio is the median."""


def identity(config, args: Arguments) -> str:
    """A hash of all that figures depend on but the variant: only equal ones may be compared."""
    whole = configs.to_dict(config)
    del whole["training"], whole["seed"]
    described = inputs.describe(
        inputs.Source(data=str(args.data), frames=args.frames), checkpoint=config.checkpoint
    )
    values = {"config": whole, "inputs": described, "seeds": args.seeds, "rounds": args.rounds}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def read_records(path, base: str) -> tuple[list[dict], int]:
    """The records of `path` that belong to `base`, and the number of lines that are not whole."""
    records, damaged = {}, 0
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            record = json.loads(line)
            if record["base"] == base:
                records[record["variant"]] = record
        except (ValueError, KeyError, TypeError):
            damaged += bool(line.strip())
    return list(records.values()), damaged


def append_record(path, record: dict):
    """Adds one line; after a line that was cut off, it begins on a new one."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    start = "\n" if text and not text.endswith("\n") else ""
    with path.open("a", encoding="utf-8") as file:
        file.write(start + json.dumps(record) + "\n")


def is_measured(record: dict, config: configs.TrackerConfig) -> bool:
    """Whether a record is that of this very configuration, not only of its name."""
    return record["tracker"] == json.loads(json.dumps(configs.to_dict(config)))


def accuracy(tracker, found, seeds: int, *, watch) -> tuple[list[float], dict]:
    """(mean AUC over sequences for each seed, {sequence: mean AUC over seeds})."""
    scores = np.empty((seeds, len(found)))
    for seed in range(seeds):
        for place, sequence in enumerate(found):
            watch(f"seed {seed}, {sequence.name}")
            boxes, _ = runner.track(tracker, sequence, seed=seed)
            score = rules.score_sequence(rules.get("visible"), boxes, sequence)
            scores[seed, place] = np.nan if score is None else score.values["auc"]
    names = [sequence.name for sequence in found]
    by_name = dict(zip(names, scores.mean(0).tolist(), strict=True))
    return scores.mean(1).tolist(), by_name


def timed_clips(found) -> list[tuple[list, np.ndarray]]:
    """Decoded first frames and first box of a few sequences, spread over all."""
    chosen = np.unique(np.linspace(0, len(found) - 1, TIMED_SEQUENCES).round().astype(int))
    clips = []
    for sequence in (found[place] for place in chosen):
        images = [image for _, image in itertools.islice(sequence.images(), TIMED_FRAMES)]
        clips.append((images, sequence.init_box))
    return clips


def speed(tracker, clips) -> tuple[float, float]:
    """(tracked frames a second, mean seconds of the first frame) of a tracker that is compiled."""
    import jax

    first_s, each_s = [], []
    for images, box in clips:
        started = time.perf_counter()
        state = jax.block_until_ready(tracker.init(images[0], box))
        first_s.append(time.perf_counter() - started)
        for image in images[1:]:
            started = time.perf_counter()
            state = jax.block_until_ready(tracker.step(state, image)[0])
            each_s.append(time.perf_counter() - started)
    return 1 / statistics.fmean(each_s), statistics.fmean(first_s)


def in_turns(default, variant, clips, rounds: int) -> dict:
    """Speed of a variant as a ratio to the default's, both timed in turns in this process.

    Returns:
      "speed_ratio" (median over the rounds, > 1: faster than the default),
      "default_frames_per_s" and "init_s" (medians; the latter of the variant).
    """
    ratios, default_speeds, init = [], [], []
    for _ in range(rounds):
        before, _ = speed(default, clips)
        now, init_s = speed(variant, clips)
        ratios.append(now / before)
        default_speeds.append(before)
        init.append(init_s)
    return {
        "speed_ratio": statistics.median(ratios),
        "default_frames_per_s": statistics.median(default_speeds),
        "init_s": statistics.median(init),
    }


def measure(args: Arguments, console, *, build, found, config, chosen) -> list[dict]:
    """Measures the variants that are not in OUT/online.jsonl yet.

    Args:
      build: `Config` -> tracker with `init`, `step` and `warmup`.
      found: sequences. config: the default. chosen: {name: `TrackerConfig`}.

    Returns:
      all records of the same default, data and seeds, those of earlier commands included.

    Raises:
      InputError: from `build` or the frames; finished variants stay in the file.
    """
    path, base = args.out / "online.jsonl", identity(config, args)
    records, damaged = read_records(path, base)
    if damaged:
        console.print(f"{path}: {damaged} damaged lines are passed over", markup=False)
    done = {r["variant"]: r for r in records}
    todo = [n for n, c in chosen.items() if n not in done or not is_measured(done[n], c)]
    if len(todo) < len(chosen):
        console.print(f"{len(chosen) - len(todo)} of {len(chosen)} variants are done")
    default = None
    for number, name in enumerate(todo, 1):
        with console.status(f"{name} ({number}/{len(todo)})") as status:
            if default is None:
                default, clips = build(config), timed_clips(found)
                default.warmup()
            variant = default
            if name != DEFAULT:
                variant = build(dataclasses.replace(config, tracker=chosen[name]))
                variant.warmup()
            watch = lambda text, n=name, i=number: status.update(f"{n} ({i}/{len(todo)}): {text}")
            watch("timing in turns with the default")
            record = {"base": base, "variant": name, "tracker": configs.to_dict(chosen[name])}
            record |= in_turns(default, variant, clips, args.rounds)
            auc, by_sequence = accuracy(variant, found, args.seeds, watch=watch)
            record |= {"auc": auc, "sequences": by_sequence, "machine": machine()}
            append_record(path, record)
    return read_records(path, base)[0]


def prepare(args: Arguments):
    """(sequences, default config, {name: `TrackerConfig`}) after all input was checked.

    Raises:
      InputError: whatever of it cannot be used.
    """
    for option in ("seeds", "rounds", "frames"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} {value}: expected at least 1")
    try:
        config = configs.load(args.config)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(str(error)) from error
    if args.checkpoint is not None:
        config = dataclasses.replace(config, checkpoint=args.checkpoint)
    chosen = online_variants.choose(
        config.tracker, only=args.only, add=args.add, file=args.variants
    )
    found = sequences.load_folder(args.data, limit=args.frames)
    for sequence in found:
        if sequence.groundtruth is None:
            raise InputError(f"{args.data}: {sequence.name} has no ground truth to compare with")
        if sequence.frames.count < 2:
            raise InputError(f"{args.data}: {sequence.name} has one frame: nothing to track")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{args.out}: cannot be written ({error.strerror})") from error
    return found, config, chosen


def run(args: Arguments, console):
    """Checks the input, measures, and shows and draws the result."""
    found, config, chosen = prepare(args)
    notice = busy_notice(machine())
    if notice:
        console.print(notice, markup=False)
    compilation.enable_cache()
    from dimp_jax.tracking import tracker

    notices = set()

    def build(settings):
        try:
            built = tracker.build(settings)
        except (ValueError, FileNotFoundError) as error:
            raise InputError(str(error)) from error
        if built.notice and built.notice not in notices:
            notices.add(built.notice)
            console.print(built.notice, markup=False)
        return built

    records = measure(args, console, build=build, found=found, config=config, chosen=chosen)
    console.print(online_report.table(records))
    speed = online_report.frames_per_second(records)[DEFAULT]
    (noise,) = (r["speed_ratio"] for r in records if r["variant"] == DEFAULT)
    told = f"default: {speed:.1f} frames/s; timed against itself: ratio {noise:.2f}, of noise"
    console.print(told, highlight=False)
    title = f"{Path(args.config).stem} on {args.data.resolve().name}: one change at a time"
    online_report.plot(args.out / "online.png", records, title)
    console.print(f"{args.out / 'online.png'}", markup=False, soft_wrap=True)


def main(argv=None) -> int:
    """Exit status: 0; 2 if the input cannot be used; 130 if stopped."""
    args = tyro.cli(Arguments, args=argv, prog="python -m benchmarks.online")
    try:
        run(args, Console())
    except InputError as error:
        print(f"online: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on with the missing variants", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
