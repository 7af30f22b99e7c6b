"""Evaluates a tracker with the VOT toolkit: accuracy, robustness, expected average overlap (EAO).

python -m dimp_jax.evaluation.vot WORKSPACE --config dimp50_vot18 --checkpoint CONVERTED
python -m dimp_jax.evaluation.vot NEW --sequences DIR --stack vot2018/shortterm --repetitions 1
"""

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.table import Table

from dimp_jax import config as configs
from dimp_jax.checkpoints import shipped
from dimp_jax.evaluation import inputs, results
from dimp_jax.evaluation.vot import analysis
from dimp_jax.evaluation.vot import toolkit as toolkits
from dimp_jax.evaluation.vot import workspace as workspaces
from dimp_jax.host import command_line, terminal
from dimp_jax.media.images import InputError

DEFAULT_STACK = "vot2018/shortterm"
DEFAULT_EXPERIMENTS = ("baseline",)
LOG_LINES = 12  # of a tracker that failed
NAME = re.compile(r"[A-Za-z0-9_-]+")  # what the toolkit takes as a tracker's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Evaluates a tracker with the VOT toolkit, which runs as a program of its own.

    A run that was stopped goes on when the same command is given again. Exit status: 0; 1 if the
    evaluation failed; 2 for input that cannot be used; 130 if stopped.
    """

    workspace: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="WORKSPACE")]
    """A workspace (config.yaml, as `vot initialize` makes it), used with its stack and sequences as
    they are; or the place of a new one, with --sequences."""

    config: str = "dimp_lite0"
    """A config file, or the name of one that ships with dimp_jax. The published VOT2018 numbers are
    those of dimp50_vot18 and dimp18_vot18."""

    checkpoint: str | None = None
    """Weights, instead of the config's."""

    seed: int | None = None
    """Instead of the config's. Every start of the tracker has a seed of its own, made from it."""

    name: str | None = None
    """Of the tracker in the workspace. Default: the config's."""

    sequences: Path | None = None
    """Makes WORKSPACE: from a folder of VOT's layout (list.txt), which stays where it is, or from
    sequences of img/ and groundtruth.txt, whose frames are linked."""

    stack: str | None = None
    """With --sequences: a stack of the toolkit, or a file. Default: vot2018/shortterm."""

    experiments: tuple[str, ...] | None = None
    """With --sequences: which of the stack's; "all" for every one. Default: baseline."""

    repetitions: int | None = None
    """With --sequences: of each supervised experiment, instead of the stack's (15)."""

    protocol: Literal["trax", "python"] = "trax"
    """python: that of vot-toolkit >= 0.9, which has no working supervised experiments."""

    toolkit_python: Path | None = None
    """Python interpreter of an environment with the toolkit. Default: an environment of its own in
    ~/.cache/dimp_jax/vot-toolkit, which is made when it is missing."""

    out: Path | None = None
    """JSON file of the numbers. Default: WORKSPACE/dimp_jax/<name>_summary.json."""


class Failed(Exception):
    """The evaluation began and did not end; the message says why."""


def evaluate(args: Arguments, console) -> dict:
    """Runs a parsed command, prints the table, and returns `analysis.summarize`'s summary.

    Raises:
      InputError, FileNotFoundError, ValueError: before anything was run.
      Failed: the tracker or the toolkit failed.
    """
    settings = _settings(args)
    name = args.name or Path(args.config).stem
    if NAME.fullmatch(name) is None:
        raise InputError(f"--name {name}: the toolkit takes letters, digits, - and _ only")
    if args.repetitions is not None and args.repetitions < 1:
        raise InputError(f"--repetitions {args.repetitions}: expected at least 1")
    making = {name: getattr(args, name) for name in ("stack", "experiments", "repetitions")}
    given = [f"--{name}" for name, value in making.items() if value is not None]
    if given and args.sequences is None:
        raise InputError(f"{given[0]}: goes with --sequences, which makes a new workspace")

    toolkit = toolkits.ensure(args.toolkit_python, args.protocol, console=console)
    if args.sequences is not None:
        workspaces.make(
            args.workspace,
            args.sequences,
            stack=args.stack or DEFAULT_STACK,
            repetitions=args.repetitions,
            experiments=args.experiments or DEFAULT_EXPERIMENTS,
            toolkit=toolkit,
        )
    workspace = workspaces.read(args.workspace, toolkit=toolkit)
    supervised = [experiment.name for experiment in workspace.experiments if experiment.supervised]
    if args.protocol == "python" and supervised:
        raise InputError(
            f"--protocol python: vot-toolkit {toolkit.version} cannot run {supervised[0]!r}, the "
            "supervised experiment of a tracker with one object: use --protocol trax, or "
            "--sequences with --experiments unsupervised"
        )
    workspaces.check(workspace)
    from dimp_jax.tracking import weights  # imports jax

    weights.load(settings)  # else they would be missed by the toolkit's tracker, in its log
    config = json.loads(json.dumps(configs.to_dict(settings)))
    del config["training"]
    described = inputs.describe(inputs.Source(), checkpoint=settings.checkpoint)
    weights = {key: value for key, value in described.items() if key.startswith("checkpoint")}
    workspaces.register(workspace, name, config=config, weights=weights, protocol=args.protocol)

    _run_toolkit(toolkit, workspace, name)
    path = workspace.folder / "analysis" / f"{name}.json"
    summary = analysis.summarize(workspace, name, analysis.read_analysis(path))
    summary["config"], summary["seed"] = args.config, settings.seed
    out = args.out or workspace.folder / workspaces.FOLDER / f"{name}_summary.json"
    try:
        results.write_atomically(out, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
    show(summary, console)
    terminal.print_line(console, f"numbers in {out}")
    return summary


def show(summary, console):
    """Prints the table of a summary, and what is to be known to read it."""
    table = Table(title=f"{summary['tracker']}: {summary['title']}")
    for heading in ("experiment", "accuracy", "failures", "per 100 frames", "robustness", "EAO"):
        table.add_column(heading, justify="left" if heading == "experiment" else "right")
    keys = ("accuracy", "failures", "failures_per_100_frames", "robustness_vot2018", "eao")
    formats = ("{:.3f}", "{:.2f}", "{:.3f}", "{:.3f}", "{:.3f}")
    for name, values in summary["experiments"].items():
        cells = (
            "-" if values.get(key) is None else form.format(values[key])
            for key, form in zip(keys, formats, strict=True)
        )
        table.add_row(f"{name} x {values['repetitions']}", *cells)
    console.print(table)
    for line in notes(summary):
        terminal.print_line(console, line)


def notes(summary) -> list[str]:
    """What the numbers mean, and what they cannot be compared with."""
    lines = [f"sequences: {summary['sequences']}, frames: {summary['frames']}"]
    found = summary["experiments"].items()
    lines += list(dict.fromkeys(values["rule"] for _, values in found if "rule" in values))
    for name, values in found:
        if values.get("failures_std") is not None:
            lines.append(f"{name}: standard deviation of the failures {values['failures_std']:.2f}")
        last, interval = values.get("eao_last"), values.get("eao_interval")
        if interval is None or last is None:
            continue
        if values["eao"] is None:
            lines.append(
                f"{name}: no EAO: no run between two starts reached {interval[0]} frames, only "
                f"{last + 1}"
            )
        elif last < interval[1]:
            lines.append(
                f"{name}: no run was longer than {last + 1} frames: this EAO is a mean over "
                f"{interval[0]} to {last}"
            )
    if any("failures" in values for _, values in found):
        lines.append(
            "failures are those of all sequences, a mean over the repetitions; robustness is their "
            f"number / {analysis.VOT2018_DIVISOR}, as papers give it for VOT2018 (about the "
            "failures in 100 of its frames), and so for its 60 sequences only"
        )
        published = ", ".join(f"{eao:.3f} {name}" for name, eao in analysis.PUBLISHED.items())
        lines.append(
            f"published EAO: {published}: VOT2018, 60 sequences, 15 repetitions; nothing else "
            "compares with it"
        )
    return lines


def _settings(args) -> configs.Config:
    """The config with what the command line changes; paths are absolute, as the toolkit starts the
    tracker in another folder."""
    settings = configs.load(args.config)
    checkpoint = args.checkpoint or settings.checkpoint
    if checkpoint is not None and not shipped.is_shipped(checkpoint):
        checkpoint = str(Path(checkpoint).expanduser().resolve())
        if not Path(checkpoint).exists():
            raise InputError(f"--checkpoint {checkpoint}: no such file or folder")
    seed = settings.seed if args.seed is None else args.seed
    return dataclasses.replace(settings, checkpoint=checkpoint, seed=seed)


def _run_toolkit(toolkit, workspace, name):
    """Evaluates and analyses; the toolkit's exit status tells little, its files tell more."""
    folder = workspace.folder
    logs = lambda: set((folder / "logs").glob(f"{name}_*.log"))
    before = logs()
    status, said = toolkit.run("evaluate", "--workspace", ".", name, folder=folder)
    failed = sorted(logs() - before)
    if failed:
        lines = failed[-1].read_text(encoding="utf-8", errors="replace").strip().splitlines()
        shown = "\n".join(lines[-LOG_LINES:])
        raise Failed(f"the tracker failed; the end of {failed[-1]}:\n{shown}")
    if status != 0 or "Evaluation interrupted" in said:
        raise Failed(f"the toolkit stopped: {_last_message(said)}")
    written = folder / "analysis" / f"{name}.json"
    written.unlink(missing_ok=True)
    arguments = ("--workspace", ".", "--format", "json", "--name", name, name)
    status, said = toolkit.run("analysis", *arguments, folder=folder)
    if status != 0 or not written.is_file():
        raise Failed(f"the toolkit's analysis failed: {_last_message(said)}")


def _last_message(said):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\r", "\n")
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


@command_line.command("vot", ValueError, OSError, stopped="the same command goes on where it was")
def main(argv=None, prog="python -m dimp_jax.evaluation.vot") -> int:
    args = tyro.cli(Arguments, args=argv, prog=prog)
    try:
        evaluate(args, terminal.console())
    except Failed as error:
        print(f"vot: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
