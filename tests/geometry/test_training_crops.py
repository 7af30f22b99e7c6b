"""Training crops: recorded crops (exact), the two box maps, quirks, failures."""

import numpy as np
import pytest

from dimp_jax.geometry import training_crops
from tests.support.golden_files import cases, inputs, recording

AREA_FACTOR = 5
# The recorded inside_major crops are limited (548 px = 822 px / 1.5), the inside ones are not.
MAX_SCALE_CHANGE = {"replicate": None, "inside": None, "inside_major": 1.5}


def crop_2019(image, *placing):
    """(crop, box in it) of what `place_2019` places, as published."""
    window, box_xywh = training_crops.place_2019(*placing)
    return crop_of(image, window, placing[3]), box_xywh


def crop_2020(image, *placing, **options):
    window, box_xywh = training_crops.place_2020(image.shape[:2], *placing, **options)
    return crop_of(image, window, placing[3]), box_xywh


def window_2020(image_hw, box_xywh, *placing, **options):
    """(left, top, width, height)."""
    window, _ = training_crops.place_2020(image_hw, box_xywh, box_xywh, *placing, **options)
    return (*window.corner_xy, *window.size_wh)


def crop_of(image, window, output_px):
    return training_crops.resized_window(training_crops.seen(image), *window, output_px)


def check_image(rec, key, crop):
    assert crop.dtype == np.uint8
    rec.check(key, crop, rtol=1e-9)  # far below 1: every stored pixel is equal


@pytest.fixture(scope="module")
def image():
    return inputs.synth_image()


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("b2_crop_2019"))
def test_crop_2019_as_recorded(case, image):
    rec = recording("b2_crop_2019")
    boxes = rec["box_extract"][int(case)], rec["box_gt"][int(case)]
    crop, box = crop_2019(image, *boxes, AREA_FACTOR, _side(rec, case))
    check_image(rec, f"{case}/im", crop)
    rec.check(f"{case}/gt_in_crop", box, rtol=1e-7)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("b_layers", "crop/"))
def test_crop_2020_as_recorded(case, image):
    rec = recording("b_layers")
    mode, index = case.rsplit("_", 1)
    key = f"crop/{case}"
    boxes = rec["crop/box_extract"][int(index)], rec["crop/box_gt"][int(index)]
    options = {"mode": mode, "max_scale_change": MAX_SCALE_CHANGE[mode]}
    side = _side(rec, key)
    window = window_2020(image.shape[:2], boxes[0], AREA_FACTOR, side, **options)
    np.testing.assert_array_equal(window, rec[f"{key}/crop_box"])
    crop, box = crop_2020(image, *boxes, AREA_FACTOR, side, **options)
    check_image(rec, f"{key}/im", crop)
    rec.check(f"{key}/gt_in_crop", box, rtol=1e-7)


def _side(rec, key):
    return int(rec.shape(f"{key}/im")[0])


def test_box_maps_differ_by_half_a_pixel(image):
    box = (100, 80, 40, 40)  # window of 200 px, no rounding
    _, old = crop_2019(image, box, box, 5, 288)
    _, new = crop_2020(image, box, box, 5, 288, mode="replicate", max_scale_change=None)
    np.testing.assert_allclose(old[:2] + old[2:] / 2, (143.5, 143.5))
    np.testing.assert_allclose(new[:2] + new[2:] / 2, (144, 144))


def test_2019_stays_centred_and_2020_is_shifted_into_the_image(image):
    box = (0, 0, 20, 20)
    _, old = crop_2019(image, box, box, 5, 100)
    np.testing.assert_allclose(old, (39.5, 39.5, 20, 20))
    crop, new = crop_2020(image, box, box, 5, 100, mode="replicate", max_scale_change=None)
    np.testing.assert_allclose(new, (0, 0, 20, 20))
    np.testing.assert_array_equal(crop, image[:100, :100])


def test_the_last_row_and_column_are_never_seen():
    image = np.zeros((60, 60, 3), np.uint8)
    image[-1], image[:, -1] = 255, 255
    for box in ((35, 35, 10, 10), (55, 55, 10, 10), (20, 20, 30, 30)):
        for crop in (
            crop_2019(image, box, box, 5, 50)[0],
            crop_2020(image, box, box, 5, 50, mode="replicate", max_scale_change=None)[0],
        ):
            assert crop.max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (90, 1)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (-400, 900, 3, 70), (0.2, 0.4, 0.01, 0.02)])
def test_tiny_images_and_far_boxes_give_finite_crops(shape, box):
    image = np.full((*shape, 3), 77, np.uint8)
    crops = [crop_2019(image, box, box, 5, 24)]
    for mode, change in MAX_SCALE_CHANGE.items():
        crops.append(crop_2020(image, box, box, 5, 24, mode=mode, max_scale_change=change))
    for crop, mapped in crops:
        np.testing.assert_array_equal(crop, np.full((24, 24, 3), 77, np.uint8))
        assert np.isfinite(mapped).all() and (mapped[2:] > 0).all()


def test_inside_modes_limit_the_shrinking(image):
    window = lambda mode, change: window_2020(
        image.shape[:2], (60, 60, 120, 100), 5, 288, mode=mode, max_scale_change=change
    )
    assert window("replicate", None)[2:] == (548, 548)  # ceil(5 sqrt(12000))
    assert window("inside", None) == (0, 0, 240, 240)
    assert window("inside_major", None)[2:] == (320, 320)
    assert window("inside", 1.5)[2:] == (365, 365)


@pytest.mark.parametrize(
    "box", [(1, 2, 0, 5), (1, 2, -3, -4), (1, np.nan, 5, 5), (1, 2, np.inf, 5)]
)
def test_a_box_without_area_is_refused(image, box):
    with pytest.raises(ValueError, match="box_extract_xywh=.*positive width"):
        crop_2019(image, box, (1, 2, 3, 4), 5, 288)
    with pytest.raises(ValueError, match="box_extract_xywh=.*positive width"):
        crop_2020(image, box, (1, 2, 3, 4), 5, 288, mode="inside", max_scale_change=None)


def test_an_unknown_mode_is_refused(image):
    with pytest.raises(ValueError, match="mode='outside': expected one of .*replicate"):
        crop_2020(image, (1, 2, 3, 4), (1, 2, 3, 4), 5, 288, mode="outside", max_scale_change=None)


@pytest.mark.parametrize("box", [(200, 150, 40, 60), (-30, 180, 90, 20), (5, 5, 200, 130)])
def test_interpolating_in_place_gives_the_copied_window(image, box, monkeypatch):
    copied, _ = crop_2019(image, box, box, 5, 144)
    monkeypatch.setattr(training_crops, "MAX_COPIED_PX", 0)
    in_place, _ = crop_2019(image, box, box, 5, 144)
    difference = np.abs(copied.astype(int) - in_place)
    assert difference.max() <= 1 and difference.mean() < 0.3  # fixed-point rounding of either


def test_a_huge_window_needs_no_huge_memory(image):
    box = (0, 0, 40_000, 40_000)  # a window of 200,000 px: 120 GB if it were copied
    crop, mapped = crop_2019(image, box, box, 5, 32)
    assert crop.shape == (32, 32, 3) and np.isfinite(mapped).all()


def test_a_fast_window_is_the_plain_one():
    """Windows of all sizes in, across and outside of images; to the bit but for replicated rows."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*hw, 3), np.uint8) for hw in ((40, 60), (1, 7), (102, 180))]
    across = 0
    for number in range(600):
        image = images[number % 3]
        height, width = image.shape[:2]
        output_px = int(rng.choice((16, 33, 64, 96)))
        size = int(np.exp(rng.uniform(0, np.log(700))))
        size_wh = (size, max(int(size * rng.uniform(0.8, 1.2)), 1))
        if number % 10 == 0:
            size_wh = ((output_px, output_px), (2 * output_px, output_px - 1))[number % 20 // 10]
        corner_xy = [int(rng.integers(-size_wh[a] - 3, (width, height)[a] + 3)) for a in (0, 1)]
        args = (image, corner_xy, size_wh, output_px)
        plain = training_crops.resized_window(*args).astype(int)
        out = np.empty((2, output_px, output_px, 3), np.uint8)
        fast = training_crops.resized_window_fast(*args, out=out[1])
        assert np.shares_memory(fast, out)
        apart = np.abs(plain - fast)
        assert apart.max() <= 1, args[1:]
        rows = (np.arange(output_px) + 0.5) * size_wh[1] / output_px - 0.5 + corner_xy[1]
        inside = (rows > 0) & (rows < height - 1)
        assert not apart[inside].any(), args[1:]
        across += bool(inside.any() and not inside.all())
    assert across > 100


def test_a_stretched_window_is_narrower_and_keeps_its_area(image):
    box = (100, 80, 40, 40)
    stretch_wh = (1.25, 0.8)
    crop, mapped = crop_2019(image, box, box, 5, 100, stretch_wh)
    expected = training_crops.resized_window(image[:-1, :-1], (40, -25), (160, 250), 100)
    np.testing.assert_array_equal(crop, expected)
    np.testing.assert_allclose(mapped, (49.5 - 12.5, 49.5 - 8, 25, 16))
    window = window_2020(
        (300, 300), (100, 120, 40, 40), 5, 100, stretch_wh, mode="inside", max_scale_change=None
    )
    assert window == (40, 15, 160, 250)
