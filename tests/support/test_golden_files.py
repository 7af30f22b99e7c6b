"""A directory with another subset of the recordings: what it lacks is skipped, with its name."""

import json

import numpy as np
import pytest

from tests.support import golden_files


@pytest.fixture
def subset(tmp_path, monkeypatch):
    monkeypatch.setattr(golden_files, "GOLDEN_DIR", tmp_path)
    np.savez(tmp_path / "some.npz", **{"a/x": np.ones(3, np.float32), "y__f64": np.ones(2)})
    (tmp_path / "some.json").write_text(json.dumps({"a": {"flag": "normal"}}))
    return golden_files.Recording(tmp_path / "some.npz")


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda golden: golden["b/x"], "b/x of some.npz"),
        (lambda golden: golden.check("b/x", np.ones(3)), "b/x of some.npz"),
        (lambda golden: golden.check("a/x", np.ones(3), noisy=True), "a/x of noise_some.json"),
        (lambda golden: golden_files.recorded_json("some")["b"], "b of some.json"),
        (lambda golden: golden_files.recorded_json("some")["a"]["shift"], "shift of some.json"),
        (lambda golden: golden_files.recorded_json("other"), "other.json"),
        (lambda golden: golden_files.recording.__wrapped__("other"), "other.npz"),
    ],
)
def test_what_is_absent_is_skipped_by_name(subset, monkeypatch, ask, name):
    with pytest.raises(pytest.skip.Exception, match=f"no {name} in"):
        ask(subset)
    # Of the recordings beside the tests, which are complete, nothing is skipped.
    monkeypatch.setattr(golden_files, "LOCAL_DIR", golden_files.GOLDEN_DIR)
    with pytest.raises(pytest.fail.Exception, match=f"no {name} in"):
        ask(subset)


def test_what_is_there_is_compared(subset):
    subset.check("a/x", np.ones(3))
    subset.check("y", np.ones(2))
    with pytest.raises(AssertionError, match="a/x: off by 1, tolerance 1e-05"):
        subset.check("a/x", np.array([1, 2, 1]))
    assert golden_files.cases("some") == ["a"]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (lambda: golden_files.cases("some", "b/"), "b/* of some.npz"),
        (lambda: golden_files.leaves("some", "a/", lambda leaf: leaf != "x"), "a/* of some.npz"),
        (lambda: golden_files.files("trace_*.npz"), "trace_*.npz"),
    ],
)
def test_no_case_is_one_skipped_test(subset, parameters, name):
    (parameter,) = parameters()
    (mark,) = parameter.marks
    assert mark.name == "skip" and mark.kwargs["reason"].startswith(f"no {name} in")


def test_noise_of_each_iterate(subset):
    subset.noise["a/x"] = [[1e-3, 1e-6, 1e-3], 1.0]
    subset.check("a/x", np.array([1.01, 1, 1]), noisy=True)
    with pytest.raises(AssertionError, match="off by 0.01, tolerance 2e-05"):
        subset.check("a/x", np.array([1, 1.01, 1]))
