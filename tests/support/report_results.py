"""Small results folders for the tests of the report."""

import dataclasses

import numpy as np

from dimp_jax.evaluation import identity, inputs, results
from tests.media.test_sequences import make_sequence, target_box

ODD = "b & <i>c"  # a name that must not become markup
NAMES = ("a1", ODD, "d")
FRAMES = 8


def make_data(directory):
    """Three sequences of eight frames whose target moves by 1 px a frame."""
    for name in NAMES:
        make_sequence(directory / name, count=FRAMES)
    return directory


def make_results(out, data, *, shift_px=0.0, decode_s=None, names=NAMES, run=0, **config):
    """What a tracker leaves whose boxes are off by `shift_px` in the first sequence, by twice that
    in the second, and so on; the first box is right."""
    described = inputs.describe(inputs.Source(data=str(data)), checkpoint=None)
    identity.make_folder(out, config=config, inputs=described)
    folder = results.run_folder(out, run)
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(NAMES, 1):
        if name not in names:
            continue
        boxes = np.array([target_box(i) for i in range(FRAMES)])
        boxes[1:, 0] += number * shift_px
        times_s = np.full(FRAMES, 0.020)
        times_s[0] = 0.5
        decode = None if decode_s is None else np.full(FRAMES, decode_s)
        results.write_sequence(folder, name, boxes, times_s, decode)
    return out


def with_attributes(loaded):
    """The loaded sequences as if their data set named challenges."""
    named = {"a1": ("blur",), ODD: ("blur", "<b>dark"), "d": ()}
    found = [dataclasses.replace(s, attributes=named[s.name]) for s in loaded.sequences]
    return loaded._replace(sequences=found)
