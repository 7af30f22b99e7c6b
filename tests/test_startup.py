"""What a fresh interpreter loads with each part; who may import whom is for `lint-imports`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dimp_jax

PACKAGE = Path(dimp_jax.__file__).resolve().parent
PREDICTOR = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.joinpath("predictor").rglob("[!_]*.py"))
]
MATHS = [
    *PREDICTOR,
    "dimp_jax.geometry.boxes",
    "dimp_jax.training.losses",
    "dimp_jax.tracking.localize",
    "dimp_jax.tracking.refine",
]
DATA_SETS = {"tensorflow_datasets", "grain", "torch", "tensorflow"}
HEAVY = {"flax", "cv2", "optax", "orbax", "tyro", "rich"} | DATA_SETS
# One after the other into the same interpreter; what must not be there then.
STAGES = {
    "the package": (["dimp_jax"], {"jax", "numpy"} | HEAVY),
    "the maths": (MATHS, HEAVY),
    # `flax.struct` brings Linen along, inside Flax.
    "state and memory": (
        ["dimp_jax.tracking.state", "dimp_jax.tracking.memory"],
        {"cv2", "dimp_jax.models"} | DATA_SETS,
    ),
    "the tracker": (["dimp_jax.tracking.tracker", "dimp_jax.convert"], {"optax"} | DATA_SETS),
}
PROGRAM = """
import importlib, json, sys
loaded = []
for names in json.loads(sys.argv[1]):
    for name in names:
        importlib.import_module(name)
    loaded.append(sorted(sys.modules))
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded():
    """Names in `sys.modules` after each stage."""
    stages = json.dumps([names for names, _ in STAGES.values()])
    command = [sys.executable, "-c", PROGRAM, stages]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(STAGES, map(set, json.loads(done.stdout)), strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_a_part_loads_no_more_than_it_needs(stage, loaded):
    names, unwanted = STAGES[stage]
    assert len(PREDICTOR) > 10 and set(names) <= loaded[stage]
    assert not unwanted & loaded[stage]
