"""What rounded products cost on an accelerator, emulated on the CPU (`host.rounded_products`).

python -m benchmarks.precision --data DIR OTHER_DIR

Prints JSON lines. Kind "share": how much of the operations of a training step's products is the
predictor's, the target maps' and the pooling's, which are always exact. Kind "solve": how far a
filter learned from the first frame is off, were those products rounded, too. Kind "tracking":
accuracy with the network's products in float32 (`model.matmul_precision` "highest"), and rounded to
TF32 and to bfloat16 ("default" on a GPU and on a TPU), all else in float32.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro

from benchmarks.cost_model import sample_shapes
from benchmarks.measure import plain_convolutions, print_figures
from dimp_jax import config as configs
from dimp_jax.host import command_line
from dimp_jax.host.machine import machine
from dimp_jax.host.operations import count_flops
from dimp_jax.host.rounded_products import MANTISSA_BITS, is_exact, is_product, rounded
from dimp_jax.models.dimp import STRIDE_PX, init_variables
from dimp_jax.predictor.predict import optimize_filter
from dimp_jax.studies import accuracy
from dimp_jax.tracking import tracker as trackers
from dimp_jax.training import steps


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


def share_line(config: configs.Config) -> dict:
    """Counted in the traced step of a batch of one; nothing is run."""
    variables = jax.eval_shape(lambda: init_variables(config.model, jax.random.key(0)))
    state = jax.eval_shape(lambda v: steps.init_state(v, config), variables)
    inputs = steps.make_train_step(config), state, sample_shapes(config, 1)
    with plain_convolutions():
        exact, total = (count_flops(*inputs, counts=which) for which in (is_exact, is_product))
    return {"kind": "share", "backbone": config.model.backbone, "exact": exact / total}


def solve_lines(tracker, sequence, seed: int):
    """The tracker's iterations on the first frame, from a filter of zeros."""
    _, image = next(iter(sequence.images()))
    state = tracker.init(image, sequence.init_box, seed=seed)
    memory, predictor = state.memory, tracker.config.model.predictor
    num_iter = tracker.config.tracker.memory.init_iterations

    def end(params, feat):
        zeros = jnp.zeros_like(state.filt)
        samples = (feat, memory.box_xywh, memory.weight)
        return optimize_filter(
            params, zeros, *samples, predictor, num_iter=num_iter, stride_px=STRIDE_PX
        ).last

    def solve(*inputs):
        """The filter, and the gradient of its squared norm by the features."""
        gradient = jax.grad(lambda *inputs: jnp.sum(end(*inputs) ** 2), argnums=1)
        return end(*inputs), gradient(*inputs)

    off = lambda got, expected: float(jnp.linalg.norm(got - expected) / jnp.linalg.norm(expected))
    inputs = tracker.network.params["predictor"], memory.feat
    exact = jax.jit(solve)(*inputs)
    for name, bits in MANTISSA_BITS.items():
        filt, gradient = jax.jit(rounded(solve, bits, which=is_product))(*inputs)
        yield {
            "kind": "solve",
            "precision": name,
            "iterations": num_iter,
            "filter_off": off(filt, exact[0]),
            "gradient_off": off(gradient, exact[1]),
        }


def tracking_lines(exact, found, seed: int):
    """A figure for every variant and folder; `found` is {folder: sequences}."""
    variants = {"highest": exact}
    variants |= {
        name: accuracy.rounded_tracker(exact, bits) for name, bits in MANTISSA_BITS.items()
    }
    reference = {}
    for name, tracker in variants.items():
        for folder, sequences in found.items():
            auc = {s.name: accuracy.success_auc(tracker, s, seed) for s in sequences}
            before = reference.setdefault(folder, auc)
            change = {s: auc[s] - before[s] for s in auc}
            largest = max(change, key=lambda s: abs(change[s]))
            yield {
                "kind": "tracking",
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


def lines(args: Arguments):
    """All figures."""
    found = {folder: accuracy.load_sequences((folder,), args.frames) for folder in args.data}
    for name in dict.fromkeys((args.config, "dimp18", "dimp50")):
        yield share_line(configs.load(name))
    tracker = trackers.build(configs.load(args.config))
    yield from solve_lines(tracker, found[args.data[0]][0], args.seed)
    yield from tracking_lines(tracker, found, args.seed)


@command_line.command("benchmarks.precision", FileNotFoundError)
def main(argv) -> int:
    args = tyro.cli(Arguments, args=argv, prog="python -m benchmarks.precision")
    print(json.dumps({**machine(), "config": args.config, "jax": jax.__version__}), flush=True)
    return print_figures(lines(args), "benchmarks.precision")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
