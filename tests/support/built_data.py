"""Builds small data sets for tests, and looks at what came of it."""

import cv2
import numpy as np

from dimp_jax.data import records, records_index
from dimp_jax.data.build import __main__ as build


def build_split(builder, source, out, *options):
    """Builds in this process and opens the result."""
    argv = [builder, "--source", str(source), "--out", str(out), "--workers", "1", *options]
    assert build.main(argv) == 0
    split = options[options.index("--split") + 1] if "--split" in options else "train"
    return records.open_source(out, builder, split, min_box_px=0)


def problems(out, name, split="train"):
    return records_index.read_problems(records_index.split_directory(out, name, split))


def refused(capsys, builder, source, out, *options):
    """The one line that a build ends with; nothing may have been written."""
    argv = [builder, "--source", str(source), "--out", str(out), "--workers", "1", *options]
    assert build.main(argv) == 2
    assert not list(out.rglob("*")), "something was written"
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("build: error: ")
    return error


def check_images(source, sequence, paths):
    """Every frame of a sequence is the image of its file."""
    frames = source.read(sequence, range(len(paths)))
    for frame, path in zip(frames, paths, strict=True):
        np.testing.assert_array_equal(frame.image, cv2.imread(str(path))[..., ::-1])
        assert frame.box_xywh.dtype == np.float32
