"""python -m dimp_jax.studies NAME --out DIR ...; `NAME --help` shows a study's options.

`--list [FOLDER]`: the question of each study, and what a run in FOLDER/NAME cost and came to.
"""

import difflib
import functools
import importlib
import sys
from pathlib import Path

import tyro

from dimp_jax.host import command_line, compilation, terminal
from dimp_jax.media.images import InputError
from dimp_jax.studies import study as studies

# Each is a folder here with `Arguments`, `run(args, argv, console)` and, where the defaults of its
# options come from a config, `parse(argv, prog)`.
NAMES = {
    "convergence": "How fast does each solver fit the filter, and what of it does tracking notice?",
    "metagradient": "Which gradient through the solve can be trusted, and does a biased one train "
    "a worse tracker?",
    "learned_loss": "What did the loss learn, and does tracking need it?",
    "ablation": "Do the paper's ablations hold here, trained anew?",
    "online": "What accuracy and what speed do the online parameters give?",
    "refinement": "How well does the IoU network find a box, measured alone?",
}
RUNS = Path("docs/studies")  # of the project
HELP = ("-h", "--help")


@command_line.command(
    "studies", ValueError, OSError, stopped="the same command goes on with what is missing"
)
def main(argv=None, prog="python -m dimp_jax.studies") -> int:
    """Exit status: 0 done, 1 it cannot go on, 2 wrong input, 130 stopped (goes on next time)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in HELP or (argv[0] == "--list" and argv[-1] in HELP):
        usage = f"usage: {prog} {{{','.join(NAMES)}}} --out DIR [options], or --list [FOLDER]"
        print(usage, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    name, rest = argv[0], argv[1:]
    if name == "--list":
        print(listing(_only_folder(rest)))
        return 0
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1) or NAMES
        print(f"studies: no study {name!r}; did you mean: {', '.join(near)}?", file=sys.stderr)
        return 2
    module = importlib.import_module(f"dimp_jax.studies.{name}")
    parse = getattr(module, "parse", None) or functools.partial(_parse, module.Arguments)
    args = parse(rest, f"{prog} {name}")
    compilation.enable_cache()  # after the options are checked: jax takes seconds
    console = terminal.console(stderr=True)
    module.run(args, argv, console)
    terminal.print_line(console, f"{args.out / 'report.md'}")
    return 0


def listing(folder: Path) -> str:
    """Question, state, cost and answer of each study, whose runs are in FOLDER/NAME."""
    lines = []
    for name, question in NAMES.items():
        cost, state = studies.state_of(folder / name)
        lines += [f"{name}: {question}", f"  {folder / name}: {state}; cost: {cost}"]
        if answer := studies.answer_of(folder / name):
            lines.append(f"  {answer}")
    return "\n".join(lines)


def _only_folder(given) -> Path:
    """That of --list."""
    if len(given) > 1:
        raise InputError(f"--list {' '.join(given)}: expected one folder, that of all studies")
    folder = Path(given[0]) if given else RUNS
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected that of all studies: --list FOLDER")
    return folder


def _parse(arguments, argv, prog):
    return tyro.cli(arguments, args=argv, prog=prog)


if __name__ == "__main__":
    raise SystemExit(main())
