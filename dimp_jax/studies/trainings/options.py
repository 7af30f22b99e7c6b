"""Options of the studies that train."""

import dataclasses
from pathlib import Path

from dimp_jax.media.images import InputError
from dimp_jax.studies import study as studies

QUICK = {
    "seeds": 1,
    "steps": 40,
    "score_at": (),
    "global_batch": 4,
    "pool_samples": 48,
    "held_out": 16,
    "frames": 30,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(studies.Common):
    """Of trainings from one frozen backbone, on features of one pool."""

    config: str = "ablations/all_data"
    """A config file, or the name of one that ships with dimp_jax."""

    seeds: int = 3
    """Of the heads' first values, the batches and the tracker, from --seed on."""

    steps: int = 1900
    """Updates of each arm; warm-up and decay of the config's rates shrink in proportion."""

    score_at: tuple[int, ...] = ()
    """Further steps after which the arms are scored, multiples of 10."""

    global_batch: int = 16
    """Sequences a step."""

    pool_samples: int = 7856
    """In the pool of features, a multiple of 16."""

    held_out: int = 256
    """Samples for the held-out loss, a multiple of 16."""

    pool: Path | None = None
    """Folder of the pool, to share one between studies. Default: OUT/pool."""

    data_dir: Path | None = None
    """Folder of built data sets. Default: $TFDS_DATA_DIR."""

    cutouts_dir: Path | None = None
    """Of the source "composite". Default: DATA_DIR/composite/cutouts."""

    backgrounds_dir: Path | None = None
    """Of the source "composite". Default: DATA_DIR/composite/backgrounds."""

    save_every: int = 20
    """Steps between two checkpoints, a multiple of 10."""

    report_only: bool = False
    """Write the report of what is there so far, for instance while the study runs."""


def quickened(args, small: dict, argv):
    """The arguments with those sizes in `small` that `argv` does not give, if it gives --quick."""
    if not args.quick:
        return args
    options = (word for word in argv if word.startswith("--"))
    given = {option.partition("=")[0].lstrip("-").replace("-", "_") for option in options}
    own = {name: value for name, value in small.items() if name not in given}
    return dataclasses.replace(args, **own)


def check(args: Options) -> None:
    """Raises InputError for a number out of its range: names the option."""
    counts = ("seeds", "steps", "global_batch", "pool_samples", "held_out", "save_every")
    studies.check_counts(args, counts)
    for option in ("score_at", "save_every"):
        numbers = getattr(args, option)
        if any(n % 10 or n < 1 for n in (numbers if isinstance(numbers, tuple) else (numbers,))):
            name = option.replace("_", "-")
            raise InputError(f"--{name} {numbers}: expected multiples of 10, from 10 on")
    if any(step > args.steps for step in args.score_at):
        raise InputError(f"--score-at {args.score_at}: expected steps up to --steps {args.steps}")
    for option in ("pool_samples", "held_out"):
        value = getattr(args, option)
        if value % 16:
            nearest = max(round(value / 16), 1) * 16
            name = option.replace("_", "-")
            raise InputError(f"--{name} {value}: expected a multiple of 16; nearest: {nearest}")
    if args.pool_samples - args.held_out < args.global_batch or args.held_out < args.global_batch:
        raise InputError(
            f"--pool-samples {args.pool_samples}, --held-out {args.held_out}: both the samples to "
            f"train on and those held out must fill a batch of {args.global_batch}"
        )
