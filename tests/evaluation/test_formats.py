"""Boxes in the formats of other tools: their conventions, and the way back."""

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dimp_jax.evaluation import identity, inputs, results
from dimp_jax.evaluation.exchange import format_readers, formats, imported
from dimp_jax.evaluation.report import collect
from dimp_jax.media import video
from tests.evaluation import test_evaluate_cli, test_imported
from tests.evaluation.test_runner import Verdict
from tests.media.test_sequences import make_sequence, make_video

evaluate = test_evaluate_cli.evaluate  # the fixture

# Found, found, lost, found again; the record has the last box where it is lost.
ONE = formats.Target(
    np.array([[8, 10, 12, 12], [9.25, 10, 12, 12], [9.25, 10, 12, 12], [11, 10.5, 12, 13]]),
    np.array([[1, 1], [0.75, 1], [0.0625, 0], [0.5, 1]]),
)
TWO = formats.Target(ONE.boxes + [20, 0, 0, 0], np.tile(results.GIVEN_SCORE, (4, 1)))
VIDEOS = [
    formats.Video("a", {1: ONE}, False, (64, 48)),
    formats.Video("b", {1: ONE, 2: TWO}, True, (64, 48), tuple(f"b/img/{i}.jpg" for i in range(4))),
]


def lines(files, name):
    return files[name].splitlines()


def test_otb_counts_pixels_from_1_and_has_a_box_in_every_frame():
    files = formats.otb(VIDEOS)
    assert sorted(files) == ["a.txt", "b-1.txt", "b-2.txt"]
    assert lines(files, "a.txt")[:2] == [
        "9.0000,11.0000,12.0000,12.0000",
        "10.2500,11.0000,12.0000,12.0000",
    ]
    assert [len(lines(files, name)) for name in files] == [4, 4, 4]
    assert lines(formats.otb(VIDEOS, 0), "a.txt")[0] == "8.0000,10.0000,12.0000,12.0000"
    assert [formats.first_pixel(name) for name in (None, "folder", "otb100")] == [1, 1, 0]


def test_mot_counts_frames_and_pixels_from_1_and_leaves_lost_frames_out():
    files = formats.mot(VIDEOS)
    assert lines(files, "a.txt") == [
        "1,1,9.0000,11.0000,12.0000,12.0000,1.0000,-1,-1,-1",
        "2,1,10.2500,11.0000,12.0000,12.0000,0.7500,-1,-1,-1",
        "4,1,12.0000,11.5000,12.0000,13.0000,0.5000,-1,-1,-1",
    ]
    order = [line.split(",")[:2] for line in lines(files, "b.txt")]
    assert order == [list(pair) for pair in ("11", "12", "21", "22", "32", "41", "42")]


def test_coco_video():
    content = json.loads(formats.coco(VIDEOS)["boxes.json"])
    assert list(content) == ["videos", "images", "annotations", "categories"]
    size = {"width": 64, "height": 48}
    assert content["videos"][1] == {"id": 2, "name": "b", "length": 4} | size
    images = {image["id"]: image for image in content["images"]}
    assert len(images) == len(content["images"]) == 8
    assert images[5] == size | {"id": 5, "video_id": 2, "frame_id": 0, "file_name": "b/img/0.jpg"}
    assert images[4]["file_name"] == "a/000003.jpg" and images[4]["frame_id"] == 3
    annotations = content["annotations"]
    assert [a["id"] for a in annotations] == list(range(1, 11))  # two frames are lost
    assert annotations[1]["bbox"] == [9.25, 10, 12, 12] and annotations[1]["area"] == 144
    assert annotations[2]["image_id"] == 4 and annotations[2]["score"] == 0.5
    assert {(a["video_id"], a["track_id"], a["instance_id"]) for a in annotations} == {
        (1, 1, 1),
        (2, 2, 2),
        (2, 3, 3),
    }
    assert {a["category_id"] for a in annotations} == {content["categories"][0]["id"]}


def test_csv_says_what_was_found():
    rows = list(csv.DictReader(io.StringIO(formats.csv(VIDEOS)["boxes.csv"])))
    assert len(rows) == 12 and tuple(rows[0]) == formats.CSV_COLUMNS
    assert tuple(rows[2].values()) == (
        *("a", "1", "2", "9.2500", "10.0000", "12.0000", "12.0000", "0.0625", "0"),
    )
    assert {row["id"] for row in rows if row["video"] == "b"} == {"1", "2"}


@pytest.mark.parametrize("name", formats.FORMATS)
def test_what_is_read_back(tmp_path, name):
    for file, text in formats.FORMATS[name](VIDEOS).items():
        (tmp_path / file).write_text(text)
    (run,) = format_readers.READERS[name](tmp_path)
    assert sorted(run) == ["a", "b-1", "b-2"]
    for key, target in {"a": ONE, "b-1": ONE, "b-2": TWO}.items():
        boxes, scores = run[key].filled(4)
        np.testing.assert_allclose(boxes, target.boxes, atol=1e-9)
        if name != "otb":  # it has no scores
            found = target.scores[:, 1] > 0
            np.testing.assert_array_equal(scores[:, 1] > 0, found)
            np.testing.assert_array_equal(scores[found], target.scores[found])


WRONG = {
    "mot": [
        ("1,1,9,11,12\n", "line 1: '1,1,9,11,12': expected frame,id,x,y,w,h,score"),
        ("1,1,9,11,12,nan,1\n", "expected frame,id,x,y,w,h,score"),
        ("0,1,9,11,12,12,1\n", "line 1: frame 0: expected a whole number from 1"),
        ("1.5,1,9,11,12,12,1\n", "frame 1.5: expected a whole number from 1"),
        ("1,1,9,11,12,12,1\n1,1,9,11,12,12,1\n", "line 2: a second box in that frame"),
        ("", "no boxes in it"),
    ],
    "csv": [
        ("a,b\n1,2\n", "no column 'video': expected video,id,frame,x,y,w,h,score,found"),
        (f"{','.join(formats.CSV_COLUMNS)}\na,1,0,9,x,12,12,1,1\n", "line 2: expected one finite"),
        (f"{','.join(formats.CSV_COLUMNS)}\na,1,0,9\n", "line 2: expected one finite number in"),
    ],
    "coco": [
        ("[]", "is not COCO-VID (TypeError"),
        ("{}", "is not COCO-VID (KeyError: 'videos'): expected JSON with videos"),
        ("{", "is not COCO-VID (JSONDecodeError"),
        (
            '{"videos": [{"id": 1, "name": "a"}], "images": [{"id": 1, "video_id": 1, "frame_id": '
            '0}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}',
            "annotation 0: expected a bbox of four finite numbers",
        ),
        (
            '{"videos": [{"id": 1, "name": "a"}], "images": [{"id": 1, "video_id": 1, "frame_id": '
            'Infinity}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}',
            "annotation 0: frame_id inf: expected a whole number from 0",
        ),
    ],
    "otb": [("1,2,3\n", "line 1: '1,2,3': expected 4 finite numbers x,y,w,h")],
}


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [(layout, *case) for layout, cases in WRONG.items() for case in cases],
)
def test_files_that_cannot_be_used(tmp_path, capsys, layout, content, message):
    """One line, and nothing is left."""
    path = tmp_path / "Jogging_1.x"
    path.write_text(content)
    assert test_imported.run(path, layout, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and str(path) in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_frames_that_do_not_fit_are_missing_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        test_imported.datasets,
        "load",
        lambda name, data_dir, **_: test_imported.sequences_of(["a", "b"]),
    )
    (tmp_path / "a.txt").write_text("2,1,9,11,12,12,1,-1,-1,-1\n")
    (tmp_path / "b.txt").write_text("1,1,9,11,12,12,1,-1,-1,-1\n7,1,9,11,12,12,1,-1,-1,-1\n")
    (tmp_path / "mot").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.txt").rename(tmp_path / "mot" / f"{name}.txt")
    assert test_imported.run(tmp_path / "mot", "mot", tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "the first box is in frame 1 (counted from 0): expected one in the first" in printed
    assert "a box in frame 6 (counted from 0) for 6 frames" in printed


class LosesTwo:
    """Finds the target but in frames 2 and 3."""

    notice = None

    def warmup(self):
        """There is nothing to compile."""

    def init(self, image, box_xywh, seed=0):
        return 0, np.array(box_xywh, float)

    def step(self, state, image):
        frame, box = state[0] + 1, state[1]
        lost = frame in (2, 3)
        box = box if lost else box + [1, 0.5, 0, 0]
        verdict = Verdict.NOT_FOUND if lost else Verdict.NORMAL
        return (frame, box), SimpleNamespace(
            box_xywh=box, score=0.1 if lost else 0.5, verdict=verdict
        )


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_a_run_is_written_in_every_format_and_imported(
    evaluate, tmp_path, monkeypatch, capsys, kind
):
    monkeypatch.setattr(sys.modules["dimp_jax.tracking.tracker"], "build", lambda _: LosesTwo())
    if kind == "folder":
        for name in "ab":
            make_sequence(tmp_path / "data" / name)
        given = ["--data", "data"]
        where = ["--dataset", "folder", "--data-dir", str(tmp_path / "data")]
        names = ["a", "b"]
    else:
        make_video(tmp_path / "clip.avi")
        given = ["--video", "clip.avi", "--box", "8,10,12,12"]
        where, names = ["--video", "clip.avi"], ["clip"]
    assert evaluate.main([*given, "--out", "out"]) == 0
    monkeypatch.setattr(sys.modules["dimp_jax.tracking.tracker"], "build", None)  # all is done
    assert evaluate.main([*given, "--out", "out", "--format", "otb", "mot", "coco", "csv"]) == 0
    assert "boxes in otb/, mot/, coco/, csv/" in capsys.readouterr().out
    for layout in formats.FORMATS:
        back = tmp_path / f"back_{layout}"
        argv = [f"out/{layout}", "--layout", layout, *where, "--out", str(back)]
        assert imported.main(argv) == 0
        if kind == "folder":
            assert collect.collect(["out", back]).names == names
        for name in names:
            boxes, _ = results.read_sequence(tmp_path / "out", name)
            np.testing.assert_allclose(results.read_sequence(back, name)[0], boxes, atol=1e-4)
            if layout != "otb":
                found = results.read_scores(back, name)[:, 1]
                assert found.tolist() == results.read_scores(tmp_path / "out", name)[:, 1].tolist()
                assert found[1:5].tolist() == [1, 0, 0, 1]


def test_results_without_scores_count_as_found_and_that_is_said(evaluate, tmp_path, capsys):
    make_sequence(tmp_path / "data" / "a")
    assert evaluate.main(["--data", "data", "--out", "out"]) == 0
    (tmp_path / "out" / "a_score.txt").unlink()
    assert evaluate.main(["--data", "data", "--out", "out", "--format", "mot"]) == 0
    assert "no scores were recorded of a (1 sequences)" in capsys.readouterr().out
    assert len((tmp_path / "out/mot/a.txt").read_text().splitlines()) == 8


def test_targets_of_one_video_have_numbers(tmp_path, capsys):
    """As `evaluate --box ... --box ...` leaves them."""
    path = make_video(tmp_path / "clip.avi")
    source = inputs.Source(video=str(path), boxes=("8,10,12,12", "30,10,9,9"))
    found, out = inputs.load(source), tmp_path / "out"
    count = len(list(video.VideoFrames(str(path))))
    out.mkdir()
    for sequence in found.sequences:
        boxes = np.tile(sequence.init_box, (count, 1))
        scores = np.tile(results.GIVEN_SCORE, (count, 1))
        results.write_sequence(out, sequence.name, boxes, np.ones(count), scores=scores)
    assert formats.write(out, found, ["mot", "coco"], runs=1, dataset=None) == []
    assert len((out / "mot" / "clip.txt").read_text().splitlines()) == 2 * count
    for layout in ("mot", "coco"):
        back = tmp_path / layout
        argv = [str(out / layout), "--layout", layout, "--video", str(path), "--out", str(back)]
        assert imported.main(argv) == 0
        assert results.read_sequence(back, "clip-2")[0][0].tolist() == [30, 10, 9, 9]
    assert imported.main([str(out / "mot"), "--layout", "mot", "--video", "0", "--out", "x"]) == 2
    assert "a camera cannot be read again" in capsys.readouterr().err
    for number in range(1, 12):  # the tenth one is not the second
        (out / "otb").mkdir(exist_ok=True)
        (out / "otb" / f"clip-{number}.txt").write_text(f"{number},5,6,7\n" * count)
    argv = [str(out / "otb"), "--layout", "otb", "--video", str(path), "--out", str(tmp_path / "n")]
    assert imported.main(argv) == 0 and "first box is not" not in capsys.readouterr().out
    assert identity.read_input(tmp_path / "n")["boxes"][9] == "9.0000,4.0000,6.0000,7.0000"
    argv = [str(out / "mot"), "--layout", "mot", "--video", str(path), "--out"]
    text = (out / "mot" / "clip.txt").read_text()
    (out / "mot" / "clip.txt").write_text("".join(text.splitlines(keepends=True)[:10]))
    assert imported.main([*argv, str(tmp_path / "all")]) == 0
    assert "clip-1: no box after frame 4 (from 0) of 12: the last one" in capsys.readouterr().out
    assert imported.main([*argv, str(tmp_path / "five"), "--frames", "5"]) == 0
    assert "no box after" not in capsys.readouterr().out
    assert len(results.read_sequence(tmp_path / "five", "clip-1")[0]) == 5
