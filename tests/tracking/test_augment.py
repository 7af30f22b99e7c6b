"""First-frame transforms: recorded samples and traces, invariants, failures."""

import math
import re

import numpy as np
import pytest

from dimp_jax.config import AugmentConfig
from dimp_jax.geometry import search_crops
from dimp_jax.geometry.boxes import target_box_in_crop
from dimp_jax.tracking import augment
from tests.support.golden_files import cases, files, inputs, recorded_json, recording

KIND_OF_RECORDING = {
    "Identity": "identity",
    "Translation": "shift",
    "FlipHorizontal": "flip",
    "Blur": "blur",
    "Rotate": "rotate",
}


def transform_of_name(name, shift_yx):
    """blur<sy><sx> (a leading 0 is "0."), rot<degrees>, and flip, identity*, trans."""
    if blur := re.fullmatch(r"blur(0?\d)(0?\d)", name):
        sigmas = (float(s) / 10 if s[0] == "0" else float(s) for s in blur.groups())
        return augment.Transform("blur", shift_yx, tuple(sigmas))
    if rotation := re.fullmatch(r"rot(-?[\d.]+)", name):
        return augment.Transform("rotate", shift_yx, (math.radians(float(rotation[1])),))
    kind = {"identity": "identity", "trans": "shift", "flip": "flip"}[name.split("_")[0]]
    return augment.Transform(kind, shift_yx, ())


def recorded_patch():
    return search_crops.sample_patch(
        inputs.synth_image(),
        (120, 160),
        (100, 100),
        (128, 128),
        border_mode="replicate",
        max_scale_change=None,
        arithmetic="2019",
    )[0]


@pytest.mark.golden
@pytest.mark.parametrize("name", cases("h_patch", "aug/", only=lambda case: "scale" not in case))
def test_transforms_as_recorded(name):
    rec = recording("h_patch")
    patch = recorded_patch()
    rec.check("aug/input", patch.transpose(2, 0, 1)[None])
    transform = transform_of_name(name, tuple(int(s) for s in rec[f"aug/{name}/shift"]))
    (sample,) = augment.apply_transforms(patch, [transform], 64)
    rec.check(f"aug/{name}/out", sample.transpose(2, 0, 1)[None], rtol=1e-5)


def config_of_trace(params):
    options = params["augmentation"] if params["use_augmentation"] else {}
    samples, rate = options.get("dropout", (0, 0.0))
    pairs = lambda name: tuple(tuple(float(v) for v in pair) for pair in options.get(name, ()))
    return AugmentConfig(
        shifts=pairs("relativeshift"),
        flip=options.get("fliplr", False),
        blur_sigmas_px=pairs("blur"),
        rotations_deg=tuple(float(angle) for angle in options.get("rotate", ())),
        dropout_samples=samples,
        dropout_rate=rate,
        expansion_factor=params["augmentation_expansion_factor"],
        random_shift_factor=params["random_shift_factor"],
    )


def uniforms_of_trace(name, count):
    if "_stream" not in name:
        return np.full((count, 2), 0.9, np.float32)
    stream = inputs.Stream("trace/stream")
    return np.stack([stream.uniform(2) for _ in range(count)])


@pytest.mark.golden
@pytest.mark.parametrize("name", files("trace_*.npz"))
def test_first_frame_of_a_trace_as_recorded(name):
    record = recorded_json(name)
    rec = recording(name)
    config = config_of_trace(record["params"])
    crop_px = int(record["params"]["image_sample_size"])
    transforms = augment.build_transforms(
        config, crop_px, uniforms_of_trace(name, augment.num_random_shifts(config))
    )
    expected = [
        augment.Transform(KIND_OF_RECORDING[kind], tuple(shift), tuple(parameters))
        for kind, shift, parameters in record["transforms"]
    ]
    dropout = [augment.Transform("identity", (0, 0), ())] * config.dropout_samples
    assert [*transforms, *dropout] == expected

    size_px = augment.expansion_size_px(config, crop_px)
    np.testing.assert_array_equal((size_px, size_px), rec["init/aug_expansion_sz"])
    scale = rec["init/init_sample_scale"]
    patch, _ = search_crops.sample_patch(
        inputs.clip_frame(0),
        np.rint(rec["init/pos"]),
        scale * rec["init/aug_expansion_sz"],
        (size_px, size_px),
        border_mode="replicate",
        max_scale_change=None,
        arithmetic="2019" if name.endswith("_legacy") else "2022",
    )
    samples = augment.apply_transforms(patch, transforms, crop_px)
    rec.check("init/patches", samples.transpose(0, 3, 1, 2), rtol=1e-4)

    box = target_box_in_crop(
        rec["init/pos"], rec["init/target_sz"], rec["init/init_sample_pos"], scale, crop_px
    )
    rec.check("init/classifier_target_box", box, rtol=1e-6)
    boxes = np.stack([box] * len(expected))
    boxes[:, :2] += [augment.box_shift_xy(transform) for transform in expected]
    shifts_yx = np.array([transform.shift_yx for transform in expected])
    rec.check("init/shifts_yx", shifts_yx, rtol=0.0)
    rec.check("init/target_boxes", boxes, rtol=1e-6)


@pytest.fixture(scope="module")
def patch():
    return np.random.RandomState(0).uniform(10, 250, (96, 96, 3)).astype(np.float32)


def apply(patch, kind, shift_yx=(0, 0), parameters=(), output_px=48):
    transform = augment.Transform(kind, shift_yx, parameters)
    (sample,) = augment.apply_transforms(patch, [transform], output_px)
    return sample


def test_default_transforms_in_order():
    config = AugmentConfig()
    count = augment.num_random_shifts(config)
    assert count == 1 + 3 + 4
    uniforms = np.zeros((count, 2))
    uniforms[:, 1] = 0.999
    transforms = augment.build_transforms(config, 288, uniforms)
    kinds = ["identity"] + ["shift"] * 4 + ["flip"] + ["blur"] * 3 + ["rotate"] * 4
    assert [t.kind for t in transforms] == kinds
    assert [t.shift_yx for t in transforms[1:5]] == [(86, 86), (-86, 86), (86, -86), (-86, -86)]
    assert {t.shift_yx for t in transforms[5:]} == {(-48, 47)}  # truncated toward zero
    assert [t.parameters for t in transforms[6:9]] == list(config.blur_sigmas_px)
    np.testing.assert_allclose(np.rad2deg(transforms[12].parameters), -45)


def test_no_transforms_leaves_the_identity():
    config = AugmentConfig(
        shifts=(), flip=False, blur_sigmas_px=(), rotations_deg=(), random_shift_factor=0.0
    )
    assert augment.num_random_shifts(config) == 0
    transforms = augment.build_transforms(config, 288, np.zeros((0, 2)))
    assert transforms == (augment.Transform("identity", (0, 0), ()),)


@pytest.mark.parametrize(
    ("crop_px", "factor", "size_px"),
    [(288, 2.0, 576), (256, 1.4, 358), (224, 1.4, 314), (288, 1, 288)],
)
def test_expansion_size_keeps_the_centre(crop_px, factor, size_px):
    assert augment.expansion_size_px(AugmentConfig(expansion_factor=factor), crop_px) == size_px


def test_content_and_box_move_by_the_shift(patch):
    base = apply(patch, "identity")
    np.testing.assert_array_equal(base, patch[24:72, 24:72])
    moved = apply(patch, "shift", (5, -7))
    np.testing.assert_array_equal(moved[5:, :-7], base[:-5, 7:])
    transform = augment.Transform("shift", (5, -7), ())
    np.testing.assert_array_equal(augment.box_shift_xy(transform), np.float32([-7, 5]))


def test_content_from_beyond_the_patch_is_its_border(patch):
    moved = apply(patch, "shift", (40, -300))  # further than the patch is wide
    np.testing.assert_array_equal(moved[16:, 0], patch[:32, -1])
    np.testing.assert_array_equal(moved[:16, :], np.broadcast_to(patch[0, -1], (16, 48, 3)))
    larger = apply(patch, "identity", output_px=100)
    np.testing.assert_array_equal(larger[2:-2, 2:-2], patch)
    np.testing.assert_array_equal(larger[0, 0], patch[0, 0])


def test_flip_mirrors_about_the_centre(patch):
    np.testing.assert_array_equal(apply(patch, "flip"), apply(patch, "identity")[:, ::-1])
    flipped = apply(patch, "flip", (0, 3))
    np.testing.assert_array_equal(flipped[:, 3:], apply(patch, "identity")[:, :2:-1])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_quarter_turn_is_counter_clockwise(patch, sign):
    turned = apply(patch, "rotate", parameters=(sign * math.pi / 2,), output_px=96)
    np.testing.assert_allclose(turned, np.rot90(patch, sign), atol=1e-2)


def test_blur_of_a_point_is_the_kernel_and_borders_darken():
    point = np.zeros((61, 61, 3), np.float32)
    point[30, 30] = 1
    blurred = apply(point, "blur", parameters=(3.0, 1.0), output_px=61)[..., 0]
    rows, columns = np.nonzero(blurred)
    assert (np.ptp(rows), np.ptp(columns)) == (12, 4)  # half widths ceil(2 sigma) = 6 and 2
    np.testing.assert_allclose(blurred.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(blurred[27, 30] / blurred[30, 30], math.exp(-0.5), rtol=1e-5)
    np.testing.assert_allclose(blurred[30, 31] / blurred[30, 30], math.exp(-0.5), rtol=1e-5)

    flat = apply(np.full((61, 61, 3), 100, np.float32), "blur", parameters=(2.0, 2.0), output_px=61)
    np.testing.assert_allclose(flat[30, 30], 100, rtol=1e-5)
    assert (flat[0] < 61).all() and (flat[0, 30] > 50).all()


def test_samples_do_not_share_memory_with_the_patch(patch):
    before = patch.copy()
    samples = augment.apply_transforms(patch, [augment.Transform("identity", (0, 0), ())] * 2, 48)
    samples[0] = 0
    np.testing.assert_array_equal(patch, before)
    np.testing.assert_array_equal(samples[1], patch[24:72, 24:72])


def test_failures_name_what_was_expected(patch):
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(8, 2\)"):
        augment.build_transforms(AugmentConfig(), 288, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="kind 'shear': expected one of identity, shift"):
        apply(patch, "shear")
    with pytest.raises(ValueError, match="blur sigma 0.0 px: expected > 0"):
        apply(patch, "blur", parameters=(1.0, 0.0))
