"""How fast each solver fits the filter: loss, score quality, step lengths, curvature spectrum.

Every problem is the tracker's sample memory at some frame of a real sequence. Solvers start from
the filter that the initialiser predicts and from zero; score quality is that on later frames.
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy, study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(study.Common):
    """Loss and score quality against iterations, for each solver, on real frames."""

    frames: int | None = None
    """Only the first frames of each sequence."""

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
    config = study.config_of(args)
    memory = dataclasses.replace(config.tracker.memory, update="memory")  # others store nothing
    config = dataclasses.replace(config, tracker=dataclasses.replace(config.tracker, memory=memory))
    found = accuracy.load_sequences(args.data, args.frames)
    made_from = {
        "config": configs.to_dict(config),
        "input": study.input_of(args, config, args.frames),
        "options": study.options_of(args),
    }
    opened = study.open_study("convergence", args, made_from, argv)

    from dimp_jax.studies.convergence import report  # these import jax, which takes seconds
    from dimp_jax.studies.convergence.measure import measure

    measured = measure(config, found, args, opened, console)
    report.write(opened, measured, args)


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    names = ("problems", "iterations", "later", "horizon", "lanczos_steps", "lanczos_starts")
    for name in names:
        if getattr(args, name) < 1:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} {getattr(args, name)}: expected 1 or more")
    for value in args.momentum:
        if not 0 <= value < 1:
            raise InputError(f"--momentum {value:g}: expected numbers from 0 to below 1")
    return args


def quick(args: Arguments) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    return dataclasses.replace(
        args,
        problems=min(args.problems, 2),
        iterations=min(args.iterations, 10),
        later=min(args.later, 4),
        momentum=args.momentum[:1],
        lanczos_steps=min(args.lanczos_steps, 30),
        lanczos_starts=min(args.lanczos_starts, 2),
        frames=40 if args.frames is None else min(args.frames, 40),
    )
