"""Objects of the composite source: which are taken, how they are cleaned, what is known of them."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from dimp_jax.data.composite import objects
from dimp_jax.data.composite import stock as composite_stock
from dimp_jax.data.composite.object_file import ObjectFile
from dimp_jax.data.picture_cache import BoundedCache
from dimp_jax.data.source import BrokenFrame
from dimp_jax.media.images import InputError
from tests.support.composite_pictures import ellipse, write


def rectangle(height, width, frame=(100, 100)):
    rgba = np.full((*frame, 4), 120, np.uint8)
    rgba[..., 3] = 0
    rgba[5 : 5 + height, 5 : 5 + width, 3] = 255
    return rgba


def two_pieces():
    rgba = rectangle(30, 30)
    rgba[60:90, 60:90, 3] = 255
    return rgba


@pytest.mark.parametrize(
    ("rgba", "why"),
    [
        (np.full((40, 40, 4), 255, np.uint8), "no background in its alpha"),
        (rectangle(0, 0), "nothing in its alpha"),
        (rectangle(9, 40), "too small: 40 x 9 px"),
        (rectangle(20, 20), "too small: 20 x 20 px"),
        (rectangle(11, 90), "too long: 90 x 11 px"),
        (two_pieces(), "in several pieces"),
        (
            np.dstack([ellipse(60, 60, 90)[..., :3], ellipse(60, 60, 90)[..., 3] // 2 + 5]),
            "mostly transparent",
        ),
        (np.maximum(rectangle(60, 5), rectangle(5, 60)), "thin: 0.1"),
    ],
)
def test_unfit_cut_outs_say_why(rgba, why):
    with pytest.raises(objects.Unusable, match=why):
        objects.cut_out(rgba)


def test_a_cut_out_is_trimmed_to_its_hull():
    found = objects.cut_out(ellipse(60, 80, (200, 30, 30), pad_px=25))
    opaque = found[..., 3] > 127
    assert opaque.any(axis=0).all() and opaque.any(axis=1).all()
    assert abs(found.shape[0] - 61) <= 1 and abs(found.shape[1] - 81) <= 1


def test_crumbs_are_removed():
    rgba = ellipse(60, 60, (200, 30, 30))
    rgba[1:3, 1:3, 3] = 255
    clean = objects.cut_out(ellipse(60, 60, (200, 30, 30)))
    np.testing.assert_array_equal(objects.cut_out(rgba)[..., 3], clean[..., 3])


def test_the_edge_loses_the_colour_of_the_old_background():
    dirty = ellipse(60, 80, (200, 30, 30), edge_color=(0, 255, 0))
    found = objects.cut_out(dirty)
    visible = found[..., 3] > 0
    assert (dirty[..., 1][dirty[..., 3] > 0] > 200).any()
    assert found[..., 1][visible].max() <= 30


def test_large_objects_are_reduced():
    found = objects.cut_out(ellipse(500, 800, (200, 30, 30)))
    assert max(found.shape[:2]) == objects.MAX_SIDE_PX
    assert found.shape[0] / found.shape[1] == pytest.approx(500 / 800, abs=0.01)


def test_masks_make_objects_with_soft_edges():
    image = np.full((120, 160, 3), 90, np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[30:80, 40:120] = True
    found = objects.cut_out(objects.mask_rgba(image, mask))
    assert abs(found.shape[0] - 50) <= 1 and abs(found.shape[1] - 80) <= 1
    assert ((found[..., 3] > 10) & (found[..., 3] < 245)).sum() > 100


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (np.s_[30:53, 40:120], "too small: 80 x 23"),
        (np.s_[30:120, 40:120], "cut off by the border"),
    ],
)
def test_unfit_masks_say_why(window, why):
    mask = np.zeros((120, 160), bool)
    mask[window] = True
    with pytest.raises(objects.Unusable, match=why):
        objects.mask_rgba(np.zeros((120, 160, 3), np.uint8), mask)


def test_an_entry_knows_outline_colour_and_size():
    rgba = objects.cut_out(ellipse(60, 120, (200, 30, 30)))
    entry = objects.describe(rgba, composite_stock.Origin("x"))
    height, width = rgba.shape[:2]
    assert entry.unit_px == pytest.approx(np.sqrt(height * width))
    np.testing.assert_allclose(np.ptp(entry.outline, axis=0) * entry.unit_px, (120, 60), atol=1.5)
    np.testing.assert_allclose(entry.outline.min(0), -entry.outline.max(0), atol=0.03)
    np.testing.assert_allclose(entry.color, (175, 26, 26), atol=6)  # a quarter of it is half dark


def test_undecodable_files_are_named_and_files_without_alpha_are_not_fit(tmp_path, caplog):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    write(tmp_path / "plain.png", np.zeros((40, 40, 3), np.uint8))
    write(tmp_path / "good.png", ellipse(40, 40, (9, 200, 9)))
    paths, kept = composite_stock.list_images(tmp_path, "images"), ObjectFile()
    with caplog.at_level("INFO"):
        entries = objects.catalogue([composite_stock.Origin(p) for p in paths], (), "here", kept)
    assert [entry.origin.path for entry in entries] == [str(tmp_path / "good.png")]
    good = kept.read(entries[0].place, entries[0].size_hw)
    np.testing.assert_array_equal(good, objects.cut_out(ellipse(40, 40, (9, 200, 9))))
    assert "broken.png: cannot be decoded" in caplog.text
    assert "here: 1 objects; left out: 1 broken, 1 no alpha channel" in caplog.text


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder; expected a folder of cats"):
        composite_stock.list_images(tmp_path / "nowhere", "cats")
    (tmp_path / "readme.txt").write_text("no image")
    with pytest.raises(InputError, match="no image in it; expected cats"):
        composite_stock.list_images(tmp_path, "cats")


def test_large_groups_do_not_drown_small_ones():
    entry = composite_stock.BackgroundEntry(composite_stock.Origin("x"), 1.5)
    stock = composite_stock.stock([[entry] * 4, [entry] * 400])
    rng = np.random.default_rng(0)
    picked = np.array([stock.pick(rng) for _ in range(4000)])
    assert (picked < 4).mean() == pytest.approx(2 / 22, abs=0.02)  # sqrt 4 : sqrt 400
    assert picked.min() == 0 and picked.max() > 390


def test_the_cache_is_bounded_and_forgets_the_oldest():
    made = []

    def make(key):
        made.append(key)
        return np.zeros(key, np.uint8)

    cache = BoundedCache(10)
    for key in (4, 5, 4, 3, 5, 4):
        assert cache.get(key, lambda key=key: make(key)).nbytes == key
    # 3 drives out 5, used longer ago than 4; 5 then drives out 4.
    assert made == [4, 5, 3, 5, 4]
    assert cache.get(40, lambda: make(40)).nbytes == 40
    cache = BoundedCache(2, in_bytes=False)
    assert [cache.get(key, lambda key=key: make(key)).nbytes for key in (1, 2, 3, 1)] == [
        1,
        2,
        3,
        1,
    ]
    assert made[-4:] == [1, 2, 3, 1]


def test_a_data_set_without_masks_gives_no_objects(tmp_path):
    class NoMasks:
        def mask(self, sequence, frame):
            return None

    origins = [composite_stock.Origin(None, 0, s, 0) for s in range(3)]
    with pytest.raises(InputError, match=r"got10k: none of its 3 pictures .*\(3 no mask\)"):
        objects.catalogue(origins, (NoMasks(),), "got10k", ObjectFile())


def test_a_data_set_without_readable_images_gives_no_backgrounds(caplog):
    class Broken:
        def __len__(self):
            return 2

        def read(self, sequence, frame_ids):
            raise BrokenFrame(f"record {sequence}")

    with pytest.raises(InputError, match="clips: no readable image in its 2 sequences"):
        composite_stock.data_set_backgrounds(0, Broken(), (90, 120), "clips")
    assert "record 1" in caplog.text


def test_kept_pictures_are_read_where_they_lie_and_from_other_processes():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*hw, 4), np.uint8) for hw in ((3, 5), (40, 7), (1, 1))]
    kept = ObjectFile()
    places = [kept.append(picture) for picture in pictures]
    for picture, place in zip(pictures, places, strict=True):
        np.testing.assert_array_equal(kept.read(place, picture.shape[:2]), picture)
    code = (
        "import pickle, sys; kept = pickle.loads(bytes.fromhex(sys.argv[1])); "
        f"print(kept.read({places[1]}, (40, 7)).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pickle.dumps(kept).hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(pictures[1].tolist())
