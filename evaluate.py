"""Tracks one target in a video, a camera, image sequences or the demo clip, and scores the result.

python evaluate.py                                       # the demo
python evaluate.py dimp50 --checkpoint CKPT --data DIR   # DIR: a sequence, or a folder of them
python evaluate.py --video clip.mp4 --box 10,20,80,60 --save-video
python evaluate.py --video 0 --show                      # camera: draw the box in the window
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from dimp_jax import command_line, compilation
from dimp_jax import config as configs

INTERRUPTED = 130
DEFAULT_CONFIG = "configs/dimp_lite0.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Tracks one target in a video, a camera, image sequences or the demo clip, and scores it.

    Without --data and --video, the demo: a short real video with ground truth. An interrupted run
    goes on with the missing sequences when the same command is given again.
    """

    config: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CONFIG")] = DEFAULT_CONFIG
    """A config file, or the name of one that ships with dimp_jax."""

    data: str | None = None
    """A sequence (img/*.jpg|png, groundtruth.txt), or a folder of sequences."""

    video: str | None = None
    """A video file, or the number of a camera."""

    box: str | None = None
    """First box X,Y,W,H in 0-based pixels. Without it, --video lets you draw it with --show."""

    out: str | None = None
    """Folder of the results. Default: results/<config>[-<data>]."""

    frames: int | None = None
    """Use only the first frames of each sequence."""

    save_video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write OUT/<sequence>.mp4 with the boxes drawn."""

    show: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open a window; q or escape stops."""

    model: configs.ModelConfig
    tracker: configs.TrackerConfig

    checkpoint: str | None
    """Weights: the name of shipped ones, a .safetensors file, a directory made by
    `python -m dimp_jax.convert`, or the --workdir of a training."""

    seed: int
    """Of all randomness: the same seed gives the same boxes, bit for bit."""

    @property
    def settings(self) -> configs.Config:
        """The part of the config that tracking depends on; training has its defaults."""
        fields = ("model", "tracker", "checkpoint", "seed")
        return configs.Config(**{name: getattr(self, name) for name in fields})


def parse(argv) -> Arguments:
    """Arguments whose `settings` are those of the config file, changed by the command line.

    Raises:
      FileNotFoundError, ValueError: no such config file, or it has no usable `get_config`.
      SystemExit: 0 after --help, 2 after an unknown or mistyped option.
    """

    def default(name):
        config = configs.load(name)
        return Arguments(
            model=config.model,
            tracker=config.tracker,
            checkpoint=config.checkpoint,
            seed=config.seed,
        )

    return command_line.parse(Arguments, argv, default, config=DEFAULT_CONFIG, prog="evaluate.py")


def evaluate(args: Arguments):
    """Runs a parsed command: checks the input, builds the tracker, tracks, prints the table."""
    from rich.console import Console

    from dimp_jax.evaluation import inputs, results, runner
    from dimp_jax.evaluation.images import InputError

    sequences, data_name = inputs.load(args)
    name = Path(args.config).stem + (f"-{data_name}" if data_name else "")
    out = Path(args.out) if args.out else Path("results") / name
    config = configs.to_dict(args.settings)
    del config["training"]
    made_from = {
        "config": config,
        "inputs": inputs.describe(args, checkpoint=args.settings.checkpoint),
    }
    results.check_folder(out, **made_from)

    compilation.enable_cache()  # importing jax takes seconds: not before all input is checked
    from dimp_jax.tracking.tracker import build

    try:
        tracker = build(args.settings)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    console = Console()
    if tracker.notice:
        console.print(tracker.notice, markup=False)
    with console.status("compiling (once; kept for the next start)"):
        tracker.warmup()
    results.make_folder(out, **made_from)
    options = runner.Options(seed=args.settings.seed, save_video=args.save_video, show=args.show)
    summary = runner.run(tracker, sequences, out, options=options, console=console)
    console.print(runner.table(summary))
    console.print(f"results in {out}", markup=False)


def main(argv=None) -> int:
    """Exit status: 0; 2 if the input cannot be used, after a line on stderr; 130 if stopped."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parse(argv)
    except (FileNotFoundError, ValueError) as error:
        return fail(error)
    try:
        from dimp_jax.evaluation.images import InputError
        from dimp_jax.evaluation.runner import Stopped
    except ImportError as error:  # OpenCV without its graphics libraries
        return fail(error)
    try:
        evaluate(args)
    except InputError as error:
        return fail(error)
    except (KeyboardInterrupt, Stopped):
        print("stopped: the same command goes on with the missing sequences", file=sys.stderr)
        return INTERRUPTED
    return 0


def fail(error) -> int:
    """Prints an error on one line and returns the exit status 2."""
    print(f"evaluate.py: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
