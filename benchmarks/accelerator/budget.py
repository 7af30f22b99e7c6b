"""How large things are measured, and what is done with the time there is."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import jax
from jax.errors import JaxRuntimeError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured, so that it takes some minutes. Seconds are estimates, compilation included.

    A part that does not fit into the time left is left out, so they matter at the end alone.
    """

    groups: tuple[str, ...]  # the most important first
    matrix: int
    networks: tuple[str, ...] = ("dimp_lite0", "dimp18", "dimp50")
    frames: int  # of noise
    batches: tuple[tuple[str, int], ...]  # of the training steps
    rounds: int
    lanes: tuple[int, ...]
    updated_together: tuple[int, ...]
    loader_s: float
    compiled_at_once: int  # programs
    frame_s: dict[str, float]
    frames_compile_s: float = 0.0  # of all together, where more than one is compiled at once
    step_s: dict[str, float]
    steps_compile_s: float = 0.0
    lanes_s: float
    update_s: float


ACCELERATOR = Sizes(
    groups=("matrices", "frames", "training", "sequences", "loader", "bfloat16"),
    matrix=8192,
    frames=41,
    batches=(("dimp_lite0", 32), ("dimp18", 26), ("dimp50", 10)),
    rounds=15,
    lanes=(32, 8, 64, 1),
    updated_together=(1, 2, 4, 8, 16, 32),
    loader_s=6.0,
    compiled_at_once=3,
    frame_s={"dimp_lite0": 5, "dimp18": 5, "dimp50": 5},
    frames_compile_s=70,  # measured on an H100
    step_s={"dimp_lite0": 5, "dimp18": 5, "dimp50": 5},
    steps_compile_s=60,
    lanes_s=25,
    update_s=5,
)
CPU = Sizes(
    groups=("matrices", "frames", "training", "loader", "sequences", "bfloat16"),
    matrix=2048,
    frames=23,  # a regular filter update in each
    batches=(("dimp_lite0", 2), ("dimp18", 2), ("dimp50", 2)),
    rounds=2,
    lanes=(8, 1),
    updated_together=(1, 4, 8),
    loader_s=4.0,
    compiled_at_once=1,
    frame_s={"dimp_lite0": 15, "dimp18": 15, "dimp50": 20},
    step_s={"dimp_lite0": 35, "dimp18": 30, "dimp50": 55},
    lanes_s=25,
    update_s=5,
)
REFERENCE = dataclasses.replace(  # the CPU beside an accelerator
    CPU, groups=("matrices", "frames", "training"), frames=13
)


@dataclasses.dataclass
class Run:
    """The sizes, the clock, and the figures so far.

    What parts have taken so far, of what they were expected to take, scales what the next ones are.
    """

    sizes: Sizes
    seconds: float
    model: str | None  # the row of `cost_model.ACCELERATORS`
    started: float = dataclasses.field(default_factory=time.monotonic)
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    taken_s: float = 0.0
    expected_s: float = 0.0

    def left_s(self) -> float:
        return self.seconds - (time.monotonic() - self.started)

    def attempt(self, name: str, need_s: float, measure):
        """Yields the lines of `measure()`, or one that says why there are none.

        Returns:
          whether memory was large enough.
        """
        left_s, pace = self.left_s(), 1.0
        if self.expected_s:
            pace = min(max(self.taken_s / self.expected_s, 0.5), 2.0)  # no more, from a few parts
        if left_s < need_s * pace:
            left = f"{max(left_s, 0):.0f} s are left"
            yield {"name": name, "left_out": f"takes about {need_s * pace:.0f} s, and {left}"}
            return True
        try:
            for line in measure():
                if "value" in line:
                    self.values[line["name"]] = line["value"]
                yield line
        except JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            yield {"name": name, "error": " ".join(str(error).split())[:300]}
            return False
        finally:
            self.taken_s += left_s - self.left_s()
            self.expected_s += need_s
        return True


def compiled(jobs: dict, at_once: int) -> dict:
    """{name: function that returns what the job returned, or raises what it raised}.

    Args:
      jobs: {name: function that compiles something}.
      at_once: run in threads so many at a time; with 1 each is run when its result is asked for.
    """
    if at_once == 1:
        return jobs
    with ThreadPoolExecutor(at_once) as pool:
        futures = {name: pool.submit(job) for name, job in jobs.items()}
    return {name: future.result for name, future in futures.items()}


def peak_mib() -> float | None:
    """The most memory of the device that this process has used so far; None: not counted."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**20
