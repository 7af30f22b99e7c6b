"""The paper's ablations as configs, trained together from one frozen backbone and compared.

python -m dimp_jax.studies ablation --out OUT --data DEV DEV_HARD --data-dir BUILT

All arms share backbone and box network, and those of a seed see the same batches, features of one
pool; heads of the classifier, filter initialiser and learned loss are trained from fresh numbers,
all arms and seeds together.
"""

import dataclasses
from pathlib import Path

from dimp_jax.media.images import InputError
from dimp_jax.studies import study as studies

QUICK = {
    "arms": None,
    "seeds": 1,
    "steps": 40,
    "score_at": (),
    "global_batch": 4,
    "samples": 48,
    "held_out": 16,
    "frames": 30,
    "repeats": 1,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """The paper's ablations, trained together from one frozen backbone and compared.

    The files of configs/ablations say what each arm changes of dimp_lite0; the same is changed of
    --config. Data are those of its training. With --quick: procedural data, a small head, a few
    steps and frames.
    """

    config: str = "ablations/all_data"
    """A config file, or the name of one that ships with dimp_jax."""

    data: tuple[Path, ...] = ()
    """Folders of sequences to score on. Default: the demo clip."""

    arms: tuple[str, ...] = ()
    """Names in configs/ablations, or further configs. Default: all. The base is always there."""

    seeds: int = 3
    """Of the heads' first values, the batches and the tracker, from --seed on."""

    steps: int = 1900
    """Updates of each arm; warm-up and decay of the config's rates shrink in proportion."""

    score_at: tuple[int, ...] = (640, 1280)
    """Further steps after which the arms are scored, multiples of 10."""

    global_batch: int = 16
    """Sequences a step."""

    samples: int = 7856
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

    repeats: int = 0
    """Steps that are timed for the table of costs; 0 for none."""

    report_only: bool = False
    """Write the report of what is there so far, for instance while the study runs."""


def run(args: Arguments, argv, console) -> None:
    """Trains, tracks, and writes the study; see `studies.Common.out`.

    Raises:
      InputError, FileNotFoundError, ValueError: input that cannot be used; finished work stays.
    """
    given = args
    args = quickened(args)
    check(args)

    from dimp_jax.studies.ablation import arms as table_of_arms
    from dimp_jax.studies.ablation import settings

    names = table_of_arms.QUICK if args.quick and not args.arms else args.arms
    arms = table_of_arms.select(names)
    base = settings.base_config(args)
    configs = {arm.name: table_of_arms.config_of(arm, base) for arm in arms}
    settings.check_arms(arms, configs)

    from dimp_jax.studies import accuracy

    folders = args.data or (None,)
    sequences = [s for data in folders for s in accuracy.load_sequences(data, args.frames)]
    if args.quick:
        sequences = sequences[:1]

    from dimp_jax.studies.ablation import report, whole  # jax, from here on

    made_from = settings.made_from(args, base, sequences)
    argv = [argument for argument in argv if argument != "--report-only"]
    study = studies.open_study("ablation", given, made_from, argv)
    settings.check_same(study, configs)
    if not args.report_only:
        whole.train_and_score(study, args, arms, configs, sequences, console)
    report.write(study, args, arms, configs, sequences)


def quickened(args: Arguments) -> Arguments:
    """The arguments with the sizes of --quick, if it was given and they were not."""
    if not args.quick:
        return args
    defaults = {field.name: field.default for field in dataclasses.fields(Arguments)}
    small = {name: v for name, v in QUICK.items() if getattr(args, name) == defaults[name]}
    return dataclasses.replace(args, **(small | {"arms": args.arms}))


def check(args: Arguments) -> None:
    """Raises InputError for a number out of its range: names the option."""
    counts = ("seeds", "steps", "global_batch", "samples", "held_out", "save_every")
    studies.check_counts(args, counts)
    studies.check_counts(args, ("repeats",), "at least 0", least=0)
    for option in ("score_at", "save_every"):
        numbers = getattr(args, option)
        if any(n % 10 or n < 1 for n in (numbers if isinstance(numbers, tuple) else (numbers,))):
            name = option.replace("_", "-")
            raise InputError(f"--{name} {numbers}: expected multiples of 10, from 10 on")
    if any(step > args.steps for step in args.score_at):
        raise InputError(f"--score-at {args.score_at}: expected steps up to --steps {args.steps}")
    for option in ("samples", "held_out"):
        value = getattr(args, option)
        if value % 16:
            nearest = max(round(value / 16), 1) * 16
            name = option.replace("_", "-")
            raise InputError(f"--{name} {value}: expected a multiple of 16; nearest: {nearest}")
    if args.samples - args.held_out < args.global_batch or args.held_out < args.global_batch:
        raise InputError(
            f"--samples {args.samples}, --held-out {args.held_out}: both the samples to train on "
            f"and those held out must fill a batch of {args.global_batch}"
        )
