"""Copies that are not as they should be: what `load` refuses and what `check` finds."""

import pytest

from dimp_jax.evaluation import datasets
from dimp_jax.evaluation.datasets import files, lasot, otb
from dimp_jax.media import text
from dimp_jax.media.images import InputError
from tests.support import benchmark_trees as trees


def problems_of(name, root, part):
    """The lines of `check` with `part` in them."""
    return [line for line in datasets.check(name, root) if part in line]


def test_tables_are_those_of_the_benchmarks():
    targets = files.read_table("otb.csv")
    frames = {row["name"]: (int(row["start"]), int(row["stop"])) for row in targets}
    assert len(frames) == 100 and len({row["folder"] for row in targets}) == 98
    assert sum(stop - start + 1 for start, stop in frames.values()) == 59040
    assert sum(row["otb50"] == "1" for row in targets) == 50
    assert {name: span for name, span in frames.items() if span[0] > 1} == {
        "David": (300, 770),
        "BlurCar1": (247, 988),
        "BlurCar3": (3, 359),
        "BlurCar4": (18, 397),
    }
    assert [frames[name][1] for name in ("Football1", "Freeman3", "Freeman4", "Diving")] == [
        *(74, 460, 283, 215)
    ]
    assert {row["name"]: row["omit"] for row in targets if row["omit"] != "0"} == {"Tiger1": "5"}
    # As many as the benchmark's paper says have each attribute.
    counts = dict(IV=38, SV=64, OCC=49, DEF=44, MB=29, FM=39, IPR=51, OPR=63, OV=14, BC=31, LR=9)
    for attribute, count in counts.items():
        assert sum(attribute in row["attributes"].split() for row in targets) == count, attribute
    parts = {row["name"]: row for row in files.read_table("uav123.csv")}
    assert len(parts) == 123 and len({row["folder"] for row in parts.values()}) == 91
    spans = [(int(row["start"]), int(row["stop"])) for row in parts.values()]
    assert sum(stop - start + 1 for start, stop in spans) == 112578
    assert parts["car1_2"]["stop"] == parts["car1_3"]["start"] == "1627"
    for name, count, each in (("lasot", 280, 4), ("lasot_ext", 150, 10)):
        names = text.read_names(files.own_list(f"{name}.txt"))
        assert len(set(names)) == count == lasot.EXPECTED[name]
        classes = [sequence.rpartition("-")[0] for sequence in names]
        assert {classes.count(family) for family in classes} == {each}


def test_missing_sequences_are_counted_and_named(tmp_path):
    root = trees.make_otb(tmp_path)
    text = "88 of 100 sequences of otb100 are missing: Basketball, Biker, .*--check.*--sequences"
    with pytest.raises(InputError, match=text):
        datasets.load("otb100", root)
    with pytest.raises(InputError, match="1 of 2 sequences of otb100 are missing: Girl "):
        datasets.load("otb100", root, only=["Girl", "Deer"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"100 of 100 .*expected the folder of OTB with Bas"):
        datasets.load("otb100", tmp_path / "empty")
    with pytest.raises(InputError, match=r"no such folder"):
        datasets.load("otb100", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "make", "count"), [("nfs", trees.make_nfs, 100), ("trackingnet", None, 511)]
)
def test_part_of_a_benchmark_without_a_list_must_be_named(tmp_path, name, make, count):
    root = (make or trees.make_trackingnet)(tmp_path)
    with pytest.raises(InputError, match=f"2 sequences of {name}, expected {count}: complete it"):
        datasets.load(name, root)


@pytest.mark.parametrize(
    "name", ["nfs", "uav123", "trackingnet", "got10k_val", "got10k_test", "vot2018"]
)
def test_other_folder(tmp_path, name):
    (tmp_path / "val" / "x").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected the folder of|list.txt: cannot be read"):
        datasets.load(name, tmp_path)
    (problem,) = datasets.check(name, tmp_path)
    assert str(tmp_path) in problem


def test_unknown_names(tmp_path):
    root = trees.make_otb(tmp_path)
    with pytest.raises(InputError, match="no sequence 'Jogging': there are Jogging_"):
        datasets.load("otb100", root, only=["Jogging"])
    with pytest.raises(InputError, match="no sequence 'bird1': there are uav_bird1_"):
        datasets.load("uav123", trees.make_uav123(tmp_path / "u"), only=["bird1"])
    with pytest.raises(InputError, match="no data set 'got10k': expected one of: got10k_"):
        datasets.load("got10k", root)
    with pytest.raises(InputError, match="no data set 'got10k'"):
        datasets.check("got10k", root)


def test_lengths_and_gaps(tmp_path):
    root = trees.make_otb(tmp_path)
    folder = root / "Deer" / "img"
    trees.write_frames(folder, [5])
    with pytest.raises(InputError, match=r"groundtruth_rect.txt: 4 boxes for 5 frames in .*Deer"):
        datasets.load("otb100", root, only=["Deer"])
    for number in (2, 3):
        (folder / f"000{number}.jpg").unlink()
    with pytest.raises(InputError, match=r"Deer/img: missing: frame 2-3$"):
        datasets.load("otb100", root, only=["Deer"])
    lines = problems_of("otb100", root, "Deer")
    assert [line.partition("Deer")[2] for line in lines] == [
        "/img: missing: frame 2-3",
        f"/groundtruth_rect.txt: 4 boxes for 3 frames in {folder}",
        "/img: 3 frames, expected 71",
    ]
    (root / "Deer" / "groundtruth_rect.txt").write_text("")
    with pytest.raises(InputError, match="Deer/groundtruth_rect.txt: no boxes in it"):
        datasets.load("otb100", root, only=["Deer"])
    for number in range(6, 10):
        (root / "Tiger1" / "img" / f"000{number}.jpg").unlink()
    trees.write_lines(root / "Tiger1" / "groundtruth_rect.txt", trees.rows(range(1, 6)))
    with pytest.raises(InputError, match="Tiger1/img: 5 frames: Tiger1 begins after 5"):
        datasets.load("otb100", root, only=["Tiger1"])
    trees.write_frames(folder, [2], "{:05d}.jpg")
    trees.write_frames(folder, [2], "{:04d}.png")
    with pytest.raises(InputError, match=r"00002.jpg and 0002.png are the same frame"):
        datasets.load("otb100", root, only=["Deer"])


def test_check_names_what_is_missing_and_what_does_not_belong_there(tmp_path):
    root = trees.make_otb(tmp_path)
    (root / "Bolt3").mkdir()
    (root / ".cache").mkdir()
    (root / "Board" / "groundtruth_rect.txt").unlink()
    lines = datasets.check("otb100", root)
    assert f"{root}/Bolt3: not a folder of this data set" in lines
    assert f"{root}/Board/groundtruth_rect.txt: no such file" in lines
    assert f"{root}/Basketball/img: no such folder" in lines
    assert not any(".cache" in line or "Human4/groundtruth" in line for line in lines)
    assert otb.EXPECTED["otb100"] == 100 and len(lines) == len(set(lines))
    # A copy of OTB-100 is one of OTB-50.
    assert not any("not a folder of" in line for line in datasets.check("otb50", root))


def test_check_of_boxes(tmp_path):
    root = trees.make_otb(tmp_path)
    path = root / "Deer" / "groundtruth_rect.txt"
    path.write_text("4,5,6,7\n0,0,0,0\n1,2,3,NaN\n4,5,6,7\n")
    assert len(datasets.load("otb100", root, only=["Deer"])) == 1  # as the release is, it is used
    (line,) = problems_of("otb100", root, "no box")
    assert line == f"{path}: no box (NaN, or no size) in line 2-3"
    path.write_text("40,5,6,7\n" * 4)
    assert problems_of("otb100", root, "Deer: first box 40, 5, 6, 7: outside")
    path.write_text("4,5,6,7\n" * 3 + "4,5,6\n")
    with pytest.raises(InputError, match=r"line 4: '4,5,6': expected 4 numbers x,y,w,h"):
        datasets.load("otb100", root, only=["Deer"])
    root = trees.make_uav123(tmp_path / "u")
    (root / "anno" / "UAV123" / "uav2.txt").write_text("4,5,6,7\nNaN,NaN,NaN,NaN\n4,5,0,7\n")
    (line,) = problems_of("uav123", root, "no box")
    assert line.endswith("uav2.txt: no box (NaN, or no size) in line 3")


def test_check_reads_first_and_last_image(tmp_path):
    root = trees.make_trackingnet(tmp_path)
    folder = root / "TEST" / "frames" / "a.b_12"
    (folder / "0.jpg").write_bytes(b"no image")
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:300])
    assert datasets.check("trackingnet", root) == [
        f"{root}: 2 sequences of trackingnet, expected 511",
        f"{folder}/0.jpg: cannot be decoded as an image (8 bytes)",
        f"{folder}/2.jpg: the image is truncated, its end is missing (300 bytes)",
    ]


def test_flags(tmp_path):
    root = trees.make_lasot(tmp_path / "lasot")
    folder = root / "airplane" / "airplane-1"
    (folder / "out_of_view.txt").write_text("0,0,0")
    with pytest.raises(InputError, match="out_of_view.txt: 3 flags for 4 boxes"):
        datasets.load("lasot", root, only=["airplane-1"])
    (folder / "out_of_view.txt").write_text("0,0,0.5,0")
    with pytest.raises(InputError, match="out_of_view.txt: expected whole numbers"):
        datasets.load("lasot", root, only=["airplane-1"])
    (folder / "out_of_view.txt").unlink()
    assert problems_of("lasot", root, "out_of_view.txt: cannot be read")
    (root / "att" / "airplane-1.txt").write_text("1,0")
    trees.make_lasot_sequence(folder)
    with pytest.raises(InputError, match="airplane-1.txt: 2 flags: expected 14 .IV POC"):
        datasets.load("lasot", root, only=["airplane-1"])
    root = trees.make_got10k(tmp_path / "got10k")
    folder = root / "val" / "GOT-10k_Val_000001"
    trees.write_lines(folder / "cover.label", [8, 9, 8])
    (folder / "groundtruth.txt").write_text("1,2,3,4\n" * 3 + "0,0,0,0\n")
    lines = datasets.check("got10k_val", root)
    assert f"{folder}/cover.label: 3 flags for 4 boxes" in lines
    assert f"{folder}/cover.label: expected whole numbers from 0 to 8" in lines
    trees.write_lines(folder / "cover.label", [8, 8, 8, 8])
    (line,) = problems_of("got10k_val", root, "no box")
    assert line.endswith("in line 4")


def test_a_complete_copy_has_no_problems(tmp_path):
    trees.make_vot2018(tmp_path / "vot", [f"s{number}" for number in range(60)])
    assert datasets.check("vot2018", tmp_path / "vot") == []
    assert len(datasets.load("vot2018", tmp_path / "vot")) == 60
    for name in text.read_names(files.own_list("lasot_ext.txt")):
        trees.make_lasot_sequence(tmp_path / "ext" / name.rpartition("-")[0] / name)
    assert datasets.check("lasot_ext", tmp_path / "ext") == []
    assert len(datasets.load("lasot_ext", tmp_path / "ext")) == 150
