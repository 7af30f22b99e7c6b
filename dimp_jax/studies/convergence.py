"""How fast each solver fits the filter: loss, score quality, step lengths, curvature spectrum.

Every problem is the tracker's sample memory at some frame of a real sequence. Solvers start from
the filter that the initialiser predicts and from zero; score quality is that on later frames.
"""

import dataclasses
from typing import NamedTuple

from dimp_jax import config as configs
from dimp_jax.evaluation.images import InputError
from dimp_jax.predictor_config import PredictorConfig
from dimp_jax.studies import accuracy, study

# Fixed steps of gradient descent that are tried, by the inverse of the largest curvature of the
# first problem: on a quadratic objective twice that inverse is where it begins to diverge.
STEP_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
KL_DAMPING = 0.05  # as configs/prdimp18.py has it, from the published one
REFERENCE_ITERATIONS = 200  # of conjugate gradients, for the loss that counts as the least


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


class Arm(NamedTuple):
    """One solver as it is shown."""

    name: str
    predictor: PredictorConfig
    step_length: float | None = None  # None: as the checkpoint learned it


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

    from dimp_jax.studies import convergence_report  # these import jax, which takes seconds
    from dimp_jax.studies.convergence_measure import measure

    measured = measure(config, found, args, opened, console)
    convergence_report.write(opened, measured, args)


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


def own_objective_arms(own: PredictorConfig, momentum, step_lengths) -> list[Arm]:
    """The solvers on the objective of a config.

    The step length of the checkpoint multiplies the Gauss-Newton step; conjugate directions ask for
    the exact one. Gradient descent has no such step, so it gets `step_lengths`.
    """
    arms = [
        Arm("steepest descent", solver_of(own, "steepest_descent")),
        Arm("steepest descent, exact step", solver_of(own, "steepest_descent"), 1.0),
        Arm("conjugate gradient", solver_of(own, "conjugate_gradient"), 1.0),
        Arm("Newton step", solver_of(own, "newton")),
    ]
    for share in momentum:
        predictor = solver_of(own, "momentum", (("momentum", share),))
        arms.append(Arm(f"momentum {share:g}", predictor))
    descent = solver_of(own, "gradient_descent")
    arms += [Arm(f"gradient descent {s:.3g}", descent, s) for s in step_lengths]
    if ":" in own.solver:
        arms.insert(0, Arm(own.solver, own))
    return arms


def kl_arms(own: PredictorConfig) -> list[Arm]:
    """Solvers on the Kullback-Leibler objective, for a config that has another one.

    The curvature is small where the softmax is flat, so that whole steps are too long; `KL_DAMPING`
    shortens them.
    """
    kl = dataclasses.replace(own, objective="kl", objective_parameters=())
    damped = dataclasses.replace(kl, alpha_eps=KL_DAMPING)
    damping = f"damping {KL_DAMPING:g}"
    return [
        Arm(f"Newton step, {damping}", solver_of(damped, "newton"), 1.0),
        Arm(f"steepest descent, {damping}", solver_of(damped, "steepest_descent"), 1.0),
        Arm(f"conjugate gradient, {damping}", solver_of(damped, "conjugate_gradient"), 1.0),
        Arm("Newton step, no damping", solver_of(kl, "newton"), 1.0),
    ]


def solver_of(own: PredictorConfig, solver: str, parameters=()) -> PredictorConfig:
    """`own` with another solver; nothing passes back. The step length can be set from outside."""
    if solver == own.solver and not parameters:
        parameters = own.solver_parameters
    learned = own.learned
    if learned.log_step_length == "initial":
        learned = dataclasses.replace(learned, log_step_length="shared")
    return dataclasses.replace(
        own, solver=solver, solver_parameters=parameters, adjoint="unrolled", learned=learned
    )
