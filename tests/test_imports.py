"""Which part of the package may import what: in the source, and in a fresh interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dimp_jax

PACKAGE = Path(dimp_jax.__file__).parent
REPOSITORY = PACKAGE.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
# What the predictor may import beside the standard library.
PREDICTOR_ALLOWS = ("jax", "dimp_jax.predictor", "dimp_jax.predictor.shapes")
# Pure parts: arrays in, arrays out; `flax.struct` is a dataclass decorator.
PURE = (
    "predictor",
    "boxes.py",
    "losses.py",
    "shapes.py",
    "tracking/state.py",
    "tracking/localize.py",
    "tracking/memory.py",
    "tracking/refine.py",
)
HEAVY = ("flax", "cv2", "tensorflow_datasets", "optax", "grain", "orbax", "tyro", "rich")


def imported(path):
    """Full names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from package import module` imports the module.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_under(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def files_under(part):
    path = PACKAGE / part
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def test_the_sources_were_found():
    assert len(SOURCES) > 30 and len(files_under("predictor")) > 4
    assert imported(PACKAGE / "losses.py") == {"jax", "jax.numpy"}


@pytest.mark.parametrize("path", files_under("predictor"), ids=lambda p: p.name)
def test_predictor_stands_alone(path):
    for name in imported(path):
        standard = name.split(".")[0] in sys.stdlib_module_names
        assert standard or is_under(name, PREDICTOR_ALLOWS), f"{path.name} imports {name}"


@pytest.mark.parametrize("part", PURE)
def test_pure_parts(part):
    for path in files_under(part):
        for name in imported(path) - {"flax.struct"}:
            assert not is_under(name, HEAVY), f"{path} imports {name}"


def test_linen_lives_in_models():
    for path in SOURCES:
        if path.parent.name != "models":
            assert not any(is_under(n, ["flax.linen"]) for n in imported(path)), path


def test_nothing_imports_torch_or_tensorflow():
    files = (
        SOURCES + sorted(REPOSITORY.glob("*.py")) + sorted((REPOSITORY / "configs").glob("*.py"))
    )
    for path in files:
        for name in imported(path):
            assert not is_under(name, ("torch", "torchvision", "tensorflow", "keras")), (path, name)


def loaded_modules(*modules):
    """What is in `sys.modules` of a fresh interpreter that has imported these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_maths_loads_jax_alone():
    names = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in files_under("predictor")
        if path.stem != "__init__"
    ]
    names += ["dimp_jax.geometry.boxes", "dimp_jax.training.losses", "dimp_jax.tracking.localize"]
    loaded = loaded_modules(*names, "dimp_jax.tracking.refine")
    assert {"jax", *names} <= loaded
    assert not [n for n in loaded if is_under(n, (*HEAVY, "torch", "tensorflow"))]


def test_importing_state_and_memory_loads_no_opencv():
    """`flax.struct` brings Linen along, inside Flax; OpenCV and data sets it must not."""
    loaded = loaded_modules("dimp_jax.tracking.state", "dimp_jax.tracking.memory")
    assert "dimp_jax.tracking.memory" in loaded
    bad = ("cv2", "tensorflow_datasets", "torch", "tensorflow", "dimp_jax.models")
    assert not [n for n in loaded if is_under(n, bad)]


def test_importing_the_package_costs_nothing():
    loaded = loaded_modules("dimp_jax")
    assert not [n for n in loaded if is_under(n, ("jax", "numpy", *HEAVY))]


def test_the_tracker_needs_no_data_set_library():
    loaded = loaded_modules("dimp_jax.tracking.tracker", "dimp_jax.convert")
    bad = ("tensorflow_datasets", "grain", "optax", "torch", "tensorflow")
    assert not [n for n in loaded if is_under(n, bad)]
