"""How good and how dear each way of differentiating through the solver is.

python -m dimp_jax.studies metagradient --out OUT --data DEV DEV_HARD --train --data-dir BUILT

Every problem is a training sample of a real sequence; the gradient is that of the training's
classification loss by what the solve depends on. The exact one passes through all iterations. With
--train each of them trains the same heads on the same batches, and the trackers are compared.
"""

import dataclasses
from typing import Literal

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy
from dimp_jax.studies import study as studies
from dimp_jax.studies.trainings import options, settings

OF_GRADIENTS = ("samples", "iterations", "truncate", "losses", "repeats", "seed", "quick")
QUICK = options.QUICK | {"frames": 40, "batches": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(options.Options):
    """Direction, size, time and memory of each adjoint's gradient against the unrolled one.

    With --train the trackers that they train, too. With --quick: procedural data, a small head, a
    few steps and frames.
    """

    samples: int = 4
    """Training samples of each sequence."""

    iterations: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    """Numbers of iterations of the solver."""

    truncate: tuple[int, ...] = (2, 5, 10, 25)
    """Lengths of truncation; each is tried where it divides the number of iterations."""

    losses: tuple[Literal["final", "whole"], ...] = ("final", "whole")
    """Of the last iterate alone, and of all iterates as the training weighs them."""

    repeats: int = 7
    """Timed runs, of which the median counts."""

    train: bool = False
    """Also train with each of them; needs the data sets of the config, or a pool of features."""

    steps: int = 640
    """Updates of each training; warm-up and decay of the config's rates shrink in proportion."""

    score_at: tuple[int, ...] = (40, 160, 320, 480)
    """Further steps after which bias, hits and held-out loss are measured, multiples of 10."""

    batches: int = 4
    """On which the bias is measured each time."""


def run(args: Arguments, argv, console) -> None:
    """Runs the study, or what is missing of it; see `study`."""
    args = checked(quick(args, argv) if args.quick else args)
    config = studies.config_of(args)
    found = accuracy.load_sequences(args.data, args.frames, args.quick)
    base = settings.base_config(args) if args.train else None
    made_from = {
        "config": configs.to_dict(config),
        "input": studies.inputs_of(args, config),
        "options": {name: getattr(args, name) for name in OF_GRADIENTS},
    }
    argv = [argument for argument in argv if argument != "--report-only"]
    study = studies.open_study("metagradient", args, made_from, argv)

    # These import jax, which takes seconds.
    from dimp_jax.studies.metagradient import measure, report, trained

    arms = {}

    def write():
        measured = measure.recorded(args, study)
        report.write(study, measured, config, args, arms, found)

    if args.train:
        arms = trained.arms_of(base, args.quick)
        settings.check_trainings(study, args, base, found)
        settings.check_same(study, {arm.name: config for arm, config in arms.items()})
        if not args.report_only:
            trained.train_and_score(study, args, arms, found, console, write)
    if not args.report_only:
        measure.measure(config, found, args, study, console)
    write()


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    options.check(args)
    studies.check_counts(args, ("samples", "repeats", "batches"), "1 or more")
    studies.check_counts(args, ("iterations", "truncate"), "numbers of 1 or more")
    for name in ("iterations", "losses"):
        if not getattr(args, name):
            raise InputError(f"--{name}: expected one or more")
    return args


def quick(args: Arguments, argv) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    args = options.quickened(args, QUICK, argv)
    few = tuple(n for n in args.iterations if n in (2, 10)) or args.iterations[:2]
    args = dataclasses.replace(args, iterations=few)
    return studies.smaller(args, samples=2, truncate=2, losses=1, repeats=3)
