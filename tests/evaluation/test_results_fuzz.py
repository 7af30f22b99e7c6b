"""Result files of any content: read whole, or not taken for results."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimp_jax.evaluation import inputs, results
from dimp_jax.evaluation.exchange import layouts
from dimp_jax.media.images import InputError
from dimp_jax.media.text import read_rows
from tests.media.test_text_fuzz import BOX, contents, fuzz, lines_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@fuzz
@given(content=contents, times=contents)
def test_own_results(folder, content, times):
    (folder / "s.txt").write_bytes(content)
    (folder / "s_time.txt").write_bytes(times)
    read = results.read_sequence(folder, "s")
    assert results.read_decode_times(folder, "none") is None
    if read is not None:
        boxes, times_s = read
        assert boxes.shape == (len(times_s), 4) and np.isfinite(boxes).all()
        assert all(BOX.fullmatch(line) for line in content.decode().splitlines())


@fuzz
@given(cut=st.integers(0, 60), byte=st.integers(0, 255))
def test_damaged_results_are_not_read(folder, cut, byte):
    """A file that was cut, or one byte of it changed: no result, or four finite numbers a line."""
    results.write_sequence(folder, "d", np.arange(12.0).reshape(3, 4), np.ones(3))
    path = folder / "d.txt"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    assert results.read_sequence(folder, "d") is None or cut >= len(whole)
    path.write_bytes(whole[:cut] + bytes([byte]) + whole[cut + 1 :])
    read = results.read_sequence(folder, "d")
    assert read is None or (read[0].shape == (3, 4) and np.isfinite(read[0]).all())


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=2)
    ),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from([field.name for field in dataclasses.fields(inputs.Source)]), values, min_size=1
)


@fuzz
@given(content=st.one_of(fields.map(json.dumps), values.map(json.dumps), st.text(max_size=20)))
def test_description_of_the_input(folder, content):
    (folder / "input.json").write_text(content, encoding="utf-8", errors="replace")
    try:
        inputs.reload(folder)
    except InputError as error:
        assert str(error)
    else:  # it names nothing: the demo
        assert not any(json.loads(content).get(name) for name in ("data", "video", "dataset"))


@fuzz
@given(content=contents, times=contents)
def test_results_of_other_trackers(folder, content, times):
    (folder / "o.txt").write_bytes(content)
    (folder / "o_time.txt").write_bytes(times)
    try:
        boxes = read_rows(folder / "o.txt", finite=True)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert all(BOX.fullmatch(line) for line in lines_of(content)) and np.isfinite(boxes).all()
    files = layouts.Files(folder / "o.txt", folder / "o_time.txt")
    times_s = layouts.read_times(files, len(boxes))
    assert times_s is None or times_s.shape == (len(boxes),)
