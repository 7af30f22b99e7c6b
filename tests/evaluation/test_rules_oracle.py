"""The rules of the GOT-10k package: equal to the real package, run on miniature data sets.

Where the published package ends (it has no normalised precision), values are worked out by hand.
"""

import importlib.util

import numpy as np
import pytest

from dimp_jax.evaluation.metrics import rules
from tests.evaluation.test_rules import BOX, FAR, NAN, score, sequence, values

missing = [name for name in ("got10k", "six") if importlib.util.find_spec(name) is None]
needs_package = pytest.mark.skipif(
    bool(missing), reason=f"not installed: {', '.join(missing)} (in the extra 'test')"
)
TRACKER = "random"
SIZE_WH = (160.0, 120.0)


def random_boxes(rng, count):
    """Truth and prediction [count, 4] with every kind of overlap, partly outside the image."""
    truth = np.concatenate([rng.uniform(-20, 140, (count, 2)), rng.uniform(5, 60, (count, 2))], 1)
    noise = rng.normal(0, rng.choice([0.5, 5, 30], (count, 1)), (count, 4))
    predicted = truth + noise
    truth[::3], predicted[::3] = np.round(truth[::3]), np.round(predicted[::3])  # ties
    predicted[:, 2:] = np.maximum(predicted[:, 2:], 0.0)
    return np.round(truth, 3), np.round(predicted, 3)


def write_rows(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, delimiter=",", **{"fmt": "%.3f"} | options)


def add_frames(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index + 1:08d}.jpg").touch()  # a report does not open them


@pytest.fixture
def experiments(monkeypatch, tmp_path):
    """The package's experiments, without their plots, in a folder of their own."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    from got10k import experiments

    for name in ("ExperimentGOT10k", "ExperimentOTB"):
        monkeypatch.setattr(getattr(experiments, name), "plot_curves", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return experiments


@needs_package
def test_got10k_equals_the_package(experiments, tmp_path):
    rng = np.random.default_rng(1)
    names = [f"GOT-10k_Val_{i:06d}" for i in range(1, 5)]
    (tmp_path / "val").mkdir()
    (tmp_path / "val/list.txt").write_text("\n".join(names))
    ours = {}
    for name, count in zip(names, (40, 7, 25, 90), strict=True):
        folder = tmp_path / "val" / name
        add_frames(folder, count)
        truth, predicted = random_boxes(rng, count)
        cover = rng.integers(0, 9, count)
        cover[:2] = 8, 0
        write_rows(folder / "groundtruth.txt", truth)
        for label in ("cover", "absence", "cut_by_image"):
            write_rows(folder / f"{label}.label", cover, fmt="%d")
        (folder / "meta_info.ini").write_text("[METAINFO]\nresolution: (160, 120)")
        runs = [predicted, np.roll(predicted, 1, axis=0)]
        for index, boxes in enumerate(runs, 1):
            write_rows(tmp_path / f"results/GOT-10k/{TRACKER}/{name}/{name}_{index:03d}.txt", boxes)
        write_rows(tmp_path / f"results/GOT-10k/{TRACKER}/{name}/{name}_time.txt", np.ones(count))
        fields = {"visible": cover > 0, "bound_wh": SIZE_WH}
        ours[name] = [score("got10k", boxes, truth, **fields) for boxes in runs]
    theirs = experiments.ExperimentGOT10k(str(tmp_path), subset="val").report([TRACKER])[TRACKER]

    for name, scores in ours.items():
        assert np.mean([s.values["ao"] for s in scores]) == pytest.approx(
            theirs["seq_wise"][name]["ao"], abs=1e-9
        )
    # The package pools the runs like the sequences.
    rule = rules.get("got10k")
    got = rules.mean_score(rule, [s for scores in ours.values() for s in scores])
    assert got.values["ao"] == pytest.approx(theirs["overall"]["ao"], abs=1e-9)
    assert got.values["sr_50"] == pytest.approx(theirs["overall"]["sr"], abs=1e-9)
    np.testing.assert_allclose(got.success, theirs["overall"]["succ_curve"], atol=1e-9)
    assert got.values["sr_75"] == pytest.approx(theirs["overall"]["succ_curve"][75], abs=1e-9)
    assert not np.allclose(got.values["ao"], np.mean([s[0].values["ao"] for s in ours.values()]))


def assert_same_report(theirs, scores):
    got = rules.mean_score(rules.get("got10k_otb"), scores)
    theirs = theirs["overall"]
    np.testing.assert_allclose(got.success, theirs["success_curve"], atol=1e-9)
    np.testing.assert_allclose(got.precision, theirs["precision_curve"], atol=1e-9)
    for key, name in (
        ("auc", "success_score"),
        ("precision_20", "precision_score"),
        ("op_50", "success_rate"),
    ):
        assert got.values[key] == pytest.approx(theirs[name], abs=1e-9)


@needs_package
def test_got10k_otb_equals_the_package_on_otb(experiments, tmp_path):
    from got10k.datasets import OTB

    for name in OTB._OTB__version_dict[2013]:
        (tmp_path / "otb" / name).mkdir(parents=True)  # else it downloads them
    rng = np.random.default_rng(2)
    scores = []
    for name, count in (("Coke", 30), ("David", 471), ("Jumping", 12)):
        truth, predicted = random_boxes(rng, count)
        truth[5] = 0.0
        folder = tmp_path / "otb" / name
        add_frames(folder / "img", 770 if name == "David" else count)
        write_rows(folder / "groundtruth_rect.txt", truth)
        write_rows(tmp_path / f"results/OTB2013/{TRACKER}/{name}.txt", predicted)
        scores.append(score("got10k_otb", predicted, truth))
    report = experiments.ExperimentOTB(str(tmp_path / "otb"), version=2013).report([TRACKER])
    assert_same_report(report[TRACKER], scores)


@needs_package
def test_got10k_otb_equals_the_package_on_uav123(experiments, tmp_path):
    rng = np.random.default_rng(3)
    for folder in ("anno/UAV123", "data_seq/UAV123", "3rd", "4th"):  # it counts the entries
        (tmp_path / "uav" / folder).mkdir(parents=True)
    scores = []
    for name, count in (("bird1_1", 253), ("uav2", 133)):
        truth, predicted = random_boxes(rng, count)
        truth[50:90] = np.nan
        write_rows(tmp_path / f"uav/anno/UAV123/{name}.txt", truth)
        write_rows(tmp_path / f"results/UAV123/{TRACKER}/{name}.txt", predicted)
        scores.append(score("got10k_otb", predicted, truth))
    report = experiments.ExperimentUAV123(str(tmp_path / "uav")).report([TRACKER])
    assert_same_report(report[TRACKER], scores)
    assert [s.frames for s in scores] == [253 - 40, 133 - 40]


def test_got10k_counts_seen_frames_but_the_first_clipped_to_the_image():
    right = [140.0, 10.0, 40.0, 10.0]  # in the image: 140 .. 160
    cut = [140.0, 10.0, 20.0, 10.0]
    left = [-20.0, 10.0, 40.0, 10.0]  # becomes 0 .. 40: the width is kept
    moved = [0.0, 10.0, 40.0, 10.0]
    truth, predicted = [BOX, right, left, BOX, NAN, BOX], [FAR, cut, moved, FAR, FAR, FAR]
    seen = [True, True, True, False, True, True]
    clipped = score("got10k", predicted, truth, visible=seen, bound_wh=SIZE_WH)
    assert clipped.values == pytest.approx({"ao": 2 / 3, "sr_50": 2 / 3, "sr_75": 2 / 3})
    assert clipped.frames == 3
    whole = score("got10k", predicted, truth, visible=seen)  # 0.5, 20 / 60 and 0
    assert whole.values == pytest.approx({"ao": (0.5 + 1 / 3) / 3, "sr_50": 0.0, "sr_75": 0.0})


def test_got10k_pools_the_frames_of_all_sequences():
    scores = [score("got10k", [BOX] * 2, [BOX] * 2), score("got10k", [BOX] + [FAR] * 3, [BOX] * 4)]
    unseen = score("got10k", [BOX] * 2, [BOX] * 2, visible=[True, False])
    assert unseen is None
    got = rules.mean_score(rules.get("got10k"), [*scores, unseen])
    assert got.frames == 4
    assert got.values == {"ao": 0.25, "sr_50": 0.25, "sr_75": 0.25}


@pytest.mark.parametrize("name", ["got10k", "got10k_otb"])
def test_got10k_refuses_nan_and_another_number_of_boxes(name):
    with pytest.raises(ValueError, match=f"s1, rule '{name}': the predicted box of frame 2 has"):
        score(name, [BOX, NAN], [BOX, BOX])
    with pytest.raises(ValueError, match="3 predicted boxes for 2 frames"):
        score(name, [BOX] * 3, [BOX] * 2)


def test_got10k_otb_normalised_precision_is_an_area_in_sizes_of_a_pixel_or_more():
    tiny, moved = [50.0, 50.0, 0.5, 0.5], [50.25, 50.0, 0.5, 0.5]  # half a width; 0.25 px
    got = values("got10k_otb", [FAR, moved, BOX], [BOX, tiny, NAN])
    assert got["norm_precision_auc"] == pytest.approx((51 + 26) / (2 * 51))  # 0 .. 0.5, 0.25 .. 0.5
    assert rules.score_sequence(rules.get("got10k_otb"), [BOX], sequence([NAN])) is None
