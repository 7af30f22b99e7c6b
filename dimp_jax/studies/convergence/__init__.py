"""How fast each solver fits the filter: loss, score quality, step lengths, curvature spectrum.

Every problem is the tracker's sample memory at some frame of a real sequence. Solvers start from
the filter that the initialiser predicts and from zero; score quality is that on later frames.
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy
from dimp_jax.studies import study as studies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """Loss and score quality against iterations, for each solver, on real frames."""

    problems: int = 4
    """Frames of each sequence at which the filter is fitted; the first one is its first frame."""

    iterations: int = 30
    """Iterations of each solver."""

    later: int = 8
    """Frames on which the scores are judged, among the `horizon` ones after those learned from."""

    horizon: int = 30
    """Frames."""

    momentum: tuple[float, ...] = (0.3, 0.6)
    """Shares of the last move that are tried."""

    lanczos_steps: int = 60
    """Products with the Gauss-Newton operator for each random start."""

    lanczos_starts: int = 4
    """Random starts for each spectrum."""


def run(args: Arguments, argv, console) -> None:
    """Runs the study, or what is missing of it; see `study`."""
    args = checked(quick(args) if args.quick else args)
    config = configs.changed(
        studies.config_of(args),
        {"tracker.memory.update": "memory"},  # others store nothing
    )
    found = accuracy.load_sequences(args.data, args.frames)
    study = studies.open_whole("convergence", args, config, argv)

    from dimp_jax.studies.convergence import report  # these import jax, which takes seconds
    from dimp_jax.studies.convergence.measure import measure

    report.write(study, measure(config, found, args, study, console), args)


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    names = ("problems", "iterations", "later", "horizon", "lanczos_steps", "lanczos_starts")
    studies.check_counts(args, names, "1 or more")
    for value in args.momentum:
        if not 0 <= value < 1:
            raise InputError(f"--momentum {value:g}: expected numbers from 0 to below 1")
    return args


def quick(args: Arguments) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    sizes = {"problems": 2, "iterations": 10, "later": 4, "frames": 40}
    return studies.smaller(args, **sizes, momentum=1, lanczos_steps=30, lanczos_starts=2)
