"""Sampler, jitter and proposals against the recorded draws; every case of the files is run.

Both streams of a tag are repeated, so these also hold the order of the random calls.
"""

import re

import numpy as np
import pytest

from dimp_jax.config.training import CropConfig, ProposalConfig, SamplerConfig
from dimp_jax.data import jitter, proposals
from dimp_jax.data.draws import Draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.geometry import box_mixture
from tests.support.golden_files import cases, inputs, leaves, recording

pytestmark = pytest.mark.golden

WEIGHTS = (1.0, 1.0, 0.5)  # of the recorded sources, by name
LENGTHS = {"A": 7, "B": 5, "C": 9}  # sequences of each
SIGMAS = ProposalConfig().sigmas
MIXTURE_STDS, TRUE_STD = ((0.05, 0.05), (0.5, 0.5)), (0.05, 0.05)


def draws_of(tag):
    return Draws(*(np.random.RandomState(inputs.crc(f"{tag}/{stream}")) for stream in "UZ"))


class RecordedSource:
    def __init__(self, rec, name):
        self.name = name
        self.vectors = [rec[f"sampler/vis/{name}/{i}"].astype(bool) for i in range(LENGTHS[name])]
        self.is_video = any(len(vector) > 1 for vector in self.vectors)

    def __len__(self):
        return len(self.vectors)

    def visible(self, sequence):
        # The recorded sampler draws images without a look at their visibility; ours does look.
        vector = self.vectors[sequence]
        return vector if self.is_video else np.ones_like(vector)


@pytest.mark.parametrize(
    "case", leaves("s_sampling", "sampler/", lambda leaf: not leaf.startswith("vis/"))
)
def test_sampler(case):
    rec = recording("s_sampling")
    mode, gap = re.fullmatch(r"(\w+)_gap(\d+)", case).groups()
    sources = tuple(RecordedSource(rec, name) for name in LENGTHS)
    sampler = Sampler(sources, WEIGHTS, SamplerConfig(mode=mode, max_gap=int(gap)))
    draws = draws_of(f"s/sampler/{mode}{gap}")
    rows = []
    for _ in range(len(rec[f"sampler/{case}"])):
        drawn = sampler.draw(draws)
        # The recorded id of the only frame of an image is 1, counted from 0 in videos.
        first = 0 if sources[drawn.source].is_video else 1
        ids = [first + i for i in (*drawn.train_ids, *drawn.test_ids)]
        rows.append([drawn.source, drawn.sequence, *ids])
    np.testing.assert_array_equal(rows, rec[f"sampler/{case}"])


def test_jitter():
    """The train boxes first, then the test boxes, from one stream."""
    rec, draws, crop = recording("s_sampling"), draws_of("s/jitter"), CropConfig()
    options = {
        "train": (crop.train_center_jitter, crop.train_scale_jitter),
        "test": (crop.test_center_jitter, crop.test_scale_jitter),
    }
    assert set(rec.keys("jitter/")) <= {f"jitter/{group}" for group in options}
    for group, args in options.items():
        per_box = len(rec[f"jitter/{group}"]) // len(rec["boxes"])
        boxes = [
            jitter.jitter_box(box, *args, draws) for box in rec["boxes"] for _ in range(per_box)
        ]
        rec.check(f"jitter/{group}", np.array(boxes))


@pytest.mark.parametrize("case", cases("s_sampling", only=lambda c: c.startswith("perturb")))
def test_perturb(case):
    """ "perturb" draws a sigma for each box; "perturb_hard" asks for 0.8 with the one sigma 0.4."""
    rec, draws = recording("s_sampling"), draws_of(f"s/{case}")
    count = len(rec[f"{case}/out"]) // len(rec["boxes"])
    boxes, overlaps = [], []
    for box in rec["boxes"]:
        if case == "perturb":
            drawn, overlap = proposals.perturbed_proposals(box, count, 0.1, SIGMAS, draws)
        else:
            pairs = [proposals.perturb_box(box, 0.8, 0.4, draws) for _ in range(count)]
            drawn, overlap = zip(*pairs, strict=True)
        boxes.extend(drawn)
        overlaps.extend(overlap)
    rec.check(f"{case}/out", np.array(boxes))
    rec.check(f"{case}/iou", np.array(overlaps))


def check_density(recorded, log_density):
    """Every recorded density, also one far below the largest."""
    seen = recorded > 1e-30  # below, float32 has no digits left
    np.testing.assert_allclose(np.exp(log_density[seen], dtype=np.float64), recorded[seen], 2e-5)
    assert (log_density[~seen] < np.log(1e-29)).all()


def test_mixture_proposals():
    """All boxes from one stream; some were recorded with the true box put before the proposals."""
    rec, draws = recording("s_sampling"), draws_of("s/gmm")
    for index, true_box in enumerate(rec["boxes"]):
        key = f"gmm/{index}/"
        added = int(rec[key + "density"][0] == -1)
        recorded = {name: rec[key + name] for name in ("boxes", "density", "gt_density")}
        if added:
            np.testing.assert_array_equal(recorded["boxes"][0], true_box)
        count = len(recorded["boxes"]) - added
        boxes, log_density, target = proposals.mixture_proposals(
            true_box, count, MIXTURE_STDS, TRUE_STD, draws
        )
        absmax = np.abs(recorded["boxes"]).max()
        np.testing.assert_allclose(boxes, recorded["boxes"][added:], rtol=0, atol=1e-5 * absmax)
        check_density(recorded["density"][added:], log_density.astype(np.float64))
        np.testing.assert_allclose(
            target, recorded["gt_density"][added:], rtol=2e-5, atol=1e-30, err_msg=key
        )


def test_mixture_density():
    rec = recording("b_layers")
    offset = rec["gmm/x"].astype(np.float64)
    check_density(rec["gmm/density"], box_mixture.mixture_log_density(offset, MIXTURE_STDS))
    check_density(rec["gmm/gt_density"], box_mixture.gaussian_log_density(offset, TRUE_STD))
