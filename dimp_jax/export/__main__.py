"""Writes a tracker as StableHLO programs with a runner that needs only jax and numpy.

python -m dimp_jax.export dimp_lite0 --out DIR
python DIR/run.py frames.npy 10,20,30,40 > boxes.txt
"""

import dataclasses
import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from typing import Literal

import flatbuffers

from dimp_jax import config as configs
from dimp_jax.host import command_line, files, terminal

LICENSE = """The folder flatbuffers is a copy of the PyPI package of that name, version {version}.
Copyright 2014 Google Inc.; Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(command_line.TrackerArguments):
    """Writes a tracker as StableHLO programs with a runner that needs only jax and numpy.

    OUT gets one .stablehlo file for each program, params.npz, meta.json, run.py, and a copy of the
    package flatbuffers, with which jax reads the programs.
    """

    out: Path
    """A new or empty folder."""

    platforms: tuple[Literal["cpu", "cuda", "rocm", "tpu"], ...] = ("cpu", "cuda", "tpu")
    """What the programs are lowered for."""


def parse(argv, prog) -> Arguments:
    """See `command_line.parse_tracker`."""
    return command_line.parse_tracker(Arguments, argv, prog=prog, required=("out",))


def write(tracker, out: Path, platforms) -> dict[str, int]:
    """Exports a tracker into a folder, which appears when it is complete.

    Args:
      tracker: `dimp_jax.tracking.tracker.Tracker`.
      out: a new or empty folder.
      platforms: of "cpu", "cuda", "rocm", "tpu".

    Returns:
      dict: size in bytes by file name.

    Raises:
      ValueError: as `check_arguments`; a blur of the config has sigma <= 0.
      OSError: the folder cannot be written.
    """
    import jax
    import numpy as np
    from flax.traverse_util import flatten_dict

    from dimp_jax.export import programs
    from dimp_jax.tracking.localize import Verdict

    out = out.absolute()
    check_arguments(out, platforms)
    exported = programs.lower(tracker, platforms)
    params = jax.tree.map(np.asarray, flatten_dict(tracker.network.params, sep="/"))
    config = configs.to_dict(tracker.config)
    del config["training"]
    meta = {
        "programs": list(exported),
        "learn": programs.tabulate(tracker.config.tracker.memory).variants,
        "platforms": platforms,
        "verdicts": [verdict.name for verdict in Verdict],
        "seed": tracker.config.seed,
        "crop_size_px": tracker.config.tracker.crop_size_px,
        "search_area_scale": tracker.config.tracker.search_area_scale,
        "jax": jax.__version__,
        "notice": tracker.notice,
        "config": config,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(out) as folder:
        folder.mkdir()
        for name, program in exported.items():
            (folder / f"{name}.stablehlo").write_bytes(program.serialize())
        np.savez(folder / "params.npz", **params)
        (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
        shutil.copy(Path(__file__).with_name("runner.py"), folder / "run.py")
        _copy_flatbuffers(folder)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.*"))}
    return sizes


def check_arguments(out: Path, platforms) -> None:
    """Raises ValueError if nothing can be written there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not an empty folder; name a new one")
    if not platforms or len(set(platforms)) < len(platforms):
        given = " ".join(platforms) or "none"
        raise ValueError(f"--platforms {given}: expected one or more, each once")


def _copy_flatbuffers(folder: Path) -> None:
    """jax reads the programs with it, and does not bring it along."""
    source = Path(flatbuffers.__file__).parent
    shutil.copytree(source, folder / "flatbuffers", ignore=shutil.ignore_patterns("__pycache__"))
    version = importlib.metadata.version("flatbuffers")
    (folder / "flatbuffers" / "LICENSE").write_text(LICENSE.format(version=version))


def show(sizes, out: Path) -> None:
    """Prints what was written."""
    from rich.table import Table

    table = Table("file", "kB")
    table.columns[1].justify = "right"
    for name, size in sizes.items():
        table.add_row(name, f"{size / 1e3:,.1f}")
    console = terminal.console()
    console.print(table)
    terminal.print_line(console, f"python {out}/run.py frames.npy X,Y,W,H > boxes.txt")


@command_line.command("export", ValueError, OSError, ImportError)  # the last: OpenCV's libraries
def main(argv=None, prog="python -m dimp_jax.export") -> int:
    """Exit status: 0; 2 if the input cannot be used, after a line on stderr."""
    args = parse(sys.argv[1:] if argv is None else argv, prog)
    check_arguments(args.out, args.platforms)
    from dimp_jax.tracking.tracker import build  # jax takes seconds: not before the checks

    tracker = build(args.settings, portable=set(args.platforms) != {"cpu"})
    if tracker.notice:
        print(tracker.notice, file=sys.stderr)
    show(write(tracker, args.out, args.platforms), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
