"""Reads the recorded numbers: every case in `$DIMP_GOLDENS` (default: tests/goldens) is run.

What another directory lacks skips the test that asks for it, with its name. tests/goldens lacks
nothing that a test asks for: there it is an error.

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

LOCAL_DIR = Path(__file__).resolve().parents[1] / "goldens"
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


def absent(what):
    """Skips the test, or the module that is being imported, since the directory lacks `what`."""
    message = f"no {what} in {GOLDEN_DIR}"
    if GOLDEN_DIR == LOCAL_DIR:
        pytest.fail(message)
    pytest.skip(message)


class Recorded(dict):
    """What one file holds by name; the test that asks for more is skipped."""

    def __init__(self, file, items):
        super().__init__(items)
        self.file = file

    def __missing__(self, key):
        absent(f"{key} of {self.file}")


def recorded_json(name):
    """What `name`.json holds; skips the test, with the reason, if it is not there."""
    path = GOLDEN_DIR / f"{name}.json"
    if not path.is_file():
        absent(path.name)
    return json.loads(path.read_text(), object_hook=functools.partial(Recorded, path.name))


class Recording:
    """One .npz of recorded arrays, compared by key."""

    def __init__(self, path):
        with np.load(path) as archive:
            self.arrays = Recorded(path.name, {key: archive[key] for key in archive.files})
        # The reference's noise is the same whichever directory holds it.
        self.noise = Recorded(f"noise_{path.stem}.json", {})
        for directory in (LOCAL_DIR, path.parent):
            noise = directory / f"noise_{path.stem}.json"
            self.noise |= json.loads(noise.read_text()) if noise.is_file() else {}

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
        return self.arrays[key + "__f64" if key + "__f64" in self.arrays else key]

    def shape(self, key):
        return tuple(
            self.arrays[f"{key}__shape"] if f"{key}__sub" in self.arrays else self[key].shape
        )

    def check(self, key, actual, *, rtol=1e-5, atol=0.0, noise_key=None, noisy=False):
        """Asserts that `actual` is the recorded `key`.

        The tolerance is max(20 x the reference's own rounding noise, rtol x absmax, atol); the
        noise may be that of each element. `noise_key` names the recording whose noise counts
        where `key` has none of its own. Where a result is `noisy`, no tolerance is known without
        its noise, and the test is skipped.
        """
        actual = np.asarray(actual)
        shape = self.shape(key)
        assert actual.shape == shape, f"{key}: shape {actual.shape}, recorded {shape}"
        if key + "__sub" in self.arrays:
            expected = self.arrays[key + "__sub"].astype(np.float64)
            stats = self.arrays[key + "__stats"]
            got = actual.reshape(-1)[:: int(self.arrays[key + "__stride"])].astype(np.float64)
            absmax = float(stats[2])
        else:
            expected = np.asarray(self[key], np.float64)
            stats = None
            got = actual.astype(np.float64)
            absmax = float(np.max(np.abs(expected), initial=0.0))
        noise = self.noise.get(key) or self.noise.get(noise_key)
        if noise is None:
            noise = self.noise[key] if noisy else (0.0,)
        tolerance = np.maximum(20 * np.asarray(noise[0]), max(rtol * absmax, atol))
        error = np.abs(got - expected)
        within = error <= tolerance
        assert within.all(), (
            f"{key}: off by {error[~within].max():.3g}, tolerance "
            f"{np.broadcast_to(tolerance, error.shape)[~within].min():.3g} (absmax {absmax:.3g})"
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
        absent(path.name)
    return Recording(path)


def or_skipped(values, what):
    """Test parameters: `values`, or a single one that is skipped for want of `what`."""
    if values:
        return values
    if GOLDEN_DIR == LOCAL_DIR:
        absent(what)
    reason = f"no {what} in {GOLDEN_DIR}"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def _parameters(name, prefix, of):
    path = GOLDEN_DIR / f"{name}.npz"
    values = of(Recording(path)) if path.is_file() else []
    return or_skipped(values, f"{prefix}* of {path.name}")


def cases(name, prefix="", depth=1, only=lambda case: True):
    """Test parameters: the cases of one recording that are `only`."""
    return _parameters(name, prefix, lambda r: [c for c in r.cases(prefix, depth) if only(c)])


def long_where(parameters, is_long):
    """Test parameters, those that are long marked so."""
    mark = lambda p: pytest.param(p, marks=pytest.mark.long) if is_long(p) else p
    return [mark(p) if isinstance(p, str) else p for p in parameters]


def leaves(name, prefix, only=lambda leaf: True):
    """Test parameters: what follows `prefix` in the array names of one recording."""
    after = lambda r: [key.removeprefix(prefix) for key in r.keys(prefix)]
    return _parameters(name, prefix, lambda r: [leaf for leaf in after(r) if only(leaf)])


def files(pattern, only=lambda name: True):
    """Test parameters: the names, without the suffix, of the files that match and are `only`."""
    names = sorted(path.stem for path in GOLDEN_DIR.glob(pattern) if only(path.stem))
    return or_skipped(names, pattern)


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
