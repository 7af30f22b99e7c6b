"""All commands as one: `dimp-jax COMMAND ...`, which is also `python -m dimp_jax COMMAND ...`.

`dimp-jax --help` lists them; `dimp-jax COMMAND --help` shows the options of one.
"""

import atexit
import difflib
import importlib
import os
import sys

import dimp_jax

PROG = "dimp-jax"
INTERRUPTED = 130
STUDIES = "dimp_jax.studies.__main__"
# Name: the module whose `main(argv, prog)` it is, imported when it is chosen; a line for --help.
COMMANDS = {
    "evaluate": ("dimp_jax.evaluation.command", "track in a video or in sequences, and score it"),
    "demo": ("dimp_jax.web.__main__", "track in the browser: a page on this machine"),
    "train": ("dimp_jax.training.command", "meta-train a tracker, or go on with a training"),
    "convert": ("dimp_jax.convert", "convert weights: torch, checkpoint directories, .safetensors"),
    "build": ("dimp_jax.data.build.__main__", "build a data set for training"),
    "check": ("dimp_jax.data.check", "check sequences, an image folder or built data sets"),
    "report": ("dimp_jax.evaluation.report.__main__", "compare results on one HTML page"),
    "submission": ("dimp_jax.evaluation.submission", "pack results for a benchmark's server"),
    "import": ("dimp_jax.evaluation.imported", "read another tracker's results, to compare them"),
    "vot": ("dimp_jax.evaluation.vot.__main__", "evaluate with the VOT toolkit"),
    "export": ("dimp_jax.export.__main__", "write a tracker as StableHLO programs"),
    "studies": (STUDIES, "study the predictor and its learned loss"),
    "refinement": (STUDIES, "measure the box refinement of a network alone"),
    "devices": ("dimp_jax.host.devices", "show what jax computes on, and whether it does"),
}


def main(argv=None) -> int:
    """Exit status: that of the command; 2 without one, or for one that does not exist."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    name, rest = argv[0], argv[1:]
    if name == "--version":
        print(PROG, dimp_jax.__version__)
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        print(f"{PROG}: error: no command {name!r}; {hint}", file=sys.stderr)
        return 2
    if name == "refinement":  # one of the studies
        return run(name, argv, PROG)
    return run(name, rest, f"{PROG} {name}")


def run(name: str, argv, prog: str) -> int:
    """Runs a command; Ctrl-C is one line also while its modules are imported."""
    try:
        status = importlib.import_module(COMMANDS[name][0]).main(argv, prog)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        status = INTERRUPTED
    if status == INTERRUPTED:
        # Not by way of the interpreter's end: threads of XLA that still compile crash it there.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def usage() -> str:
    """The text of --help."""
    lines = (f"  {name:<12}{line}" for name, (_, line) in COMMANDS.items())
    return (
        f"usage: {PROG} COMMAND [options]\n\n{dimp_jax.__doc__.splitlines()[0]}\n\n"
        + "\n".join(lines)
        + f"\n\n{PROG} COMMAND --help shows the options of a command, {PROG} --version the version."
    )


if __name__ == "__main__":
    raise SystemExit(main())
