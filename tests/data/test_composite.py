"""The composite source: repeatable, exact boxes, visibility against drawn coverage, failures."""

import dataclasses
import pickle
import shutil

import numpy as np
import pytest

from dimp_jax.config.training import CompositeConfig
from dimp_jax.data.composite import pictures as composite_pictures
from dimp_jax.data.composite import render, sprites
from dimp_jax.data.composite import scene as composite_scene
from dimp_jax.data.composite import source as composite
from dimp_jax.media.images import InputError
from tests.support import ROOT
from tests.support.composite_pictures import make_folders

SHARED = ROOT.parent / "shared" / "sequences" / "composite"
SIZE_HW = (120, 160)
LENGTH = 24


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    cutouts, backgrounds = make_folders(tmp_path_factory.mktemp("pictures"))
    return CompositeConfig(
        cutouts_dir=str(cutouts),
        backgrounds_dir=str(backgrounds),
        num_sequences=60,
        length=LENGTH,
        size_hw_px=SIZE_HW,
        occluder_probability=0.9,
    )


@pytest.fixture(scope="module")
def source(config):
    return composite.open_source(config, None)


def alpha_of(scene, pictures, index, t, margin_px=300):
    """[H + 600, W + 600] float: the alpha of one layer, drawn alone, also outside the frame."""
    alpha = np.zeros((SIZE_HW[0] + 2 * margin_px, SIZE_HW[1] + 2 * margin_px), np.float32)
    layer = scene.layers[index]
    patch = sprites.warp(
        pictures.sprites[index], layer.pose[t], SIZE_HW, margin_px=margin_px, bend=layer.bend[t]
    )
    if patch is not None:
        rows, columns = patch.rgba.shape[:2]
        y, x = patch.y_px + margin_px, patch.x_px + margin_px
        alpha[y : y + rows, x : x + columns] = patch.rgba[..., 3] / 255
    return alpha


def in_frame(alpha, margin_px=300):
    return alpha[margin_px:-margin_px, margin_px:-margin_px]


def test_frames_are_images_with_finite_boxes(source):
    assert len(source) == 60 and source.is_video and source.name == "composite"
    for sequence in range(0, 60, 6):
        visible = source.visible(sequence)
        assert visible.shape == (LENGTH,) and visible.dtype == bool
        for t, frame in zip((0, 9, 23), source.read(sequence, (0, 9, 23)), strict=True):
            assert frame.image.shape == (*SIZE_HW, 3) and frame.image.dtype == np.uint8
            assert frame.box_xywh.shape == (4,) and frame.box_xywh.dtype == np.float32
            assert np.isfinite(frame.box_xywh).all() and (frame.box_xywh[2:] > 0).all()
            if visible[t]:
                x, y, width, height = frame.box_xywh
                assert x >= 0 and y >= 0 and x + width <= 160 and y + height <= 120


def test_a_frame_is_a_function_of_its_indices(source, config):
    expected = source.read(7, range(LENGTH))
    for other in (pickle.loads(pickle.dumps(source)), composite.open_source(config, None)):
        other.read(40, [3])
        np.testing.assert_array_equal(other.visible(7), source.visible(7))
        order = [20, 0, 20, 13]
        for t, frame in zip(order, other.read(7, order), strict=True):
            np.testing.assert_array_equal(frame.image, expected[t].image)
            np.testing.assert_array_equal(frame.box_xywh, expected[t].box_xywh)


def test_sequences_and_seeds_differ(source, config):
    first = source.read(0, [0])[0].image
    assert (source.read(1, [0])[0].image != first).mean() > 0.5
    assert (composite.open_source(config, None, seed=5).read(0, [0])[0].image != first).mean() > 0.5


@pytest.mark.parametrize("sequence", range(0, 60, 5))
def test_the_box_is_the_hull_of_the_target_alone(source, sequence):
    scene, pictures = source.scene(sequence), source.pictures(sequence)
    for t, frame in zip((0, 8, 16), source.read(sequence, (0, 8, 16)), strict=True):
        y, x = np.nonzero(in_frame(alpha_of(scene, pictures, scene.target, t)) > 0.5)
        if len(x):
            hull = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
            np.testing.assert_array_equal(frame.box_xywh, hull)
        else:
            assert not source.visible(sequence)[t]


def test_the_target_is_painted_where_the_box_says(source, monkeypatch):
    """The picture with the target differs from the one without it inside the box alone."""
    monkeypatch.setattr(render, "_expose", lambda frame, *_: frame)
    noise = composite_pictures.noise_image(SIZE_HW, 0)
    whole = lambda frame: frame.image.within((0, 0), SIZE_HW[::-1]).astype(int)
    compared = 0
    for sequence in range(12):
        scene, pictures = source.scene(sequence), source.pictures(sequence)
        target = scene.layers[scene.target]._replace(softness_px=0)
        scene = scene._replace(shutter=0, cast_shadow=None)
        alone = scene._replace(layers=(target,), target=0)
        away = target._replace(pose=target.pose + np.array(((0, 0, 1e4), (0, 0, 1e4))))
        nothing = scene._replace(layers=(away,), target=0)
        shown = pictures._replace(sprites=(pictures.sprites[scene.target],))
        for t in (0, 12):
            if not scene.visible[t]:
                continue
            frame = render.sketch(alone, shown, pictures.canvas, t, SIZE_HW, noise)
            empty = render.sketch(nothing, shown, pictures.canvas, t, SIZE_HW, noise)
            differs = np.abs(whole(frame) - whole(empty)).max(axis=-1) > 2
            y, x = np.nonzero(differs)
            found = np.array((x.min(), y.min(), x.max() + 1, y.max() + 1))
            left, top, width, height = frame.box_xywh
            expected = (left, top, left + width, top + height)
            # Up to 2 px of the edge are less than half opaque, or happen to match the ground.
            np.testing.assert_allclose(found, expected, atol=2.5)
            compared += 1
    assert compared > 15


def test_a_sketch_is_the_picture_where_it_is_looked_at(source, monkeypatch):
    """To the bit, but for roundings that the compression then spreads over a block."""
    monkeypatch.setattr(composite_scene, "plan", with_all_optics(composite_scene.plan))
    opened = pickle.loads(pickle.dumps(source))
    rng = np.random.default_rng(0)
    apart = []
    for sequence in range(30):
        (whole,), (sketch,) = opened.read(sequence, [7]), opened.sketch(sequence, [7])
        np.testing.assert_array_equal(sketch.box_xywh, whole.box_xywh)
        assert sketch.image.shape == whole.image.shape
        low = rng.integers(0, (140, 100))
        high = np.minimum(low + rng.integers(1, 90, 2), SIZE_HW[::-1])
        seen = np.s_[low[1] : high[1], low[0] : high[0]]
        drawn = sketch.image.within(low, high)
        apart.append(np.abs(drawn[seen].astype(int) - whole.image[seen]))
    assert np.mean([a.max() == 0 for a in apart]) > 0.8
    assert max(a.max() for a in apart) <= 12 and max(a.mean() for a in apart) < 0.2


def with_all_optics(plan):
    """Plans whose pictures are blurred as far as they can be, and some with shadows."""

    def changed(*args):
        scene = plan(*args)
        shadow = np.array((0.1, 0.2, 0.4)) if scene.seed % 2 else None
        defocus = np.full(len(scene.defocus_px), 1.5)
        return scene._replace(shutter=0.7, defocus_px=defocus, cast_shadow=shadow)

    return changed


def test_visibility_is_that_of_the_drawn_pictures(source):
    """Shares from outlines against shares of drawn pixels; the flags where it is clear."""
    clear = {True: 0, False: 0}
    for sequence in range(60):
        scene, pictures = source.scene(sequence), source.pictures(sequence)
        for t in (2, 12, 21):
            own = alpha_of(scene, pictures, scene.target, t)
            seen = in_frame(own)
            inside = seen.sum() / own.sum()
            open_to_view = seen.copy()
            for index in range(scene.target + 1, len(scene.layers)):
                open_to_view *= 1 - in_frame(alpha_of(scene, pictures, index, t))
            covered = 1 - open_to_view.sum() / max(seen.sum(), 1e-6)
            distance = min(
                abs(inside - composite_scene.MIN_INSIDE),
                abs(covered - composite_scene.MAX_COVERED) if inside > 0.05 else 1,
            )
            expected = inside >= composite_scene.MIN_INSIDE and (
                covered <= composite_scene.MAX_COVERED
            )
            if distance > 0.1:
                assert scene.visible[t] == expected, (sequence, t, inside, covered)
                clear[bool(expected)] += 1
    assert clear[True] > 100 and clear[False] >= 5, clear


def test_the_outline_box_is_near_the_exact_one(source):
    """What `visible` and absent frames use: within the bend and the soft edge."""
    for sequence in range(20):
        scene = source.scene(sequence)
        (frame,) = source.read(sequence, [5])
        low = np.maximum(scene.box_xywh[5, :2], 0)
        high = np.minimum(scene.box_xywh[5, :2] + scene.box_xywh[5, 2:], SIZE_HW[::-1])
        if scene.visible[5]:
            room = 0.1 * np.sqrt(scene.box_xywh[5, 2:].prod()) + 1.5
            exact = frame.box_xywh
            np.testing.assert_allclose(
                (*low, *high), (*exact[:2], *(exact[:2] + exact[2:])), atol=room
            )


def test_small_boxes_are_not_visible(config, source):
    strict = composite.open_source(config, None, min_box_px=20)
    small = np.array([np.min(source.scene(i).box_xywh[:, 2:], axis=1) < 20 for i in range(60)])
    visible = np.array([strict.visible(i) for i in range(60)])
    assert small.any() and not (visible & small).any()
    assert visible[~small].mean() > 0.5


def test_visible_reads_no_picture_and_a_lost_picture_is_named(tmp_path, config):
    cutouts, backgrounds = make_folders(tmp_path)
    config = dataclasses.replace(config, cutouts_dir=str(cutouts), backgrounds_dir=str(backgrounds))
    source = composite.open_source(config, None)
    shutil.rmtree(tmp_path)
    assert source.visible(3).shape == (LENGTH,)
    with pytest.raises(InputError, match=r"ground-\d.jpg: cannot be read"):
        source.read(3, [0])


def test_options_are_followed(config):
    plain = dataclasses.replace(config, max_distractors=0, occluder_probability=0)
    source = composite.open_source(plain, None)
    for sequence in range(20):
        roles = [layer.role for layer in source.scene(sequence).layers]
        assert set(roles) <= {"clutter", "target"} and roles.count("target") == 1
    busy = composite.open_source(dataclasses.replace(config, max_distractors=6), None)
    roles = [[layer.role for layer in busy.scene(i).layers] for i in range(60)]
    assert max(names.count("distractor") for names in roles) >= 4
    assert np.mean(["occluder" in names for names in roles]) > 0.7


def test_twins_have_the_target_or_one_like_it(source):
    twins = 0
    for sequence in range(60):
        scene = source.scene(sequence)
        target = scene.layers[scene.target].entry
        twins += sum(la.role == "distractor" and la.entry == target for la in scene.layers)
    assert twins > 5


def test_sequences_and_frames_that_do_not_exist(source):
    with pytest.raises(IndexError, match="sequence 60: expected 0 to 59"):
        source.visible(60)
    with pytest.raises(IndexError, match="frame 24: expected 0 to 23"):
        source.read(0, [24])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no cut-outs in {SHARED}")
def test_photographic_cut_outs():
    config = CompositeConfig(
        cutouts_dir=str(SHARED / "cutouts"), backgrounds_dir=str(SHARED / "backgrounds")
    )
    source = composite.open_source(config, None)
    assert len(source.objects.entries) > 350 and len(source.backgrounds.entries) == 35
    assert len(source) == 100_000
    visible = np.array([source.visible(i) for i in range(99_960, 100_000)])
    assert visible.mean() > 0.85
    for sequence in range(3):
        for frame in source.read(sequence, (0, 59)):
            assert frame.image.shape == (270, 360, 3) and np.isfinite(frame.box_xywh).all()


def test_a_part_is_the_hull_of_what_is_seen_of_it(config):
    source = composite.open_source(dataclasses.replace(config, part_probability=1.0), None)
    compared = 0
    for sequence in range(0, 60, 7):
        scene, pictures = source.scene(sequence), source.pictures(sequence)
        left, top, right, bottom = scene.part_xyxy
        layer = scene.layers[scene.target]
        outline = source.objects.entries[layer.entry].outline
        for k, level in enumerate(pictures.part.levels):
            whole = pictures.sprites[scene.target].levels[k]
            kept = level[..., 3] > 0
            np.testing.assert_array_equal(level[kept], whole[kept])
        low, high = outline.min(0), outline.max(0)
        assert (left, top) >= tuple(low - 1e-6) and right <= high[0] + 1e-6
        assert (right - left) / (high[0] - low[0]) <= 0.81
        for t in np.flatnonzero(source.visible(sequence))[::9]:
            frame = source.read(sequence, [t])[0]
            patch = sprites.warp(pictures.part, layer.pose[t], SIZE_HW, bend=layer.bend[t])
            expected = sprites.hull_xywh(patch, SIZE_HW)
            if expected is not None:
                np.testing.assert_array_equal(frame.box_xywh, expected)
                compared += 1
    assert compared > 8
