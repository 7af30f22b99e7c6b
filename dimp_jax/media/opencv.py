"""The one place that imports OpenCV, quietly and with a useful error."""

import os

# Our own checks name the file that cannot be read; the decoders' lines would only repeat it.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

try:
    import cv2
except ImportError as error:  # most often libGL.so.1, which servers and containers lack
    raise ImportError(
        f"OpenCV cannot be imported ({error}). Where there are no graphics libraries, replace it: "
        "pip uninstall -y opencv-python && pip install opencv-python-headless (a drop-in)"
    ) from error

__all__ = ["cv2"]
