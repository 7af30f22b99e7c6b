"""The server of `dimp-jax demo` without a browser, with the fake tracker of the other runners."""

import csv
import io
import json
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from dimp_jax.evaluation.exchange import format_readers, formats
from dimp_jax.evaluation.runners import one_by_one
from dimp_jax.web import app, clips, guard, views
from dimp_jax.web.jobs import Worker
from dimp_jax.web.session import KEPT, Session
from tests.evaluation.test_runner import FakeTracker
from tests.media.test_sequences import make_video, target_box
from tests.media.test_video import spoil

BASE = "http://localhost:8400"
OWN = {"origin": BASE}


class Watched(FakeTracker):
    """Stands for `views.WatchedTracker` of a tracker; may be made to wait before a step."""

    gate = threading.Event()
    details = None
    broken = False

    def __init__(self, tracker):
        super().__init__()

    def step(self, state, image):
        assert self.gate.wait(20)
        if Watched.broken:
            raise RuntimeError("no memory")
        side = 48
        scores = np.zeros((1, 4, 4))
        self.details = SimpleNamespace(
            look=SimpleNamespace(scores=scores), crops=np.zeros((1, side, side, 3))
        )
        return super().step(state, image)


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(views, "WatchedTracker", Watched)
    monkeypatch.setattr(Watched, "broken", False)
    Watched.gate.set()
    made = Session(Worker(FakeTracker(), 0))
    yield made
    Watched.gate.set()
    made.close()


@pytest.fixture
def client(session):
    about = {"tracker": "fake"}
    made = app.make(session, names=guard.names_of("127.0.0.1"), max_upload_mb=0.2, about=about)
    with TestClient(made, base_url=BASE, headers=OWN) as opened:
        yield opened


def upload(client, path, name=None, **more):
    return client.post(f"/clips?name={name or path.name}", content=path.read_bytes(), **more)


def wait(client, job, states=("done", "cancelled", "failed")):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        now = client.get(f"/jobs/{job}").json()
        if now["state"] in states:
            return now
        time.sleep(0.02)
    raise AssertionError(f"still {now}")


@pytest.fixture
def clip(client, tmp_path):
    return upload(client, make_video(tmp_path / "my clip.avi")).json()


def start(client, clip, box=(8, 10, 12, 12)):
    answer = client.post("/jobs", json={"clip": clip["id"], "box": box})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_upload_track_and_take_away(client, clip, tmp_path):
    """The video plays, and the boxes are those of a run, in every format."""
    assert clip == clip | {"name": "my clip", "width": 64, "height": 48, "frames": 12, "box": None}
    first = client.get(f"/clips/{clip['id']}/first.jpg")
    assert first.headers["content-type"] == "image/jpeg" and first.content[:2] == b"\xff\xd8"
    job = start(client, clip)
    done = wait(client, job)
    assert (done["state"], done["frames"], done["total"], done["error"]) == ("done", 12, 12, None)
    assert done["scores"] == [1.0] + [0.5] * 11 and all(done["found"])
    video = client.get(f"/jobs/{job}/video.mp4", headers={"range": "bytes=0-99"})
    assert video.status_code == 206 and len(video.content) == 100  # a player may seek
    path = tmp_path / "tracked.mp4"
    path.write_bytes(client.get(f"/jobs/{job}/video.mp4").content)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 12
    assert frames[0].shape == (384, 512 + views.GAP_PX + 384, 3)  # enlarged, and the window
    truth = [target_box(i) for i in range(12)]
    for name in formats.FORMATS:
        answer = client.get(f"/jobs/{job}/boxes/{name}")
        disposition = answer.headers["content-disposition"]
        file = tmp_path / disposition.partition("''")[2].replace("%20", " ")
        file.write_text(answer.text)
        (read,) = format_readers.READERS[name](file)
        assert list(read) == ["my clip"]
        np.testing.assert_allclose(read["my clip"].filled(12)[0], truth, atol=1e-4)
    assert {"my clip.csv", "my clip.mot.txt", "my clip.otb.txt", "my clip.coco.json"} <= {
        path.name for path in tmp_path.iterdir()
    }
    rows = list(csv.DictReader(io.StringIO(client.get(f"/jobs/{job}/boxes/csv").text)))
    assert len(rows) == 12 and rows[0]["video"] == "my clip"
    content = json.loads(client.get(f"/jobs/{job}/boxes/coco").text)
    assert content["videos"][0]["width"] == 64
    assert client.get(f"/jobs/{job}/latest.jpg").content[:2] == b"\xff\xd8"


def test_cancelling_keeps_what_was_tracked_and_makes_room(client, clip):
    Watched.gate.clear()
    job = start(client, clip)
    assert wait(client, job, ("tracking",))["scores"] is None
    assert client.get(f"/jobs/{job}/video.mp4").status_code == 404
    busy = client.post("/jobs", json={"clip": clip["id"], "box": [8, 10, 12, 12]})
    assert busy.status_code == 409 and "another clip is being tracked" in busy.json()["error"]
    assert client.get("/settings").json()["running"] == job  # for a page that was loaded again
    assert client.post(f"/jobs/{job}/cancel").status_code == 200
    Watched.gate.set()
    done = wait(client, job)
    assert done["state"] == "cancelled" and 1 <= done["frames"] < 12
    assert client.get("/settings").json()["running"] is None
    assert len(client.get(f"/jobs/{job}/boxes/mot").text.splitlines()) == done["frames"]
    assert client.get(f"/jobs/{job}/video.mp4").status_code == 200
    assert wait(client, start(client, clip))["state"] == "done"


def test_what_the_reader_says_of_a_video_is_on_the_page(client, tmp_path):
    path = make_video(tmp_path / "damaged.avi")
    spoil(path, [3, 7])
    clip = upload(client, path).json()
    for _ in range(2):
        done = wait(client, start(client, clip))
        assert (done["frames"], len(done["notes"])) == (10, 1)
        assert done["notes"][0].startswith("damaged.avi: cannot be decoded, and left out of what")


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (None, "no box: draw one around the target"),
        ([100, 10, 5, 5], "outside the image of 64 x 48 pixels"),
        ([1, 10, 0, 5], "the box is empty"),
        ([1, 10, 5], "expected four numbers x, y, w, h"),
        (["a", 1, 2, 3], "expected four numbers x, y, w, h"),
        ([1e400, 1, 2, 3], "not finite"),
        ({"x": 1}, "expected four numbers"),
    ],
)
def test_boxes_that_cannot_be_used(client, clip, box, said):
    text = json.dumps({"clip": clip["id"], "box": box})
    answer = client.post("/jobs", content=text)
    assert answer.status_code in (400, 422) and said in answer.json()["error"]


def test_uploads_that_cannot_be_used(client, session, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    answer = upload(client, tmp_path / "notes.mp4", "../../my notes.mp4")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("my notes.mp4: cannot be opened as a video")
    assert str(session.folder) not in answer.text
    private = make_video(tmp_path / "private.avi")
    rows = ("#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", private, "#EXT-X-ENDLIST")
    (tmp_path / "list.m3u8").write_text("\n".join(map(str, rows)))
    answer = upload(client, tmp_path / "list.m3u8")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("list.m3u8: a playlist, or not among the formats")
    large = b"x" * 300_000
    for content in (large, (large[i : i + 9000] for i in range(0, len(large), 9000))):
        answer = client.post("/clips?name=long.mp4", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"].startswith("long.mp4: larger than 0.2 MB: cut it")
    assert list(session.folder.iterdir()) == []  # nothing is left of them
    with session.upload("a.mp4"):
        answer = upload(client, make_video(tmp_path / "b.avi"))
        assert answer.status_code == 409 and "another upload is running" in answer.json()["error"]


def test_a_full_disk_is_told(client, session, monkeypatch, tmp_path):
    def full(path):
        raise OSError(28, "No space left on device", str(session.folder / "x" / "clip.avi"))

    monkeypatch.setattr(session, "add_upload", full)
    answer = upload(client, make_video(tmp_path / "clip.avi"))
    assert answer.status_code == 507
    assert answer.json()["error"] == "clip.avi: No space left on device"


def test_errors_while_tracking_are_told_and_the_next_one_goes_on(
    client, clip, session, monkeypatch
):
    monkeypatch.setattr(Watched, "broken", True)
    failed = wait(client, start(client, clip))
    assert failed["state"] == "failed" and failed["error"].startswith("RuntimeError: no memory")
    monkeypatch.setattr(Watched, "broken", False)
    assert wait(client, start(client, clip))["state"] == "done"
    uploaded = session.clips[clip["id"]]
    (uploaded.folder / "my clip.avi").unlink()
    failed = wait(client, start(client, clip))
    assert failed["error"] == "my clip.avi: no such video file"


def test_only_the_last_clips_and_results_are_kept(client, session, tmp_path):
    path = make_video(tmp_path / "a.avi", count=3)
    ids = [upload(client, path).json() for _ in range(KEPT + 1)]
    assert client.get(f"/clips/{ids[0]['id']}/first.jpg").status_code == 404
    assert client.get(f"/clips/{ids[1]['id']}/first.jpg").status_code == 200
    jobs = []
    for _ in range(KEPT + 1):
        jobs.append(start(client, ids[-1]))
        wait(client, jobs[-1])
    gone = client.get(f"/jobs/{jobs[0]}/video.mp4")
    assert gone.status_code == 404 and "the last four" in gone.json()["error"]
    assert len(list(session.folder.iterdir())) == 2 * KEPT
    answer = client.post("/jobs", json={"clip": ids[0]["id"], "box": [8, 10, 12, 12]})
    assert answer.status_code == 404 and "choose it again" in answer.json()["error"]


def test_shut_down_removes_everything(session, tmp_path):
    made = app.make(session, names=guard.names_of("::1"), max_upload_mb=1, about={})
    with TestClient(made, base_url=BASE, headers=OWN) as client:
        Watched.gate.clear()
        job = start(client, upload(client, make_video(tmp_path / "a.avi")).json())
    assert session.jobs[job].cancelled.is_set() and not session.folder.exists()


def test_pages_of_elsewhere_are_refused(client):
    answer = client.post("/clips/demo", headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and "a page of http://evil.example" in answer.json()["error"]
    assert client.get("/settings", headers={"host": "evil.example"}).status_code == 403
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for path in app.PAGE:
        assert client.get(path).status_code == 200
    for path in ("/page.html", "/../__main__.py", "/clips", "/jobs/none", "/jobs/a/boxes/xml"):
        assert client.get(path).status_code in (404, 405)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\mein Auto (1).MOV", "mein Auto (1).MOV"),
        ("..", "video"),
        ("", "video"),
        ("猫.mp4", "猫.mp4"),
        ("a\0b<c>.mp4", "a_b_c_.mp4"),
        ("x" * 300 + ".mp4", "x" * 160 + ".mp4"),
        ("猫" * 80 + ".mp4", "猫" * 53 + ".mp4"),
        (".hidden.mp4", "hidden.mp4"),
    ],
)
def test_names_of_uploaded_files(given, kept):
    assert clips.file_name(given) == kept


def test_a_picture_has_the_window_beside_or_below():
    shown = {"verdict": "GIVEN", "score": None, "fps": None, "groundtruth": None, "decode_s": 0.0}
    box = np.array([1000.0, 1500, 600, 900])
    frame = one_by_one.Frame(0, np.zeros((3000, 2000, 3), np.uint8), box, **shown)
    picture = views.picture(frame, None)
    assert picture.shape == (960 + views.GAP_PX + 640, 640, 3)
    assert picture[480, 400].max() > 80 and picture[700, 400].max() == 0  # the box is smaller, too
    frame = frame._replace(image=np.zeros((400, 600, 3), np.uint8))
    assert views.picture(frame, None).shape == (400, 600 + views.GAP_PX + 400, 3)
    assert clips.told(OSError(5, "bad", "/x/y.avi"), None) == "y.avi: bad"
