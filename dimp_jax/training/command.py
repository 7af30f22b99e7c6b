"""What `train.py` and `dimp-jax train` do: options, exit statuses, errors on one line."""

import dataclasses
import signal
import sys
from typing import Annotated

import tyro

from dimp_jax import config as configs
from dimp_jax.host import command_line, compilation, interrupts, terminal

FAILED = 1
STAND_IN = "debug"  # whose defaults --help shows when no CONFIG is given


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Meta-trains a DiMP tracker.

    The same command given again goes on from the last checkpoint in WORKDIR. SIGTERM and Ctrl-C
    save one first.
    """

    config: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CONFIG")]
    """A config file, or the name of one that ships with dimp_jax."""

    workdir: str
    """Folder of checkpoints, metrics.jsonl and figures."""

    data_dir: str | None = None
    """Folder of built data sets, instead of the config's or $TFDS_DATA_DIR."""

    distributed: command_line.Distributed = command_line.Distributed()

    settings: Annotated[configs.Config, tyro.conf.arg(name="")]


def parse(argv, prog) -> Arguments:
    """Arguments whose `settings` are those of the config file, changed by the command line.

    Raises:
      FileNotFoundError, ValueError: no such config file, or it has no usable `get_config`.
      SystemExit: 0 after --help, 2 after an unknown or mistyped option.
    """
    default = lambda name: Arguments(
        config=tyro.MISSING, workdir=tyro.MISSING, settings=configs.load(name)
    )
    args = command_line.parse(Arguments, argv, default, config=STAND_IN, prog=prog)
    settings = args.settings
    if args.data_dir is not None:
        data = dataclasses.replace(settings.training.data, data_dir=args.data_dir)
        training = dataclasses.replace(settings.training, data=data)
        settings = dataclasses.replace(settings, training=training)
    return dataclasses.replace(args, settings=settings)


def run(args: Arguments, prog) -> int:
    """Trains as the parsed command says; returns the exit status."""
    import jax

    from dimp_jax.host import distributed

    compilation.enable_cache()
    distributed.initialize_distributed(**dataclasses.asdict(args.distributed))
    from dimp_jax.training import log, loop

    console = terminal.console(quiet=jax.process_index() != 0)
    try:
        outcome = loop.train(args.settings, args.workdir, console)
    except log.NonFiniteLoss as error:
        print(
            f"{prog}: error: {error}; {args.workdir} keeps the checkpoints before it: lower the "
            "learning rates or set --training.optim.clip-norm, in another --workdir",
            file=sys.stderr,
        )
        return FAILED
    except ChildProcessError as error:
        print(f"{prog}: error: {error}; the same command goes on", file=sys.stderr)
        return FAILED
    if outcome.signal is not None:
        name = signal.Signals(outcome.signal).name
        terminal.print_line(
            console, f"{name}: saved step {outcome.step}; the same command goes on from it"
        )
    else:
        terminal.print_line(
            console, f"step {outcome.step}: evaluate with --checkpoint {args.workdir}"
        )
    return interrupts.STATUS if outcome.signal == signal.SIGINT else 0


def main(argv=None, prog="train.py") -> int:
    """Exit status: 0, also after SIGTERM; 1 when the loss is not finite or a worker was killed; 2
    if the input cannot be used, after a line on stderr; 130 after Ctrl-C."""
    # Ctrl-C before the first step, or a second one: after it the loop ends in good order.
    answered = command_line.command(
        prog, ValueError, OSError, ImportError, stopped="the same command goes on"
    )
    return answered(lambda: run(parse(sys.argv[1:] if argv is None else argv, prog), prog))()
