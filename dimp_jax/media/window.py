"""The window of `--show`: drawing the first box, and watching the tracker."""

import contextlib
import os
import subprocess
import sys

import numpy as np

from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2

TITLE = "dimp_jax"
PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
PROBE_TIMEOUT_S = 60
LARGEST_WH_PX = (1280, 720)  # of the window as it opens
STOP_KEYS = (ord("q"), 27)  # 27: escape

_is_open = False


def check_display():
    """Raises InputError where no window can open.

    Tried in another process: without a display that answers, Qt aborts the process it runs in.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise InputError(
            "--show needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set: leave it out, "
            "or use --save-video and --box"
        )
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"--show: no window opened within {PROBE_TIMEOUT_S} s") from error
    if probe.returncode != 0:
        raise InputError(
            "--show: OpenCV cannot open a window here: the display does not answer, or OpenCV is "
            "the headless build: leave it out, or use --save-video and --box"
        )


def draw_box(image) -> np.ndarray:
    """Lets the person draw the first box on an RGB frame: [4] x, y, w, h.

    Raises:
      InputError: no box was drawn, or there is no window.
    """
    with _window_errors():
        _open(image)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        box = np.array(cv2.selectROI(TITLE, bgr, showCrosshair=False), float)
    if box[2] <= 0 or box[3] <= 0:
        raise InputError("no box was drawn: drag one over the target and press Enter")
    return box


def show(image) -> bool:
    """Shows an RGB frame; True if the person pressed q or escape, or closed the window."""
    with _window_errors():
        _open(image)
        cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key in STOP_KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1


def close():
    """Closes the window."""
    global _is_open
    with _window_errors():
        cv2.destroyAllWindows()
    _is_open = False


def _open(image):
    """Opens the window, unless it is there; OpenCV's own size for it is 400 x 300 px."""
    global _is_open
    if not _is_open:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        height, width = image.shape[:2]
        scale = min(1.0, LARGEST_WH_PX[0] / width, LARGEST_WH_PX[1] / height)
        cv2.resizeWindow(TITLE, round(scale * width), round(scale * height))
        _is_open = True


@contextlib.contextmanager
def _window_errors():
    try:
        yield
    except cv2.error as error:
        raise InputError(
            "--show: this OpenCV cannot open windows (opencv-python-headless has none): leave it "
            f"out, or install opencv-python ({error.code})"
        ) from error
