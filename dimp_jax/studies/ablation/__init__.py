"""The paper's ablations as configs, trained together from one frozen backbone and compared.

python -m dimp_jax.studies ablation --out OUT --data DEV DEV_HARD --data-dir BUILT

All arms share backbone and box network, and those of a seed see the same batches, features of one
pool; heads of the classifier, filter initialiser and learned loss are trained from fresh numbers,
all arms and seeds together.
"""

import dataclasses

from dimp_jax.studies import study as studies
from dimp_jax.studies.trainings import options

QUICK = options.QUICK | {"repeats": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(options.Options):
    """The paper's ablations, trained together from one frozen backbone and compared.

    The files of configs/ablations say what each arm changes of dimp_lite0; the same is changed of
    --config. Data are those of its training. With --quick: procedural data, a small head, a few
    steps and frames.
    """

    arms: tuple[str, ...] = ()
    """Names in configs/ablations, or further configs, of which model, tracker and training.loss are
    compared. Default: all of configs/ablations. The base is always there."""

    score_at: tuple[int, ...] = (640, 1280)
    """Further steps after which the arms are scored, multiples of 10."""

    repeats: int = 0
    """Steps that are timed for the table of costs; 0 for none."""


def run(args: Arguments, argv, console) -> None:
    """Trains, tracks, and writes the study; see `studies.Common.out`.

    Raises:
      InputError, FileNotFoundError, ValueError: input that cannot be used; finished work stays.
    """
    given = args
    args = options.quickened(args, QUICK, argv)
    options.check(args)
    studies.check_counts(args, ("repeats",), "at least 0", least=0)

    from dimp_jax.studies.ablation import arms as table_of_arms
    from dimp_jax.studies.trainings import settings

    names = table_of_arms.QUICK if args.quick and not args.arms else args.arms
    arms = table_of_arms.select(names, studies.config_of(args).model.predictor.solver)
    base = settings.base_config(args)
    configs = {arm.name: table_of_arms.config_of(arm, base) for arm in arms}
    settings.check_arms(arms, configs)

    from dimp_jax.studies import accuracy

    sequences = accuracy.load_sequences(args.data, args.frames, args.quick)

    from dimp_jax.studies.ablation import report, whole  # jax, from here on
    from dimp_jax.studies.trainings import run as trainings

    if not args.report_only:
        trainings.check(configs)
    made_from = settings.made_from(args, base, sequences)
    argv = [argument for argument in argv if argument != "--report-only"]
    study = studies.open_study("ablation", given, made_from, argv)
    settings.check_same(study, configs)
    if not args.report_only:
        whole.train_and_score(study, args, arms, configs, sequences, console)
    report.write(study, args, arms, configs, sequences)
