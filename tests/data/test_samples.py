"""One sample: shapes, crops and boxes that agree, each random change, broken images, refusals."""

import dataclasses
import logging
import subprocess
import sys

import numpy as np
import pytest

from dimp_jax.config.training import CropConfig, DataConfig, ProposalConfig, SamplerConfig
from dimp_jax.data import jitter, samples
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.source import BrokenFrame, Frame

NO_JITTER = CropConfig(
    size_px=64,
    train_center_jitter=0.0,
    train_scale_jitter=0.0,
    test_center_jitter=0.0,
    test_scale_jitter=0.0,
    grayscale_probability=0.0,
    brightness_jitter=0.0,
)


class Squares:
    """A red square on blue that moves right, two pixels a frame; notes what was read."""

    name = "squares"
    is_video = True

    def __init__(self, count=3, length=30, broken=(), box=None):
        self.count, self.length, self.broken, self.box = count, length, broken, box
        self.reads = []

    def __len__(self):
        return self.count

    def visible(self, sequence):
        return np.ones(self.length, bool)

    def read(self, sequence, frame_ids):
        self.reads.append(tuple(frame_ids))
        if sequence in self.broken:
            raise BrokenFrame(f"squares/{sequence}/000001.jpg")
        frames = []
        for frame_id in frame_ids:
            image = np.zeros((90, 160, 3), np.uint8)
            image[..., 2] = 200
            x = 40 + 2 * frame_id
            image[30:42, x : x + 12] = (250, 0, 0)
            box = np.array((x, 30, 12, 12) if self.box is None else self.box, np.float32)
            frames.append(Frame(image, box))
        return frames


def make(source=None, index=0, *, training=True, broken=None, sampler=None, **parts):
    data = DataConfig(**{"crop": NO_JITTER, **parts})
    samples.check_config(data)
    sampler = Sampler((source or Squares(),), (1.0,), sampler or SamplerConfig())
    broken = samples.BrokenFrames() if broken is None else broken
    return samples.make_sample(
        sampler, data, sample_draws(7, index), training=training, broken=broken
    )


def center_of_red(crop):
    """(x, y) of the red pixels' middle, pixel centres on integers."""
    rows, columns = np.nonzero(crop[..., 0] > 125)
    return columns.mean(), rows.mean()


def assert_equal(first, second):
    for name, a, b in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("kind", ["perturb", "gaussian_mixture"])
@pytest.mark.parametrize("arithmetic", ["2019", "2020"])
def test_shapes_and_types(kind, arithmetic):
    sample = make(
        crop=CropConfig(size_px=48, arithmetic=arithmetic, flip_probability=0.5),
        proposals=ProposalConfig(kind=kind, count=5),
        sampler=SamplerConfig(train_frames=2, test_frames=4),
    )
    shapes = {
        "train_crops": (2, 48, 48, 3),
        "train_box": (2, 4),
        "train_brightness": (2,),
        "test_crops": (4, 48, 48, 3),
        "test_box": (4, 4),
        "test_brightness": (4,),
        "proposals": (4, 5, 4),
        "proposal_value": (4, 5),
        "proposal_target": (4, 5),
    }
    for name, shape in shapes.items():
        array = getattr(sample, name)
        assert array.shape == shape, name
        assert array.dtype == (np.uint8 if "crops" in name else np.float32), name
        assert np.isfinite(array).all(), name
    assert (sample.proposal_target > 0).any() == (kind == "gaussian_mixture")


def test_without_jitter_the_target_is_centred():
    sample = make()
    for crop, box in zip(
        (*sample.train_crops, *sample.test_crops),
        (*sample.train_box, *sample.test_box),
        strict=True,
    ):
        np.testing.assert_allclose(box, (31.5 - 6.4, 31.5 - 6.4, 12.8, 12.8), rtol=1e-5)
        np.testing.assert_allclose(center_of_red(crop), (31.5, 31.5), atol=0.6)
    # One sequence, and the same box in every crop: the proposals differ, not their range.
    assert ((sample.proposal_value > 0.1) & (sample.proposal_value <= 1)).all()


# Where the box's centre lies, seen from the middle of its pixels, and how far the two flips of
# flip_probability=1 move it: the first is one image pixel, 64 / 60 of a crop's, too far left, and
# the second mirrors that; in "2020" it mirrors the half pixel as well, and is itself one too far.
@pytest.mark.parametrize(
    "arithmetic,flip,shift_x,shift_y",
    [
        ("2019", 0.0, 0.0, 0.0),
        ("2019", 1.0, 64 / 60, 0.0),
        ("2020", 0.0, 0.5, 0.5),
        ("2020", 1.0, 64 / 60 - 0.5, 0.5),
    ],
)
def test_boxes_follow_their_pixels(arithmetic, flip, shift_x, shift_y):
    crop = dataclasses.replace(
        NO_JITTER, arithmetic=arithmetic, flip_probability=flip, test_center_jitter=2.0
    )
    offsets = []
    for index in range(30):
        sample = make(index=index, crop=crop, training=True)
        for image, box in zip(sample.test_crops, sample.test_box, strict=True):
            offsets.append(box[:2] + box[2:] / 2 - center_of_red(image))
    offsets = np.array(offsets) - (shift_x, shift_y)
    # Windows of "2019" are rounded to pixels, their boxes are not.
    assert np.abs(offsets).max() < 1.2
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=0.15)


def test_a_whole_sample_is_mirrored_in_validation_too():
    crop = dataclasses.replace(NO_JITTER, flip_probability=1.0, search_area_scale=12.0)
    plain = make(crop=dataclasses.replace(crop, flip_probability=0.0), training=False)
    mirrored = make(crop=crop, training=False)
    assert not np.array_equal(plain.train_crops, mirrored.train_crops)
    both = make(crop=crop, training=True)  # once as a sample, once as a frame
    np.testing.assert_allclose(both.train_box, plain.train_box, atol=1.0)


def test_grayscale_is_of_the_whole_sample():
    colours = {}
    for index in range(40):
        crop = dataclasses.replace(NO_JITTER, grayscale_probability=0.5)
        sample = make(index=index, crop=crop)
        crops = (*sample.train_crops, *sample.test_crops)
        gray = {bool((image == image[..., :1]).all()) for image in crops}
        assert len(gray) == 1
        colours[gray.pop()] = crops[0]
    assert set(colours) == {True, False}
    assert (np.unique(colours[True][0, 0]) == 23).all()  # luma of (0, 0, 200)


def test_brightness_is_for_training():
    crop = dataclasses.replace(NO_JITTER, brightness_jitter=0.2)
    sample = make(crop=crop)
    factors = (*sample.train_brightness, *sample.test_brightness)
    assert len(set(factors)) == 6 and all(0.8 <= f <= 1.2 for f in factors)
    sample = make(crop=crop, training=False)
    assert set((*sample.train_brightness, *sample.test_brightness)) == {1.0}


def test_a_sample_is_a_function_of_its_draws():
    crop = CropConfig(size_px=64)
    assert_equal(make(index=3, crop=crop), make(index=3, crop=crop))
    other = make(index=4, crop=crop)
    assert not np.array_equal(make(index=3, crop=crop).train_box, other.train_box)


def test_every_image_is_decoded_once():
    source = Squares(length=20)
    for index in range(40):
        make(source, index)
    assert all(len(set(ids)) == len(ids) for ids in source.reads)
    assert min(len(ids) for ids in source.reads) < 6  # frames were repeated


def test_a_broken_image_is_counted_named_once_and_replaced(caplog):
    source, broken = Squares(count=2, broken=(0,)), samples.BrokenFrames()
    with caplog.at_level(logging.WARNING):
        first = [make(source, index, broken=broken) for index in range(20)]
    assert broken.counts.keys() == {"squares/0/000001.jpg"}
    assert broken.counts["squares/0/000001.jpg"] > 5
    assert [r.getMessage() for r in caplog.records] == [
        "left out, and another sequence drawn: squares/0/000001.jpg"
    ]
    again = [make(source, index) for index in range(20)]
    for a, b in zip(first, again, strict=True):
        assert_equal(a, b)


def test_nothing_but_broken_images_ends_with_an_error():
    with pytest.raises(BrokenFrame, match="100 sequences .*last: squares/.*dimp_jax.data.check"):
        make(Squares(broken=(0, 1, 2)))


@pytest.mark.parametrize("box", [(1, 2, 0, 5), (1, 2, 3, -5), (np.nan, 2, 3, 4)])
def test_a_visible_frame_needs_a_box(box):
    with pytest.raises(
        ValueError, match=r"source 'squares', sequence \d+, frame \d+: box .*visible"
    ):
        make(Squares(box=box))


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (158.5, 88.5, 1.5, 1.5), (-20, -20, 400, 400)])
@pytest.mark.parametrize("kind", ["perturb", "gaussian_mixture"])
def test_boxes_at_and_over_the_border_stay_finite(box, kind):
    sample = make(
        Squares(box=box), crop=CropConfig(size_px=32), proposals=ProposalConfig(kind=kind)
    )
    assert all(np.isfinite(array).all() for array in sample)
    assert (sample.proposals[..., 2:] > 0).all()


@pytest.mark.parametrize(
    "parts,message",
    [
        ({"crop": CropConfig(arithmetic="2021")}, "crop.arithmetic='2021': expected '2019'"),
        ({"crop": CropConfig(border_mode="inside")}, "'inside' needs crop.arithmetic='2020'"),
        ({"crop": CropConfig(border_mode="mirror")}, "border_mode='mirror': expected one of"),
        ({"crop": CropConfig(size_px=0)}, "crop.size_px=0.*expected positive"),
        ({"crop": CropConfig(grayscale_probability=5)}, "grayscale_probability=5: expected"),
        ({"proposals": ProposalConfig(kind="grid")}, "proposals.kind='grid': expected 'perturb'"),
        ({"proposals": ProposalConfig(count=0)}, "proposals.count=0: expected 1"),
        ({"proposals": ProposalConfig(sigmas=())}, "proposals.sigmas is empty"),
        (
            {"proposals": ProposalConfig(kind="gaussian_mixture", true_std=(0.1, 0.0))},
            r"true_std=\(0.1, 0.0\): expected .*positive standard deviations",
        ),
    ],
)
def test_options_are_checked(parts, message):
    with pytest.raises(ValueError, match=message):
        samples.check_config(DataConfig(**parts))


def test_making_samples_loads_neither_jax_nor_flax():
    names = ("samples", "sampler", "draws", "jitter", "proposals", "sources", "source")
    code = f"import sys, {', '.join('dimp_jax.data.' + n for n in names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dimp_jax.data.samples" in loaded
    assert not {"jax", "flax", "grain", "tensorflow_datasets", "torch"} & loaded


def test_a_stretched_frame_takes_its_box_along():
    crop = dataclasses.replace(NO_JITTER, aspect_jitter=0.2, search_area_scale=3.0)
    log_aspects = []
    for index in range(20):
        sample = make(index=index, crop=crop)
        for image, box in zip(sample.test_crops, sample.test_box, strict=True):
            red = image[..., 0].astype(float) / 250
            sides = red.sum(axis=1).max(), red.sum(axis=0).max()
            np.testing.assert_allclose(box[2:], sides, atol=1)
            np.testing.assert_allclose(box[2] * box[3], (64 / 3) ** 2, rtol=0.06)
            log_aspects.append(np.log(box[2] / box[3]))
    assert 0.15 < np.std(log_aspects) < 0.25
    assert len({float(w / h) for w, h in sample.test_box[:, 2:]}) == 3  # each frame on its own


def test_parts_lie_in_the_box_and_are_one_in_all_frames():
    draws = sample_draws(0, 0)
    for _ in range(100):
        x, y, w, h = jitter.part_of((10, 20, 50, 80), draws)
        assert x >= 10 and y >= 20 and x + w <= 60 + 1e-4 and y + h <= 100 + 1e-4
        assert 0.35 * 50 <= w <= 0.85 * 50 and 0.35 * 80 <= h <= 0.85 * 80
    np.testing.assert_array_equal(jitter.part_of((0, 0, 12, 12), draws), (0, 0, 12, 12))

    source = Squares(box=(40, 20, 40, 40))
    source.is_video = False
    sample = make(source, part_probability=1.0)
    boxes = np.concatenate([sample.train_box, sample.test_box])
    np.testing.assert_array_equal(boxes, np.broadcast_to(boxes[:1], boxes.shape))
    # The crop follows the part: with no jitter it is in the middle.
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, 31.5, atol=1e-3)
    assert not np.allclose(boxes[0, 2:], make(source).train_box[0, 2:])
    videos = make(Squares(box=(40, 20, 40, 40)), part_probability=1.0)
    np.testing.assert_allclose(videos.train_box[0, 2], videos.train_box[0, 3], rtol=1e-5)
