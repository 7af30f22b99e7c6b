"""How good and how dear each way of differentiating through the solver is.

Every problem is a training sample of a real sequence; the gradient is that of the training's
classification loss by what the solve depends on. The exact one passes through all iterations.
"""

import dataclasses
from typing import Literal

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy, study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(study.Common):
    """Direction, size, time and memory of each adjoint's gradient against the unrolled one."""

    frames: int | None = None
    """Only the first frames of each sequence."""

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


def run(args: Arguments, argv, console) -> None:
    """Runs the study, or what is missing of it; see `study`."""
    args = checked(quick(args) if args.quick else args)
    config = study.config_of(args)
    found = accuracy.load_sequences(args.data, args.frames)
    made_from = {
        "config": configs.to_dict(config),
        "input": study.input_of(args, config, args.frames),
        "options": study.options_of(args),
    }
    opened = study.open_study("metagradient", args, made_from, argv)

    from dimp_jax.studies.metagradient import report  # these import jax, which takes seconds
    from dimp_jax.studies.metagradient.measure import measure

    measured = measure(config, found, args, opened, console)
    report.write(opened, measured, args, config)


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    for name in ("samples", "repeats"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected 1 or more")
    for name in ("iterations", "truncate"):
        for value in getattr(args, name):
            if value < 1:
                raise InputError(f"--{name} {value}: expected numbers of 1 or more")
    for name in ("iterations", "losses"):
        if not getattr(args, name):
            raise InputError(f"--{name}: expected one or more")
    return args


def quick(args: Arguments) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    few = tuple(n for n in args.iterations if n in (2, 10)) or args.iterations[:2]
    return dataclasses.replace(
        args,
        samples=min(args.samples, 2),
        iterations=few,
        truncate=args.truncate[:2],
        losses=args.losses[:1],
        repeats=min(args.repeats, 3),
        frames=40 if args.frames is None else min(args.frames, 40),
    )
