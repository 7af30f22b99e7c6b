"""Command lines whose defaults are those of a config file named on them."""

import tyro


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
