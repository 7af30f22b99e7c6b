"""How good and how dear each way of differentiating through the solver is.

Every problem is a training sample of a real sequence; the gradient is that of the training's
classification loss by what the solve depends on. The exact one passes through all iterations.
"""

import dataclasses
from typing import Literal

from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy
from dimp_jax.studies import study as studies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """Direction, size, time and memory of each adjoint's gradient against the unrolled one."""

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
    config = studies.config_of(args)
    found = accuracy.load_sequences(args.data, args.frames)
    study = studies.open_whole("metagradient", args, config, argv)

    from dimp_jax.studies.metagradient import report  # these import jax, which takes seconds
    from dimp_jax.studies.metagradient.measure import measure

    report.write(study, measure(config, found, args, study, console), config)


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    studies.check_counts(args, ("samples", "repeats"), "1 or more")
    studies.check_counts(args, ("iterations", "truncate"), "numbers of 1 or more")
    for name in ("iterations", "losses"):
        if not getattr(args, name):
            raise InputError(f"--{name}: expected one or more")
    return args


def quick(args: Arguments) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    few = tuple(n for n in args.iterations if n in (2, 10)) or args.iterations[:2]
    args = dataclasses.replace(args, iterations=few)
    return studies.smaller(args, samples=2, truncate=2, losses=1, repeats=3, frames=40)
