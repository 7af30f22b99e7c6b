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


# argv: the folder of an export, a frame as .npy, its box. The clock runs from the parent's start.
EXPORTED_FRAME = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import jax, numpy, run
frame, box = numpy.load(sys.argv[2]), [float(v) for v in sys.argv[3].split(",")]
jax.block_until_ready(run.init(frame, box))
print(time.time() - float(os.environ["DIMP_BENCHMARK_STARTED"]))
"""


def exported_s(name: str) -> float:
    """Seconds from the start of a process to the first frame, learned by exported programs.

    The second of two processes: the first one fills the compilation cache.

    Raises:
      InputError: it failed; the last line of its error output.
    """
    sequence = demo.load()
    _, image = next(sequence.images())
    box = ",".join(str(v) for v in sequence.init_box)
    with tempfile.TemporaryDirectory() as scratch:
        folder, frame = f"{scratch}/exported", f"{scratch}/frame.npy"
        np.save(frame, image)
        python, cache = sys.executable, {"JAX_COMPILATION_CACHE_DIR": f"{scratch}/cache"}
        _run([python, "-m", "dimp_jax.export", name, "--out", folder], f"export of {name}")
        command = [python, "-c", EXPORTED_FRAME, folder, frame, box]
        seconds = [_run(command, f"exported {name}", **cache) for _ in range(2)]
    return float(seconds[-1].splitlines()[-1])


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
    what_exported = f"the same with the exported programs of {name}"
    yield figure(what_exported, exported_s(name), "s", aim=("under", FIRST_FRAME_AIM_S))
    yield figure(
        f"peak memory of {name} ({what}), demo clip",
        most_gb,
        "GB resident",
        aim=("under", MEMORY_AIM_GB),
        **rounded(seen["peak_gb"], "gb"),
    )


if __name__ == "__main__":
    print(json.dumps(stages(sys.argv[1])))
