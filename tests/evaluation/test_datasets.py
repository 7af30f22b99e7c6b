"""Readers of the benchmarks on miniature copies in the official form, with all their quirks."""

import numpy as np
import pytest

from dimp_jax.evaluation import datasets
from dimp_jax.evaluation.metrics import curves
from dimp_jax.media.images import InputError
from tests.support import benchmark_trees as trees
from tests.support.hidden_files import sprinkle

COPIES = {
    "otb100": (trees.make_otb, trees.OTB, "otb"),
    "otb50": (trees.make_otb, ["David", "Deer", "Human4_2", "Skating2_1", "Skating2_2"], "otb"),
    "nfs": (trees.make_nfs, trees.NFS, "otb"),
    "uav123": (trees.make_uav123, trees.UAV123, "uav"),
    "lasot": (trees.make_lasot, trees.LASOT, "lasot"),
    "lasot_ext": (trees.make_lasot_ext, trees.LASOT_EXT, "lasot"),
    "trackingnet": (trees.make_trackingnet, trees.TRACKINGNET, "trackingnet"),
    "got10k_val": (trees.make_got10k, trees.GOT10K_VAL, "got10k"),
    "got10k_test": (lambda root: trees.make_got10k(root, "test"), trees.GOT10K_TEST, "got10k"),
    "vot2018": (trees.make_vot2018, trees.VOT2018, "visible"),
}


def boxes(*numbers):
    return np.array([trees.box(number) for number in numbers], float)


def loaded(make, name, root, only):
    return {s.name: s for s in datasets.load(name, make(root), only=only)}


def frame_numbers(sequence):
    return [int(path.stem) for path in sequence.frames.paths]


@pytest.mark.parametrize("name", COPIES)
def test_every_data_set(tmp_path, name):
    make, names, rule = COPIES[name]
    found = datasets.load(name, make(tmp_path), only=names)
    assert [s.name for s in found] == names and datasets.official_rule(name) == rule
    for sequence in found:
        assert sequence.frames.count == len(list(sequence.images())) > 0
        assert sequence.init_box.shape == (4,) and np.isfinite(sequence.init_box).all()
        if sequence.groundtruth is not None:
            assert sequence.groundtruth.shape == (sequence.frames.count, 4)
            np.testing.assert_array_equal(sequence.groundtruth[0], sequence.init_box)
        assert sequence.visible is None or sequence.visible.shape == (sequence.frames.count,)
    cut = datasets.load(name, tmp_path, only=names[-1:], limit=2)
    assert [s.name for s in cut] == names[-1:] and cut[0].frames.count == 2
    assert cut[0].groundtruth is None or len(cut[0].groundtruth) == 2
    assert cut[0].visible is None or len(cut[0].visible) == 2


def test_names():
    assert set(datasets.NAMES) == {*COPIES, "folder"}
    assert datasets.official_rule("folder") == "visible"
    with pytest.raises(InputError, match="no data set 'otb10': expected one of: otb100"):
        datasets.official_rule("otb10")


def test_otb_ranges(tmp_path):
    found = loaded(trees.make_otb, "otb100", tmp_path, trees.OTB)
    for name, first, last in [
        ("David", 300, 304),
        ("Football1", 1, 74),
        ("BlurCar3", 3, 6),
        ("Tiger1", 6, 9),  # five frames less
        ("Deer", 1, 4),
    ]:
        assert frame_numbers(found[name]) == list(range(first, last + 1)), name
        np.testing.assert_array_equal(
            found[name].groundtruth, boxes(*range(first, last + 1)), err_msg=name
        )
    assert found["Board"].frames.paths[0].name == "00001.jpg"
    assert found["KiteSurf"].frames.paths[0].name == "0001.png"
    assert found["Deer"].attributes == ("MB", "FM", "IPR", "BC")


def test_otb_targets(tmp_path):
    found = loaded(trees.make_otb, "otb100", tmp_path, trees.OTB)
    for folder in ("Jogging", "Skating2"):
        first, second = found[f"{folder}_1"], found[f"{folder}_2"]
        assert first.frames.paths == second.frames.paths
        np.testing.assert_array_equal(first.groundtruth, boxes(1, 2, 3, 4))
        np.testing.assert_array_equal(second.groundtruth, boxes(5, 6, 7, 8))
    np.testing.assert_array_equal(found["Human4_2"].groundtruth, boxes(1, 2, 3, 4))


def test_otb_copy_for_pysot(tmp_path):
    root = trees.make_otb(tmp_path)
    (root / "Jogging").rename(root / "Jogging-1")
    (root / "Jogging-1" / "groundtruth_rect.1.txt").rename(
        root / "Jogging-1" / "groundtruth_rect.txt"
    )
    trees.write_frames(root / "Jogging-2" / "img", range(1, 5))
    trees.write_lines(root / "Jogging-2" / "groundtruth_rect.2.txt", trees.rows(range(5, 9)))
    first, second = datasets.load("otb100", root, only=["Jogging_1", "Jogging_2"])
    np.testing.assert_array_equal(first.groundtruth, boxes(1, 2, 3, 4))
    np.testing.assert_array_equal(second.groundtruth, boxes(5, 6, 7, 8))
    assert second.frames.paths[0].parent.parent.name == "Jogging-2"


def test_nfs_packs(tmp_path):
    original = loaded(trees.make_nfs, "nfs", tmp_path / "a", trees.NFS)
    converted = loaded(trees.make_nfs_converted, "nfs", tmp_path / "b", trees.NFS)
    # Corners become sizes; of 24 boxes for 3 frames every 8th counts.
    np.testing.assert_array_equal(original["nfs_airboard_1"].groundtruth, boxes(1, 2, 3))
    np.testing.assert_array_equal(converted["nfs_airboard_1"].groundtruth, boxes(1, 2, 3))
    # A last frame without a box is left out.
    assert frame_numbers(original["nfs_Gymnastics"]) == [1, 2, 3]
    assert frame_numbers(converted["nfs_Gymnastics"]) == [1, 2]
    path = tmp_path / "a" / "Gymnastics" / "30" / "Gymnastics.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))
    with pytest.raises(InputError, match="Gymnastics.txt: 2 boxes for 4 frames"):
        datasets.load("nfs", tmp_path / "a", only=["nfs_Gymnastics"])
    path.write_text("0 1 2\n")
    with pytest.raises(InputError, match="line 1: '0 1 2': expected x y w h, or a track number"):
        datasets.load("nfs", tmp_path / "a", only=["nfs_Gymnastics"])


def test_uav123_parts(tmp_path):
    found = loaded(trees.make_uav123, "uav123", tmp_path, trees.UAV123)
    assert frame_numbers(found["uav_bird1_2"]) == [775, 776, 777, 778]
    np.testing.assert_array_equal(found["uav_bird1_2"].groundtruth, boxes(775, 776, 777, 778))
    first = found["uav_bird1_1"]
    assert frame_numbers(first) == [1, 2, 3] and first.attributes == ("SV", "FOC", "SOB")
    np.testing.assert_array_equal(np.isnan(first.groundtruth).all(axis=1), [False, True, False])
    assert found["uav_uav2"].attributes == ()


def test_lasot_flags(tmp_path):
    found = loaded(trees.make_lasot, "lasot", tmp_path, trees.LASOT)
    plane, monkey = found["airplane-1"], found["monkey-17"]
    np.testing.assert_array_equal(plane.visible, [True, False, False, True])
    np.testing.assert_array_equal(plane.groundtruth[2], [0, 0, 0, 0])
    assert plane.attributes == ("POC", "FOC")
    # Five frames and flags, four boxes.
    assert frame_numbers(monkey) == [1, 2, 3, 4]
    np.testing.assert_array_equal(monkey.visible, [True, False, False, True])
    with pytest.raises(InputError, match="lasot has no sequence 'airplane-2'.*airplane-1"):
        datasets.load("lasot", tmp_path, only=["airplane-2"])


def test_lasot_without_folders_of_classes(tmp_path):
    trees.make_lasot(tmp_path)
    (tmp_path / "airplane" / "airplane-1").rename(tmp_path / "airplane-1")
    (sequence,) = datasets.load("lasot", tmp_path, only=["airplane-1"])
    assert sequence.frames.paths[0].parent.parent == tmp_path / "airplane-1"
    assert sequence.attributes == ("POC", "FOC")


def test_trackingnet_frames_are_sorted_by_number(tmp_path):
    found = loaded(trees.make_trackingnet, "trackingnet", tmp_path, trees.TRACKINGNET)
    first = found["-0SmyHvq2Is_0"]
    assert [path.name for path in first.frames.paths] == [f"{i}.jpg" for i in range(12)]
    assert first.groundtruth is None
    np.testing.assert_array_equal(first.init_box, trees.box(0))


def test_got10k_labels(tmp_path):
    sequence, _ = datasets.load("got10k_val", trees.make_got10k(tmp_path))
    np.testing.assert_array_equal(sequence.visible, [True, False, True, True])
    np.testing.assert_array_equal(sequence.groundtruth, boxes(1, 2, 3, 4))
    assert sequence.bound_wh == (32, 24) and sequence.attributes == ()
    test, _ = datasets.load("got10k_test", trees.make_got10k(tmp_path, "test"))
    assert test.groundtruth is None and test.visible is None and test.frames.count == 4
    meta = sequence.frames.paths[0].with_name("meta_info.ini")
    meta.write_text("[METAINFO]\n")
    with pytest.raises(InputError, match=r"meta_info.ini: expected a line such as 'resolution:"):
        datasets.load("got10k_val", tmp_path)


def test_vot_polygons_and_tags(tmp_path):
    sequence, _ = datasets.load("vot2018", trees.make_vot2018(tmp_path))
    assert sequence.attributes == ("camera_motion", "occlusion")
    x, y, w, h = trees.box(1)
    polygon = [[x, y + h, x, y, x + w, y, x + w, y + h]]
    expected = curves.polygon_to_box(polygon)[0]
    np.testing.assert_allclose(sequence.groundtruth[0], expected, rtol=1e-12)
    np.testing.assert_allclose(expected, [x - 0.5, y - 0.5, w + 1, h + 1])
    path = tmp_path / "bag" / "groundtruth.txt"
    path.write_text("1,1,1,1,1,1,1,1\n" * 3)
    with pytest.raises(InputError, match="bag/groundtruth.txt: no area in line 1-3"):
        datasets.load("vot2018", tmp_path)


def test_folder(tmp_path):
    for name in ("a", "b"):
        trees.write_frames(tmp_path / name / "img", range(1, 4))
        trees.write_lines(tmp_path / name / "groundtruth.txt", trees.rows(range(1, 4)))
    assert [s.name for s in datasets.load("folder", tmp_path)] == ["a", "b"]
    (only,) = datasets.load("folder", tmp_path, only=["b"], limit=1)
    assert only.name == "b" and only.frames.count == 1
    assert datasets.check("folder", tmp_path) == []
    (tmp_path / "b" / "img" / "0003.jpg").write_bytes(b"")
    (problem,) = datasets.check("folder", tmp_path)
    assert "0003.jpg: cannot be decoded" in problem


@pytest.mark.parametrize("name", [*COPIES, "nfs converted"])
def test_hidden_files_are_passed_over(tmp_path, name):
    make, names, _ = COPIES.get(name, (trees.make_nfs_converted, trees.NFS, None))
    root, name = make(tmp_path), name.partition(" ")[0]
    found = lambda: [
        (s.name, s.frames.paths, s.attributes) for s in datasets.load(name, root, only=names)
    ]
    before, problems = found(), datasets.check(name, root)
    sprinkle(root)
    assert found() == before and datasets.check(name, root) == problems
