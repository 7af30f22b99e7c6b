"""python -m dimp_jax.studies NAME --out DIR ...; `NAME --help` shows a study's options."""

import difflib
import functools
import importlib
import sys

import tyro

from dimp_jax.host import command_line, compilation, terminal

# Each is a folder here with `Arguments`, `run(args, argv, console)` and, where the defaults of its
# options come from a config, `parse(argv, prog)`.
NAMES = ("convergence", "metagradient", "learned_loss", "ablation", "online", "refinement")


@command_line.command(
    "studies", ValueError, OSError, stopped="the same command goes on with what is missing"
)
def main(argv=None, prog="python -m dimp_jax.studies") -> int:
    """Exit status: 0 done, 1 it cannot go on, 2 wrong input, 130 stopped (goes on next time)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        usage = f"usage: {prog} {{{','.join(NAMES)}}} --out DIR [options]"
        print(usage, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    name, rest = argv[0], argv[1:]
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1) or NAMES
        print(f"studies: no study {name!r}; did you mean: {', '.join(near)}?", file=sys.stderr)
        return 2
    study = importlib.import_module(f"dimp_jax.studies.{name}")
    parse = getattr(study, "parse", None) or functools.partial(_parse, study.Arguments)
    args = parse(rest, f"{prog} {name}")
    compilation.enable_cache()  # after the options are checked: jax takes seconds
    console = terminal.console(stderr=True)
    study.run(args, argv, console)
    terminal.print_line(console, f"{args.out / 'report.md'}")
    return 0


def _parse(arguments, argv, prog):
    return tyro.cli(arguments, args=argv, prog=prog)


if __name__ == "__main__":
    raise SystemExit(main())
