"""Reads the recorded numbers: every case in `$DIMP_GOLDENS` (default: tests/goldens) is run.

The storage convention (`K`, or `K__sub` with its stride, shape and statistics) is that of the
recordings; see tests/goldens/README.md.
"""

import functools
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

LOCAL_DIR = Path(__file__).parents[1] / "goldens"
GOLDEN_DIR = Path(os.environ.get("DIMP_GOLDENS", LOCAL_DIR)).resolve()
SUFFIXES = ("__sub", "__stride", "__shape", "__stats", "__f64")


def _load_inputs():
    path = GOLDEN_DIR / "golden_inputs.py"
    spec = importlib.util.spec_from_file_location(
        "golden_inputs", path if path.is_file() else LOCAL_DIR / "golden_inputs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inputs = _load_inputs()


class Recording:
    """One .npz of recorded arrays, compared by key."""

    def __init__(self, path):
        with np.load(path) as archive:
            self.arrays = {key: archive[key] for key in archive.files}
        noise = path.with_name(f"noise_{path.stem}.json")
        self.noise = json.loads(noise.read_text()) if noise.is_file() else {}

    def keys(self, prefix=""):
        """The recorded array names that start with `prefix`, storage suffixes removed, in order."""
        names = {}
        for key in self.arrays:
            for suffix in SUFFIXES:
                key = key.removesuffix(suffix)
            if key.startswith(prefix):
                names[key] = None
        return list(names)

    def cases(self, prefix="", depth=1):
        """The distinct first `depth` path components below `prefix`."""
        parts = (key[len(prefix) :].split("/") for key in self.keys(prefix))
        return list(dict.fromkeys("/".join(p[:depth]) for p in parts if len(p) > depth))

    def __contains__(self, key):
        return any(key + suffix in self.arrays for suffix in ("", "__sub", "__f64"))

    def __getitem__(self, key):
        """A fully stored array."""
        return self.arrays[key] if key in self.arrays else self.arrays[key + "__f64"]

    def check(self, key, actual, *, rtol=1e-5, atol=0.0, noise_key=None):
        """Asserts that `actual` is the recorded `key`.

        The tolerance is max(20 x the reference's own rounding noise, rtol x absmax, atol).
        `noise_key` names the recording whose noise counts where `key` has none of its own.
        """
        actual = np.asarray(actual)
        if key + "__sub" in self.arrays:
            shape = tuple(self.arrays[key + "__shape"])
            assert actual.shape == shape, f"{key}: shape {actual.shape}, recorded {shape}"
            expected = self.arrays[key + "__sub"].astype(np.float64)
            stats = self.arrays[key + "__stats"]
            got = actual.reshape(-1)[:: int(self.arrays[key + "__stride"])].astype(np.float64)
            absmax = float(stats[2])
        else:
            expected = np.asarray(self[key], np.float64)
            stats = None
            assert actual.shape == expected.shape, (
                f"{key}: shape {actual.shape}, recorded {expected.shape}"
            )
            got = actual.astype(np.float64)
            absmax = float(np.max(np.abs(expected), initial=0.0))
        noise = self.noise.get(key) or self.noise.get(noise_key) or (0.0,)
        tolerance = max(20 * noise[0], rtol * absmax, atol)
        error = float(np.max(np.abs(got - expected), initial=0.0))
        assert error <= tolerance, (
            f"{key}: off by {error:.3g}, tolerance {tolerance:.3g} (absmax {absmax:.3g})"
        )
        if stats is not None:
            values = actual.astype(np.float64)
            for name, value, recorded in (
                ("mean", values.mean(), stats[0]),
                ("std", values.std(), stats[1]),
                ("absmax", np.abs(values).max(), stats[2]),
            ):
                assert abs(value - recorded) <= tolerance, f"{key}: {name} {value}, {recorded}"


@functools.cache
def recording(name):
    """The recording `name`.npz; skips the test, with the reason, if it is not there."""
    path = GOLDEN_DIR / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {name}.npz in {GOLDEN_DIR}")
    return Recording(path)


def cases(name, prefix="", depth=1):
    """Test parameters: the cases of one recording, none if the file is absent."""
    path = GOLDEN_DIR / f"{name}.npz"
    return Recording(path).cases(prefix, depth) if path.is_file() else []


def leaves(name, prefix):
    """Test parameters: what follows `prefix` in the array names of one recording."""
    path = GOLDEN_DIR / f"{name}.npz"
    return [k.removeprefix(prefix) for k in Recording(path).keys(prefix)] if path.is_file() else []


@functools.cache
def state_dict(model):
    """The synthetic weights of `model` ("dimp18", ...), as a torch-style state dict of numpy."""
    path = GOLDEN_DIR / f"weights_{model}.json"
    if not path.is_file():
        path = LOCAL_DIR / path.name
    sigma = 0.25 / 6 * 22 if model == "super_dimp" else 0.25 / 5 * 18
    step, reg = (1.0, 0.05) if model.startswith("prdimp") else (0.9, 0.1)
    weights = {}
    for name, shape, kind in json.loads(path.read_text()):
        base = None
        if kind == "optimizer":
            leaf = name.removeprefix("classifier.filter_optimizer.")
            base = inputs.optimizer_base(leaf, step, reg, sigma)
        weights[name] = inputs.gen_weight(name, tuple(shape), kind, base)
    return weights
