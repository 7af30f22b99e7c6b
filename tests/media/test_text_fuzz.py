"""Ground-truth files and `--box` of any content: four finite numbers, or one line that refuses."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dimp_jax.data.builders import annotation_files
from dimp_jax.media import sequences
from dimp_jax.media.first_box import checked_box
from dimp_jax.media.images import InputError
from tests.media.test_sequences import SIZE_HW, make_sequence

fuzz = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
NAN = r"[+-]?[nN][aA][nN]"
ROW = r"\s*{0}(\s*[,\s]\s*{0}){{3}}\s*"
BOX, ABSENT = re.compile(ROW.format(NUMBER)), re.compile(ROW.format(NAN))

words = st.one_of(
    st.integers(-5, 70).map(str),
    st.floats(-100, 100).map(repr),
    st.sampled_from(
        [
            "nan",
            "inf",
            "-inf",
            "1e400",
            "",
            "x",
            "1_0",
            "0x10",
            "--1",
            "1.2.3",
            "None",
            "\u0663",
            ";",
        ]
    ),
)
separators = st.sampled_from([",", "\t", " ", ", ", " , ", ",,", ";", "\xa0"])
rows = st.builds(
    lambda separator, row: separator.join(row), separators, st.lists(words, max_size=6)
)
boxes = st.builds(
    lambda row: ",".join(map(str, row)), st.lists(st.integers(0, 40), min_size=4, max_size=4)
)
texts = st.lists(st.one_of(boxes, boxes, rows), max_size=4).map("\n".join)
contents = st.one_of(
    st.binary(max_size=60), texts.map(str.encode), texts.map(lambda t: t.encode() + b"\r\n")
)


def lines_of(content):
    return content.decode("utf-8-sig").rstrip().splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sequence(tmp_path_factory.mktemp("fuzz") / "s", count=2)


@fuzz
@given(content=contents)
def test_ground_truth(folder, content):
    path = folder / "groundtruth.txt"
    path.write_bytes(content)
    try:
        sequence = sequences.load_sequence(folder)
    except InputError as error:
        assert "\n" not in str(error)
        return
    lines = lines_of(content)
    assert len(lines) in (1, 2) and BOX.fullmatch(lines[0])
    assert np.isfinite(sequence.init_box).all() and (sequence.init_box[2:] > 0).all()
    for line, box in zip(lines, sequence.groundtruth if len(lines) == 2 else (), strict=False):
        if ABSENT.fullmatch(line):
            assert np.isnan(box).all()
        else:
            assert BOX.fullmatch(line)
            values = [float(value) for value in re.split(r"\s*[,\s]\s*", line.strip())]
            assert box.tolist() == values or min(values[2:]) <= 0 and np.isnan(box).all()


@fuzz
@given(content=contents)
def test_annotation_of_training_data(folder, content):
    path = folder.parent / "boxes.txt"
    path.write_bytes(content)
    try:
        boxes_xywh, present, problems = annotation_files.read_boxes(path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for line, box, is_box in zip(lines_of(content), boxes_xywh, present, strict=True):
        assert not is_box or (BOX.fullmatch(line) and np.isfinite(box).all() and min(box[2:]) > 0)
    malformed = sum(
        not (BOX.fullmatch(line) or ABSENT.fullmatch(line)) for line in lines_of(content)
    )
    assert sum(problem.count for problem in problems) >= malformed


@fuzz
@given(text=st.one_of(st.text(max_size=20), rows, boxes))
def test_box_option(text):
    try:
        box = checked_box(sequences.parse_box(text), SIZE_HW)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert BOX.fullmatch(text)
    assert box.tolist() == [float(value) for value in re.split(r"\s*[,\s]\s*", text.strip())]


numbers = st.one_of(
    st.floats(), st.integers(-(10**6), 10**6), st.none(), st.text(max_size=3), st.booleans()
)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=5), max_leaves=8)


@fuzz
@given(box=st.one_of(nested, st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)))
def test_box_of_the_api(box):
    try:
        checked = checked_box(box, SIZE_HW)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert checked.shape == (4,) and np.isfinite(checked).all() and np.size(box) == 4
