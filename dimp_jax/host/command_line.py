"""What the command lines share: errors on one line, defaults of a config file, several hosts."""

import dataclasses
import functools
import os
import sys
from typing import Annotated

import tyro

from dimp_jax import config as configs
from dimp_jax.host import compilation, interrupts

DEFAULT_CONFIG = "dimp_lite0"
BAD_INPUT = 2  # exit status
TRACKER_FIELDS = ("model", "tracker", "checkpoint", "seed")


def fail(name, error) -> int:
    """Prints an error on one line of stderr, and returns the exit status of bad input."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    print(f"{name}: error: {' '.join(text.split())}", file=sys.stderr)
    return BAD_INPUT


def command(name, *errors, stopped=None):
    """Decorates a `main`, which then answers `errors` by `fail`, as it does where jax finds no
    device, and Ctrl-C by one line and a status of its own.

    Args:
      name: of the command, for people. stopped: what they are told after Ctrl-C.
    """

    def decorate(main):
        @functools.wraps(main)
        def answering(*args, **kwargs):
            with interrupts.watched(f"stopped: {stopped}" if stopped else "stopped") as watch:
                try:
                    return main(*args, **kwargs)
                except BrokenPipeError:  # `| head` has read enough
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                    return 1
                except errors as error:
                    return fail(name, error)
                except (RuntimeError, AssertionError):
                    missing = compilation.missing_device()
                    if missing is None:
                        raise
                    return fail(name, missing)
                except KeyboardInterrupt:
                    return watch.told()

        return answering

    return decorate


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerArguments:
    """What commands that need a tracker have in common: the part of a config that it depends on."""

    config: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CONFIG")] = DEFAULT_CONFIG
    """A config file, or the name of one that ships with dimp_jax."""

    model: configs.ModelConfig
    tracker: configs.TrackerConfig

    checkpoint: str | None
    """Weights: the name of shipped ones, a .safetensors file, a directory made by
    `python -m dimp_jax.convert`, or the --workdir of a training."""

    seed: int
    """Of all randomness: the same seed gives the same results, bit for bit."""

    @property
    def settings(self) -> configs.Config:
        """The tracker's config; training has its defaults."""
        return configs.Config(**{name: getattr(self, name) for name in TRACKER_FIELDS})


def parse_tracker(arguments, argv, *, prog: str, required=()):
    """Arguments whose `settings` are those of the config file, changed by the command line.

    Args:
      arguments: a `TrackerArguments`. required: names of its own fields without defaults.

    Raises:
      FileNotFoundError, ValueError: no such config file, or it has no usable `get_config`.
      SystemExit: 0 after --help, 2 after an unknown or mistyped option.
    """

    def default(name):
        config = configs.load(name)
        values = {field: getattr(config, field) for field in TRACKER_FIELDS}
        return arguments(**dict.fromkeys(required, tyro.MISSING), **values)

    return parse(arguments, argv, default, config=DEFAULT_CONFIG, prog=prog)


def parse(arguments, argv, make_default, *, config: str, prog: str):
    """Arguments whose defaults come from the config that they name.

    Args:
      arguments: a dataclass with a positional field `config`.
      make_default: config name -> an instance of `arguments` with the defaults of that config.
      config: the name whose defaults are shown, and used, where `argv` begins with none.

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
