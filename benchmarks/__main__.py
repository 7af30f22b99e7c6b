"""Prints one JSON line a figure. Names of groups as arguments choose some: gemm backbones ...

python -m benchmarks accelerator    # on its own: any backend, in four minutes, with a table
"""

import itertools
import json
import sys

import jax

from benchmarks import (
    backbones,
    convolutions,
    frame_parts,
    lanes,
    loader,
    predictor,
    start_up,
    training,
)
from benchmarks.accelerator import command as accelerator
from benchmarks.measure import figure, gemm_flops_per_s, print_figures
from dimp_jax.host.machine import machine


def gemm_figures():
    rate = gemm_flops_per_s() / 1e9
    yield figure("GEMM 2048^3 float32", rate, "GFLOP/s: the yardstick of the ratios below")


GROUPS = {
    "gemm": gemm_figures,
    "convolutions": convolutions.figures,
    "backbones": backbones.figures,
    "predictor": predictor.figures,
    "frames": frame_parts.ratios,
    "parts": frame_parts.figures,
    "lanes": lanes.figures,
    "start_up": start_up.figures,
    "training": training.figures,
    "loader": loader.figures,
}


def main(names) -> int:
    if names[:1] == ["accelerator"]:
        return accelerator.main(names[1:])
    unknown = sorted(set(names) - set(GROUPS))
    if unknown:
        print(
            f"benchmarks: no group {unknown[0]!r}; expected: {', '.join(GROUPS)}", file=sys.stderr
        )
        return 2
    print(json.dumps({**machine(), "device": str(jax.devices()[0]), "jax": jax.__version__}))
    lines = itertools.chain.from_iterable(GROUPS[name]() for name in names or GROUPS)
    return print_figures(lines, "benchmarks")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
