"""The command: groups by importance, the CPU of the same machine, a table.

python -m benchmarks accelerator --seconds 240
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from typing import Annotated, Literal

import jax
import tyro

from benchmarks.accelerator import budget, frames, matrices, samples, sequences, steps
from benchmarks.cost_model import row_of
from dimp_jax.host.machine import machine

GROUPS = {
    "matrices": matrices.figures,
    "frames": frames.figures,
    "training": functools.partial(steps.figures, dtype="float32"),
    "bfloat16": functools.partial(steps.figures, dtype="bfloat16"),
    "loader": samples.figures,
    "sequences": sequences.figures,
}
REFERENCE_S = 25  # below that the CPU would not get beyond its compilation
PROG = "python -m benchmarks accelerator"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Matrix products, frames, training and several sequences at once on the device of jax.

    Each figure is a line of JSON as soon as it is measured. Sizes are reduced on a CPU.
    """

    seconds: float = 240
    """What does not fit is left out, and a line says so."""

    groups: tuple[
        Literal["matrices", "frames", "training", "bfloat16", "loader", "sequences"], ...
    ] = ()
    """Only these (bfloat16: training in it), and nothing of the CPU beside an accelerator."""

    reference: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure only what an accelerator is compared with."""


def main(argv) -> int:
    args = tyro.cli(Arguments, args=argv, prog=PROG)
    jax.config.update("jax_enable_compilation_cache", False)  # times of compilation are figures
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    sizes = budget.ACCELERATOR
    if on_cpu:
        sizes = budget.REFERENCE if args.reference else budget.CPU
    run = budget.Run(sizes, args.seconds, row_of(device.device_kind))
    lines = [described(device, run)]
    show(lines[0])
    for line in figures(run, args.groups, compared=not (on_cpu or args.groups)):
        lines.append(line)
        show(line)
    if not args.reference:
        print_table(lines)
    return 0


def show(line: dict) -> None:
    print(json.dumps(line), flush=True)


def described(device, run) -> dict:
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return {
        **machine(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "memory_gib": limit and round(limit / 2**30, 1),
        "jax": jax.__version__,
        "model": run.model,
        "seconds": run.seconds,
    }


def figures(run: budget.Run, groups, *, compared: bool):
    """The lines of the groups, all if empty; with `compared` the ratios to this machine's CPU."""
    for group in groups or run.sizes.groups:
        yield from GROUPS[group](run)
    if compared:
        yield from run.attempt("ratios to the CPU", REFERENCE_S, lambda: cpu_ratios(run))


def cpu_ratios(run: budget.Run):
    """What of `run.values` the CPU of this machine measures in the time left, in a new process."""
    seconds = run.left_s()
    command = (sys.executable, "-m", "benchmarks", "accelerator", "--reference", "--seconds")
    done, problem = b"", None
    try:
        process = subprocess.run(
            (*command, str(seconds)),
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        done = process.stdout
        if process.returncode:
            problem = (process.stderr.decode().strip().splitlines() or ["no output"])[-1]
    except subprocess.TimeoutExpired as error:
        done, problem = error.stdout or b"", "stopped: no time left"
    complete = [text for text in done.decode().splitlines(keepends=True) if text.endswith("\n")]
    for line in map(json.loads, complete):
        if "value" in line and line["name"] in run.values:
            ratio = run.values[line["name"]] / line["value"]
            yield {
                "name": line["name"],
                "ratio_to_cpu": round(ratio, 2),
                **{key: line[key] for key in ("value", "batch", "size") if key in line},
                "on": "cpu",
            }
        elif "left_out" in line or "error" in line:
            yield line | {"on": "cpu"}
    if problem is not None:
        yield {"name": "ratios to the CPU", "error": problem}


def print_table(lines) -> None:
    """One row a figure, with what the same name has of ratios; then what is missing."""
    ratios = {line["name"]: line["ratio_to_cpu"] for line in lines if "ratio_to_cpu" in line}
    head = ("figure", "value", "unit", "x CPU", "of model", "compile s", "peak MiB")
    rows = [head]
    for line in lines:
        if "value" in line and "on" not in line:
            of_model = line.get("of_model", line.get("of_data_sheet"))
            numbers = (of_model, line.get("compile_s"), line.get("device_peak_mib"))
            texts = ["" if number is None else f"{number:.3g}" for number in numbers]
            ratio = ratios.get(line["name"], "")
            rows.append((line["name"], f"{line['value']:.4g}", line["unit"], str(ratio), *texts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    for line in lines:
        reason = line.get("left_out") or line.get("error")
        if reason:
            print(f"{line['name']}{' on the CPU' if 'on' in line else ''}: {reason}")
