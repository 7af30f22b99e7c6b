"""A wheel holds all that the tracker needs: built, installed alone, run far from the repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dimp_jax
from dimp_jax.checkpoints import shipped
from tests.support import LITTLE_OPTIMISATION

REPOSITORY = Path(dimp_jax.__file__).resolve().parent.parent
PARTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "dimp_jax", "configs")
# Of extras: no module needs them to be imported.
EXTRAS = ("skvideo", "tensorboardX", "vot", "trax", "attributee")
# Scripts for other places: next to exported programs; in the environment of the VOT toolkit.
SCRIPTS = ("dimp_jax.export.runner", "dimp_jax.evaluation.vot.probe")
IMPORTS = f"""
import importlib, pkgutil, sys

sys.modules |= dict.fromkeys({EXTRAS})  # an import of these fails
import dimp_jax

for module in pkgutil.walk_packages(dimp_jax.__path__, "dimp_jax."):
    if module.name not in {SCRIPTS}:
        importlib.import_module(module.name)
        print(module.name, sys.modules[module.name].__file__)
"""
PROGRAM = """
import sys
from pathlib import Path

import dimp_jax

site = Path(sys.argv[1]).resolve()
assert site in Path(dimp_jax.__file__).resolve().parents, dimp_jax.__file__

import numpy as np

from dimp_jax import config

assert site in config.config_dir().resolve().parents, config.config_dir()
from dimp_jax.checkpoints import shipped
from dimp_jax.tracking import weights


def not_needed():
    raise AssertionError("the package of ImageNet weights was asked for")


assert site in shipped.file_of("dimp_lite0").parents
weights.lite0_file = not_needed
image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
tracker = dimp_jax.load("dimp_lite0")
assert tracker.notice is None, tracker.notice
state = tracker.init(image, (60, 40, 30, 24))
for _ in range(2):
    state, result = tracker.step(state, image)
assert np.isfinite(result.box_xywh).all()
print("box", *result.box_xywh.round(2))
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    text = done.stdout + done.stderr
    if done.returncode and ("Connection" in text or "No matching distribution" in text):
        pytest.skip(f"no network, and setuptools is too old to build here: {text[-200:]}")
    assert done.returncode == 0, text
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel; from a copy, so that nothing is left in the repository."""
    if not (REPOSITORY / "pyproject.toml").is_file():
        pytest.skip("dimp_jax is not imported from its source tree")
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        path = REPOSITORY / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / part)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(out), str(source)]
    try:
        present = int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        present = False
    # Without a recent setuptools pip fetches one for the build alone.
    run(command + (["--no-build-isolation"] if present else []))
    (built,) = out.glob("dimp_jax-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index"]
    run([*pip, "--target", str(folder), str(wheel)])
    return folder


@pytest.mark.slow
def test_every_source_file_is_in_the_wheel(site):
    for folder, installed in (("dimp_jax", "dimp_jax"), ("configs", "dimp_jax/configs")):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(REPOSITORY / folder)
                assert (site / installed / name).is_file(), f"{folder}/{name} is left out"
    assert not (site / "tests").exists() and not (site / "configs").exists()
    (licence,) = site.glob("dimp_jax-*.dist-info/licenses/LICENSE")
    assert "Apache License" in licence.read_text()


def run_installed(program, site, folder):
    """What the program prints, run in `folder` where the package is the installed one."""
    script = folder / "program.py"
    script.write_text(program)
    # PYTHONPATH comes before an editable install; the repository is on no path.
    flags = f"{os.environ['XLA_FLAGS']} {LITTLE_OPTIMISATION}"
    environment = os.environ | {"PYTHONPATH": str(site), "XLA_FLAGS": flags}
    return run([sys.executable, "-P", str(script), str(site)], cwd=folder, env=environment)


@pytest.mark.slow
def test_every_installed_module_can_be_imported(site, tmp_path):
    lines = run_installed(IMPORTS, site, tmp_path).splitlines()
    imported = dict(line.split(" ", 1) for line in lines)
    assert all(site in Path(file).parents for file in imported.values())
    sources = [path.relative_to(site) for path in site.joinpath("dimp_jax").rglob("*.py")]
    names = {".".join(p.with_suffix("").parts).removesuffix(".__init__") for p in sources}
    assert names == {*imported, *SCRIPTS, "dimp_jax"}


@pytest.mark.slow
def test_the_installed_command_evaluates(site, tmp_path):
    """The console script; there is no evaluate.py here."""
    command = [sys.executable, "-P", str(site / "bin" / "dimp-jax")]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(site)}}
    text = run([*command, "--help"], **options)
    assert text.startswith("usage: dimp-jax COMMAND") and "\n  evaluate " in text
    assert "--save-video" in run([*command, "evaluate", "--help"], **options)


@pytest.mark.long
def test_the_installed_tracker_tracks_with_its_own_weights(site, tmp_path):
    if not shipped.file_of("dimp_lite0").is_file():
        pytest.skip("there are no trained weights yet: python -m dimp_jax.convert RUN FILE")
    output = run_installed(PROGRAM, site, tmp_path)
    assert output.startswith("box ") and len(output.split()) == 5
