"""What the command lines share: defaults of a config file named on them, and several hosts."""

import dataclasses

import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distributed:
    """Several processes. On TPU pods and under SLURM they find each other without these."""

    coordinator: str | None = None
    """HOST:PORT of process 0."""

    num_processes: int | None = None
    """How many there are."""

    process_id: int | None = None
    """Which one this is, from 0."""

    auto: bool = True
    """Look for a TPU pod or a SLURM job step."""


def parse(arguments, argv, make_default, *, config: str, prog: str):
    """Arguments whose defaults come from the config that they name.

    Args:
      arguments: a dataclass with a positional field `config`.
      argv: list of str.
      make_default: config name -> an instance of `arguments` with the defaults of that config.
      config: the name whose defaults are shown, and used, where `argv` begins with none.
      prog: the command, for people.

    Raises:
      FileNotFoundError, ValueError: as `make_default`.
      SystemExit: 0 after --help, 2 after an unknown or mistyped option.
    """
    name = argv[0] if argv and not argv[0].startswith("-") else config
    while True:  # twice only if CONFIG is not the first argument
        args = tyro.cli(arguments, args=argv, default=make_default(name), prog=prog)
        if args.config == name:
            return args
        name = args.config
