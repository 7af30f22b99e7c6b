"""python -m dimp_jax.studies NAME --out DIR ...; `NAME --help` shows a study's options."""

import difflib
import importlib
import sys

import tyro

from dimp_jax.media.images import InputError

# Each is a folder here with `Arguments`, `run(args, argv, console)` and, where the defaults of its
# options come from a config, `parse(argv, prog)`.
NAMES = ("convergence", "metagradient", "learned_loss", "ablation", "online", "refinement")
INTERRUPTED = 130


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
    parse = lambda argv, prog: tyro.cli(study.Arguments, args=argv, prog=prog)
    parse = getattr(study, "parse", parse)
    try:
        args = parse(rest, f"{prog} {name}")
    except (FileNotFoundError, ValueError) as error:
        return _fail(error)
    # After the options are checked: these take seconds.
    from rich.console import Console

    from dimp_jax.host import compilation

    compilation.enable_cache()
    console = Console(stderr=True)
    try:
        study.run(args, argv, console)
    except (InputError, FileNotFoundError, ValueError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on in {args.out}", file=sys.stderr)
        return INTERRUPTED
    console.print(f"{args.out / 'report.md'}")
    return 0


def _fail(error) -> int:
    print(f"studies: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
