"""Patch sampling of the tracker: recorded patches, invariants, degenerate windows, failures."""

import numpy as np
import pytest

from dimp_jax.geometry import search_crops
from tests.support.golden_files import cases, inputs, recording

ARITHMETIC = {"legacy": "2019", "new": "2022"}


def sample(image, center_yx, size_hw, output_hw, **options):
    defaults = {"border_mode": "replicate", "max_scale_change": None, "arithmetic": "2019"}
    return search_crops.sample_patch(image, center_yx, size_hw, output_hw, **(defaults | options))


def padded_window(image, y0, x0, y1, x1):
    """The window by indexing: the plainest form of a replicated border."""
    rows = np.clip(np.arange(y0, y1), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x0, x1), 0, image.shape[1] - 1)
    return image[rows][:, columns]


@pytest.fixture(scope="module")
def image():
    return inputs.synth_image()


@pytest.mark.golden
@pytest.mark.parametrize(
    "case", cases("h_patch", depth=2, only=lambda case: not case.startswith("aug/"))
)
def test_patches_as_recorded(case, image):
    rec = recording("h_patch")
    head, index = case.split("/")
    variant, options = head.split("_", 1)
    mode, change = options.rsplit("_", 1)
    index = int(index)
    patch, coord = search_crops.sample_patch(
        image,
        rec["pos_yx"][index],
        rec["sample_sz"][index],
        rec["output_sz"][index],
        border_mode=mode,
        max_scale_change=None if change == "None" else float(change),
        arithmetic=ARITHMETIC[variant],
    )
    assert patch.dtype == coord.dtype == np.float32
    rec.check(f"{case}/coord", coord[None], rtol=0)
    rec.check(f"{case}/patch", patch.transpose(2, 0, 1)[None], rtol=1e-5)


def test_a_patch_of_the_windows_own_size_is_the_window(image):
    patch, coord = sample(image, (120.9, 160.2), (65, 64), (65, 64))
    np.testing.assert_array_equal(coord, (88, 129, 153, 193))
    np.testing.assert_array_equal(patch, image[88:153, 129:193])


def test_the_2022_window_is_a_pixel_larger_for_even_sizes(image):
    patch, coord = sample(image, (120, 160), (100, 99), (101, 99), arithmetic="2022")
    np.testing.assert_array_equal(coord, (70.5, 111, 171, 210.5))
    np.testing.assert_array_equal(patch, image[70:171, 111:210])


@pytest.mark.parametrize("border_mode", search_crops.BORDER_MODES)
@pytest.mark.parametrize("arithmetic", search_crops.ARITHMETICS)
@pytest.mark.parametrize("center_yx", [(-500, 160), (120, 5000), (-300.7, -300.2), (600, 700)])
def test_windows_outside_the_image(image, center_yx, border_mode, arithmetic):
    patch, coord = sample(
        image, center_yx, (90, 90), (48, 48), border_mode=border_mode, arithmetic=arithmetic
    )
    y0, x0, y1, x1 = (int(v) for v in coord)
    window = padded_window(image, y0, x0, y1, x1).astype(np.float32)
    np.testing.assert_array_equal(patch, search_crops.resize(window, (48, 48)))
    if border_mode != "replicate":
        assert coord.min() >= 0 and y1 <= image.shape[0] and x1 <= image.shape[1]


@pytest.mark.parametrize("border_mode", search_crops.BORDER_MODES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("size_px", [0.4, 3, 60, 700])
def test_tiny_images_give_values_of_the_image(shape, size_px, border_mode):
    tiny = np.random.RandomState(0).uniform(50, 60, (*shape, 3)).astype(np.float32)
    for center in ((0, 0), (7, 11), (-9.5, 3)):
        for arithmetic in search_crops.ARITHMETICS:
            patch, coord = sample(
                tiny,
                center,
                (size_px,) * 2,
                (32, 32),
                border_mode=border_mode,
                arithmetic=arithmetic,
            )
            assert patch.shape == (32, 32, 3)
            assert tiny.min() - 1e-3 <= patch.min() and patch.max() <= tiny.max() + 1e-3
            assert (coord[2:] > coord[:2]).all()


@pytest.mark.parametrize("center", [(120, 161), (-31, 7), (-3000, 900)])
def test_subsampling_takes_every_nth_pixel_of_the_centres_phase(image, center):
    patch, coord = sample(image, center, (90, 90), (30, 30))  # step 2, 45 px
    y0, x0, y1, x1 = (int(v) for v in coord)
    phase_y, phase_x = center[0] % 2, center[1] % 2
    assert (y1 - y0, x1 - x0) == (90, 90) and (y0 % 2, x0 % 2) == (0, 0)
    window = padded_window(
        image[phase_y::2, phase_x::2], y0 // 2, x0 // 2, y1 // 2, x1 // 2
    ).astype(np.float32)
    np.testing.assert_array_equal(patch, search_crops.resize(window, (30, 30)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_patches_do_not_share_memory_with_the_image(image, dtype):
    source = image.astype(dtype)
    patch, _ = sample(source, (120, 160), (64, 64), (64, 64))
    patch[...] = -1
    np.testing.assert_array_equal(source, image)


def test_resize_samples_pixel_areas():
    """Against the two-tap formula: source = (target + 0.5) * in / out - 0.5, clamped."""
    source = np.random.RandomState(1).uniform(0, 255, (37, 53, 3)).astype(np.float32)
    for size_hw in ((64, 48), (20, 96)):
        expected = source.astype(np.float64)
        for axis in (0, 1):
            extent = source.shape[axis]
            at = (np.arange(size_hw[axis]) + 0.5) * extent / size_hw[axis] - 0.5
            at = np.clip(at, 0, extent - 1)
            low = np.minimum(at.astype(int), extent - 2)
            weight = np.expand_dims(at - low, (1 - axis, 2))
            low, high = expected.take(low, axis), expected.take(low + 1, axis)
            expected = low * (1 - weight) + high * weight
        resized = search_crops.resize(source, size_hw)
        assert resized.dtype == np.float32
        np.testing.assert_allclose(resized, expected, atol=2.5e-3)


def test_position_and_scale_of_a_patch():
    position_yx, scale = search_crops.sample_position_scale(np.float32([71, 111, 171, 211]), 50)
    np.testing.assert_array_equal(position_yx, np.float32([120.5, 160.5]))
    assert scale == 2 and scale.dtype == position_yx.dtype == np.float32
    _, scale = search_crops.sample_position_scale(np.float32([0, 0, 50, 200]), 100)
    assert scale == 1


def test_inside_shift():
    # A window of 100 px around (10, 60) of an image of 200 x 150: 39 rows above, and 0 columns out.
    np.testing.assert_array_equal(search_crops.inside_shift_yx((10, 60), 100, (200, 150)), [39, 0])
    np.testing.assert_array_equal(
        search_crops.inside_shift_yx((190, 60), 100, (200, 150)), [-41, 0]
    )


def test_unknown_modes_are_refused(image):
    with pytest.raises(ValueError, match="border_mode='reflect': expected one of .*inside_major"):
        sample(image, (1, 1), (9, 9), (9, 9), border_mode="reflect")
    with pytest.raises(ValueError, match="arithmetic='2020': expected one of .*2019"):
        sample(image, (1, 1), (9, 9), (9, 9), arithmetic="2020")
