"""What a person waits for: from the start of a process to the first learned target, and memory.

python -m benchmarks.start_up CONFIG    # what `figures` starts; prints the stages as JSON
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import figure
from dimp_jax.evaluation import demo
from dimp_jax.media.images import InputError

FIRST_FRAME_AIM_S = 3.0
END_AIM_S = 1.0
MEMORY_AIM_GB = 1.5
STARTED = "DIMP_BENCHMARK_STARTED"  # time.time() of the parent when it started the process


def peak_gb() -> float:
    """Largest resident set of this process so far, in 1e9 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: what `getrusage` tells includes the parent before the start
        lines = status.read_text(encoding="utf-8").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(kib) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def stages(name: str) -> dict:
    """Does what `evaluate.py` does for the demo clip and takes the time; for a fresh process.

    Returns:
      "seconds" of the stages "import" (interpreter and modules), "load" (weights), "warmup" (all
      programs) and "first_frame" (`Tracker.init`); "peak_gb" until the end of each of them and of
      "clip" (all frames tracked); "trained".
    """
    from dimp_jax import config as configs
    from dimp_jax.evaluation.runners import one_by_one
    from dimp_jax.host import compilation

    compilation.enable_cache()
    import jax

    from dimp_jax.tracking.tracker import build

    seconds, peaks, now = {}, {}, float(os.environ[STARTED])

    def mark(stage):
        nonlocal now
        seconds[stage], peaks[stage], now = time.time() - now, peak_gb(), time.time()

    mark("import")
    tracker = build(configs.load(name))
    mark("load")
    tracker.warmup()
    mark("warmup")
    sequence = demo.load()
    _, image = next(sequence.images())
    now = time.time()  # decoding apart
    jax.block_until_ready(tracker.init(image, sequence.init_box))
    mark("first_frame")
    one_by_one.track(tracker, sequence)
    peaks["clip"] = peak_gb()
    return {"seconds": seconds, "peak_gb": peaks, "trained": tracker.notice is None}


def fresh_process(name: str) -> dict:
    """`stages` in a new process.

    Raises:
      InputError: it failed; the last line of its error output.
    """
    command = [sys.executable, "-m", "benchmarks.start_up", name]
    return json.loads(_run(command, f"start-up of {name}").splitlines()[-1])


def _run(command, what: str, **environment) -> str:
    """The output of a process that knows when it was started."""
    environment = {**os.environ, **environment, STARTED: str(time.time())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InputError(f"{what}: {lines[-1]}")
    return done.stdout


# argv: a frame as .npy, its box. The clock runs from the parent's start.
FIRST_FRAME = """
import os, sys, time
{imports}
import jax, numpy
frame, box = numpy.load(sys.argv[1]), [float(v) for v in sys.argv[2].split(",")]
jax.block_until_ready({init}(frame, box))
print(time.time() - float(os.environ["DIMP_BENCHMARK_STARTED"]))
"""


def first_frame_s(what: str, imports: str, init: str, **environment) -> float:
    """Seconds from the start of a Python process to the first learned target.

    The second of two processes: the first one fills the cache.

    Args:
      imports, init: lines of Python, and the function of frame and box that they bring.

    Raises:
      InputError: it failed; the last line of its error output.
    """
    sequence = demo.load()
    _, image = next(sequence.images())
    box = ",".join(str(v) for v in sequence.init_box)
    with tempfile.TemporaryDirectory() as scratch:
        frame = f"{scratch}/frame.npy"
        np.save(frame, image)
        program = FIRST_FRAME.format(imports=imports, init=init)
        command = [sys.executable, "-c", program, frame, box]
        seconds = [_run(command, what, **environment) for _ in range(2)]
    return float(seconds[-1].splitlines()[-1])


def exported_s(name: str) -> float:
    """`first_frame_s` of exported programs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = f"{scratch}/exported", {"JAX_COMPILATION_CACHE_DIR": f"{scratch}/cache"}
        command = [sys.executable, "-m", "dimp_jax.export", name, "--out", folder]
        _run(command, f"export of {name}")
        imports = f"sys.path.insert(0, {folder!r})\nimport run"
        return first_frame_s(f"exported {name}", imports, "run.init", **cache)


def command_s(name: str, *options: str) -> tuple[float, float]:
    """Seconds of `dimp-jax evaluate` on the demo clip: to its boxes on disk, from there to its end.

    Raises:
      InputError: it failed; the last line of its error output.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = f"{scratch}/out"
        command = [sys.executable, "-m", "dimp_jax", "evaluate", name, "--out", out, *options]
        started = time.time()
        _run(command, f"evaluate {name}")
        ended, written = time.time(), Path(out, f"{demo.NAME}.txt").stat().st_mtime
    return written - started, ended - written


def figures(name: str = "dimp_lite0"):
    """Seconds to the first learned target and peak memory; the first process fills the cache."""
    fresh_process(name)
    seen = fresh_process(name)
    what = "trained" if seen["trained"] else "untrained"
    total_s, most_gb = sum(seen["seconds"].values()), seen["peak_gb"]["clip"]
    rounded = lambda values, unit: {f"{k}_{unit}": round(v, 3) for k, v in values.items()}
    yield figure(
        f"start to first frame of {name} ({what}), fresh process, warm compilation cache",
        total_s,
        "s",
        aim=("under", FIRST_FRAME_AIM_S),
        **rounded(seen["seconds"], "s"),
    )
    loaded = first_frame_s(name, "import dimp_jax", f"dimp_jax.load({name!r}).init")
    others = {
        f"the same of dimp_jax.load({name!r}).init(frame, box)": loaded,
        f"the same of evaluate {name} --frames 1": command_s(name, "--frames", "1")[0],
        f"the same with the exported programs of {name}": exported_s(name),
    }
    for what_started, seconds in others.items():
        yield figure(what_started, seconds, "s", aim=("under", FIRST_FRAME_AIM_S))
    ending = f"from the last frame to the end of evaluate {name}"
    yield figure(ending, command_s(name)[1], "s", aim=("under", END_AIM_S))
    yield figure(
        f"peak memory of {name} ({what}), demo clip",
        most_gb,
        "GB resident",
        aim=("under", MEMORY_AIM_GB),
        **rounded(seen["peak_gb"], "gb"),
    )


if __name__ == "__main__":
    print(json.dumps(stages(sys.argv[1])))
