"""Accuracy against speed of the online parameters: variants of the tracker around its default.

python -m dimp_jax.studies online --out OUT --data DIR
python -m dimp_jax.studies online --out OUT --data DIR --add "crop_size_px=256,memory.size=30"
"""

import dataclasses
from pathlib import Path

from dimp_jax import config as configs
from dimp_jax.host import terminal
from dimp_jax.host.machine import busy_notice, machine
from dimp_jax.studies import accuracy, answers, difference_figure
from dimp_jax.studies import study as studies
from dimp_jax.studies.online import figures, measure, results, variants

QUICK_FRAMES = 45  # a few regular updates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(studies.Common):
    """Accuracy against speed of the online parameters, one variant after the other.

    By default: iterations of an update, frames between updates, slots of the memory, iterations on
    the first frame, each on its own, and the ways to update. With --quick four variants, one seed,
    one round and 45 frames of one sequence.
    """

    only: tuple[str, ...] | None = None
    """Names of listed variants; none after it: only those of --add and --variants."""

    add: tuple[str, ...] = ()
    """More variants: "refine.iterations=3,crop_size_px=256"."""

    variants: Path | None = None
    """A file of more variants, one a line: `refine.iterations=3` or `name: refine.iterations=3`."""

    seeds: int = 3
    """Number of tracker seeds, from --seed on."""

    rounds: int = 5
    """Times that default and variant are timed in turns; the ratio is the median."""


def run(args: Arguments, argv, console) -> None:
    """Checks the input, measures what is missing, and writes tables, plots and the report.

    Raises:
      InputError: input that cannot be used; finished units stay.
    """
    args = quickened(args)
    studies.check_counts(args, ("seeds", "rounds"))
    config = studies.config_of(args)
    chosen = variants.choose(config.tracker, only=args.only, add=args.add, file=args.variants)
    found = accuracy.load_sequences(args.data, args.frames, args.quick)
    whole = configs.to_dict(config)
    del whole["training"], whole["seed"]
    # All that the figures depend on but the variant and the tracker's seed.
    made_from = {"config": whole, "inputs": studies.inputs_of(args, config)}
    made_from |= {"rounds": args.rounds, "quick": args.quick}
    study = studies.open_study("online", args, made_from, argv)
    busy = busy_notice(machine())
    if busy:
        terminal.print_line(console, busy)
    measure.measure(
        study,
        config,
        chosen,
        found,
        seeds=range(args.seed, args.seed + args.seeds),
        rounds=args.rounds,
        busy=busy,
        console=console,
    )
    data = " and ".join(data.resolve().name for data in args.data) or "the demo clip"
    report(study, results.collect(study), f"{Path(args.config).stem} on {data}")


def quickened(args: Arguments) -> Arguments:
    """The arguments with the sizes of --quick, if it was given."""
    if not args.quick:
        return args
    return dataclasses.replace(
        args,
        seeds=1,
        rounds=1,
        frames=QUICK_FRAMES if args.frames is None else args.frames,
        only=variants.QUICK if args.only is None else args.only,
    )


def report(study: studies.Study, records, title: str) -> None:
    """Writes online.csv, sequences.csv, the figures and report.md."""
    rows, apart = results.rows(records), results.compared(records)
    study.table("online", rows)
    study.table("sequences", results.sequence_rows(records))
    figures.trade_off(study.folder / "online.png", records, f"{title}: AUC against speed")
    default, *others = apart
    of_default = apart[default]
    seeds = answers.counted(len(of_default.of_seeds), "seed")
    drawn = answers.drawn(max(len(of.of_seeds) for of in apart.values()))
    sections = [
        f"**What does an online parameter give?** AUC {of_default.mean:.3f} by default, {seeds}.",
    ]
    if others:
        less = {"AUC less the default's": {name: apart[name] for name in others}}
        of_paper = results.published(records)
        difference_figure.draw(study.folder / "differences.png", less, of_paper)
        sections[0] = "\n".join([*sections, *answers.lines(apart), _fastest(rows)])
        sections += ["![AUC less the default's](differences.png)"]
        sections += [results.PUBLISHED_TEXT] if of_paper else []
    sections += [studies.markdown_table([_shown(row, apart) for row in rows])]
    sections += [results.SUMMARY.format(drawn=drawn), results.noise(records)]
    sections += ["## AUC against speed", figures.TRADE_OFF, "![AUC against speed](online.png)"]
    if figures.parameters(study.folder / "parameters.png", records, title):
        image = "![AUC and time of each parameter](parameters.png)"
        sections += ["## One parameter at a time", figures.PARAMETERS, image]
    study.report(f"Online parameters: {title}", sections)


def _fastest(rows) -> str:
    fastest = max(rows, key=lambda row: row["ratio"])
    return f"* Fastest: `{fastest['variant']}`, {fastest['ratio']:.2f} x the default's frames/s."


def _shown(row, apart) -> dict:
    """A row with its interval as text."""
    of = apart[row["variant"]].difference
    hidden = {name: value for name, value in row.items() if name not in ("low", "high")}
    return hidden | {"difference": answers.interval(of)}
