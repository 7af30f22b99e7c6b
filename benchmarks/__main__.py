"""Prints one JSON line a figure. Names of groups as arguments choose some: gemm backbones ..."""

import json
import os
import platform
import sys

import jax

from benchmarks import backbones, frames, loader, predictor, training
from benchmarks.measure import figure, gemm_flops_per_s


def gemm_figures():
    rate = gemm_flops_per_s() / 1e9
    yield figure("GEMM 2048^3 float32", rate, "GFLOP/s: the yardstick of the ratios below")


GROUPS = {
    "gemm": gemm_figures,
    "backbones": backbones.figures,
    "predictor": predictor.figures,
    "frames": frames.figures,
    "training": training.figures,
    "loader": loader.figures,
}


def machine() -> dict:
    """Where the figures were taken."""
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "device": str(jax.devices()[0]),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def main(names) -> int:
    unknown = sorted(set(names) - set(GROUPS))
    if unknown:
        print(
            f"benchmarks: no group {unknown[0]!r}; expected: {', '.join(GROUPS)}", file=sys.stderr
        )
        return 2
    print(json.dumps(machine()), flush=True)
    for name in names or GROUPS:
        for line in GROUPS[name]():
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
