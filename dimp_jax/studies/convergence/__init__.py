"""How fast does each solver fit the filter, and what of it does the tracker need?

The inner optimisation as a subject of its own: loss, score quality and AUC against iterations and
operations, conditioning along a sequence, warm start against restart, rounded products. Every
problem is the tracker's sample memory after some frame of a real sequence; score quality is that on
later frames.
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.media.images import InputError
from dimp_jax.studies import accuracy
from dimp_jax.studies import study as studies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """Loss and score quality against iterations, for each solver, on real frames."""

    after: tuple[int, ...] = (0, 10, 50)
    """Frames after which the filter is fitted to the tracker's memory; 0 is the first one."""

    iterations: int = 20
    """Iterations of each solver."""

    later: int = 8
    """Frames on which the scores are judged, among the `horizon` ones after those learned from."""

    horizon: int = 30
    """Frames."""

    momentum: tuple[float, ...] = (0.5,)
    """Shares of the last move that are tried."""

    lanczos_steps: int = 60
    """Products with the Gauss-Newton operator for each random start."""

    lanczos_starts: int = 2
    """Random starts for each spectrum."""

    tracked: tuple[int, ...] = (2, 10)
    """Iterations on the first frame that every solver tracks with; none after it: no tracking."""


def run(args: Arguments, argv, console) -> None:
    """Runs the study, or what is missing of it; see `study`."""
    args = checked(quick(args) if args.quick else args)
    config = configs.changed(
        studies.config_of(args),
        {"tracker.memory.update": "memory"},  # others store nothing
    )
    found = accuracy.load_sequences(args.data, args.frames, args.quick)
    options = {k: v for k, v in dataclasses.asdict(args).items() if k not in ("out", "data")}
    made_from = {
        "config": configs.to_dict(config),
        "input": studies.inputs_of(args, config),
        "options": options,
    }
    study = studies.open_study("convergence", args, made_from, argv)

    # These import jax, which takes seconds.
    from dimp_jax.studies.convergence import measure, report, results, tracked
    from dimp_jax.studies.convergence.arms import own_objective_arms
    from dimp_jax.tracking import tracker as trackers

    tracker = trackers.build(config)
    measured = measure.measure(tracker, found, args, study, console)
    if not measured:
        raise InputError(f"no frame after {args.after} has ground truth on frames after it")
    solvers = study.unit("solvers")
    auc, chosen = {}, {}
    if args.tracked:
        predictor = tracker.config.model.predictor
        arms = own_objective_arms(predictor, args.momentum, solvers["fixed_steps"])
        arms = {arm.name: arm for arm in arms}
        best = results.best_arms({k: r["own"] for k, r in measured.items()}, "initialiser")
        best = {solver: arms[name] for solver, name in best.items() if solver != "Newton step"}
        configured = tracker.config.tracker.memory.init_iterations
        own = next(iter(arms.values()))
        chosen = tracked.variants(best, own, args.tracked, configured)
        auc = tracked.measure(tracker.config, found, chosen, args.seed, study, console)
    report.write(study, measured, solvers, auc, chosen, args)


def checked(args: Arguments) -> Arguments:
    """Raises InputError for numbers that cannot be."""
    names = ("iterations", "later", "horizon", "lanczos_steps", "lanczos_starts", "tracked")
    studies.check_counts(args, names, "1 or more")
    studies.check_counts(args, ("after",), "frames from 0 on", 0)
    if not args.after:
        raise InputError("--after: expected at least one frame")
    for value in args.momentum:
        if not 0 <= value < 1:
            raise InputError(f"--momentum {value:g}: expected numbers from 0 to below 1")
    return args


def quick(args: Arguments) -> Arguments:
    """Smaller sizes, unless still smaller ones are given."""
    sizes = {"after": 2, "iterations": 10, "later": 4, "frames": 30, "tracked": 0}
    return studies.smaller(args, **sizes, momentum=1, lanczos_steps=30, lanczos_starts=2)
