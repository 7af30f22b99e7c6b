"""What `model.matmul_precision` costs in accuracy on an accelerator, emulated on the CPU.

python -m benchmarks.precision --data DIR OTHER_DIR

Tracks the sequences three times: with the network's products in float32 ("highest"), and with
their operands rounded to TF32 and to bfloat16 (`rounded_products`; what "default" is on a GPU and
on a TPU). All else keeps float32, by the policy of `dimp_jax/predictor/precision.py`. Prints a JSON
line for every variant and folder.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path

import jax
import tyro

from benchmarks.measure import print_figures
from benchmarks.rounded_products import MANTISSA_BITS, rounded
from dimp_jax import config as configs
from dimp_jax.host.machine import machine
from dimp_jax.studies import accuracy
from dimp_jax.tracking import tracker as trackers
from dimp_jax.tracking.programs import Programs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Tracking accuracy with the network's products in float32, TF32 and bfloat16, emulated."""

    data: tuple[Path, ...]
    """Sequences (img/*.jpg|png, groundtruth.txt), or folders of them."""

    config: str = "dimp_lite0"
    """A config file, or the name of one that ships with dimp_jax."""

    frames: int | None = None
    """Use only the first frames of each sequence."""

    seed: int = 0
    """Of the tracker."""


def rounding(tracker, mantissa_bits: int):
    """`tracker` with the operands of the network's products rounded to so many bits."""
    emulated = lambda program, *static: jax.jit(
        rounded(program, mantissa_bits), static_argnames=static
    )
    start, look, learn = tracker.network.programs
    programs = Programs(emulated(start), emulated(look), emulated(learn, "insert", "num_iter"))
    network = tracker.network._replace(programs=programs)
    return dataclasses.replace(tracker, network=network)


def lines(args: Arguments):
    """A figure for every variant and folder of sequences."""
    found = {folder: accuracy.load_sequences(folder, args.frames) for folder in args.data}
    exact = trackers.build(configs.load(args.config))
    variants = {"highest": exact}
    variants |= {name: rounding(exact, MANTISSA_BITS[name]) for name in ("tf32", "bfloat16")}
    reference = {}
    for name, tracker in variants.items():
        for folder, sequences in found.items():
            auc = {s.name: accuracy.success_auc(tracker, s, args.seed) for s in sequences}
            before = reference.setdefault(folder, auc)
            change = {s: auc[s] - before[s] for s in auc}
            largest = max(change, key=lambda s: abs(change[s]))
            yield {
                "precision": name,
                "data": folder.name,
                "sequences": len(auc),
                "auc": round(statistics.fmean(auc.values()), 4),
                "change": round(statistics.fmean(change.values()), 4),
                "median_size_of_change": round(statistics.median(map(abs, change.values())), 4),
                "largest_change": round(change[largest], 4),
                "of": largest,
                "each": {s: round(value, 4) for s, value in auc.items()},
            }


def main(argv) -> int:
    args = tyro.cli(Arguments, args=argv, prog="python -m benchmarks.precision")
    print(json.dumps({**machine(), "config": args.config, "jax": jax.__version__}), flush=True)
    return print_figures(lines(args), "benchmarks.precision")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
