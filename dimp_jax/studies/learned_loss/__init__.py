"""What the loss has learned.

python -m dimp_jax.studies learned_loss --out DIR --data SEQUENCES
python -m dimp_jax.studies learned_loss --out DIR --checkpoints WORKDIR OTHER.safetensors
"""

import dataclasses

from dimp_jax import config as configs
from dimp_jax.studies import accuracy
from dimp_jax.studies import study as studies

SEEDS = 3
QUICK_FRAMES = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """What the loss has learned, and what of it tracking needs.

    Label, mask and weight as functions of the distance to the target, next to their initial values,
    for the tracker's weights and any further checkpoints; then each is set back to its initial
    value and the tracker runs again.
    """

    checkpoints: tuple[str, ...] = ()
    """Further checkpoints to show: names of shipped weights, .safetensors files, converted ones,
    the WORKDIR of a training (each of its steps on disk is a curve), WORKDIR/checkpoints/STEP."""

    sensitivity: bool = True
    """Track with each part set back to its initial value."""

    parts: tuple[str, ...] = ()
    """Set back only these: label, mask, weight, filter_reg, log_step_length, and the config's own
    solver_parameters and objective_parameters. Default: all there are, each alone and then
    together."""

    seeds: int | None = None
    """Runs of each sequence; run r uses seed + r. Default: 3; with --quick, 1."""


def run(args: Arguments, argv, console) -> None:
    """Writes the study; see `studies.Common.out`.

    Raises:
      InputError, FileNotFoundError, ValueError: input that cannot be used.
    """
    studies.check_counts(args, ("seeds",))
    config = studies.config_of(args)
    if args.quick and args.frames is None:
        args = dataclasses.replace(args, frames=QUICK_FRAMES)
    sequences = []
    if args.sensitivity:
        sequences = accuracy.load_sequences(args.data, args.frames, args.quick)

    from dimp_jax.studies.learned_loss import functions, report  # jax, from here on

    own = functions.of_tracker(config)
    runs = {where: functions.read(where) for where in args.checkpoints}
    # Functions and seeds may be added to a study: only what a finished unit depends on counts.
    made_from = {
        "model": configs.to_dict(config.model),
        "tracker": configs.to_dict(config.tracker),
        "input": studies.inputs_of(args, config),
        "seed": args.seed,
    }
    parts = report.parts_to_set_back(args.parts, own) if args.sensitivity else []
    study = studies.open_study("learned_loss", args, made_from, argv)
    said, sections = [report.learned(own)], report.functions_of(study, own, runs, config)
    if args.sensitivity:
        count = args.seeds or (1 if args.quick else SEEDS)
        seeds = range(args.seed, args.seed + count)
        needed, more = report.sensitivity_of(study, config, parts, sequences, seeds, console)
        said, sections = [*said, needed], [*more, *sections]
    study.report(f"What the loss of {own.name} has learned", [*said, *sections])
