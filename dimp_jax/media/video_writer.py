"""Annotated videos, written atomically, in a codec that browsers play where one is at hand."""

import contextlib
import errno
import functools
import os
import secrets
import shutil
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import Colorspace

from dimp_jax.media.images import InputError
from dimp_jax.media.opencv import cv2

LEAST_FREE_BYTES = 1 << 20  # a disk with less is taken for full


class Encoder(NamedTuple):
    """A codec, the library that writes it, and whether browsers play it."""

    codec: str
    library: str  # FFmpeg's name of the encoder, or OpenCV's of the codec
    options: dict[str, str]
    plays: bool = True

    def __str__(self):
        if self.plays:
            return f"{self.codec} ({self.library}), which browsers play"
        return f"{self.codec} ({self.library}), which players show and browsers do not"


# The best first.
ENCODERS = (
    Encoder("H.264", "libx264", {"preset": "veryfast", "crf": "20"}),
    Encoder("H.264", "libopenh264", {"rc_mode": "off"}),
    Encoder("VP9", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}),
)
OPENCV = Encoder("MPEG-4 part 2", "mp4v", {}, plays=False)


@functools.cache
def encoder() -> Encoder:
    """The first of `ENCODERS` that PyAV has here, else OpenCV's: tried, not only looked up."""
    for candidate in ENCODERS:
        with contextlib.suppress(av.FFmpegError, av.codec.codec.UnknownCodecError):
            context = av.CodecContext.create(candidate.library, "w")
            context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
            context.time_base, context.options = Fraction(1, 25), candidate.options
            context.open()
            return candidate
    return OPENCV


@contextlib.contextmanager
def video_writer(path, frame_rate: float):
    """Gives `write(rgb)`; the mp4 appears under `path` only when the block ends without an error.

    Frames are uint8 RGB [H, W, 3] of one size; odd sizes are padded by one row or column. Nothing
    is kept in memory but the few frames that the encoder looks ahead.

    Raises:
      InputError: neither PyAV nor OpenCV can encode here. OSError: the disk is full, or anything
        else that keeps the file from being whole.
    """
    path = Path(path)
    # Another process may write a video of the same name.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part.mp4")
    append = close = None
    written, broken = 0, False

    @contextlib.contextmanager
    def writing():
        nonlocal broken
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            broken = True
            raise OSError(error.errno, error.strerror, str(path)) from error

    def write(rgb):
        nonlocal append, close, written
        height, width = rgb.shape[:2]
        # A repeated last row or column keeps the whole frame: the codecs halve the colours' size.
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        with writing():
            if close is None:
                start = _opencv if encoder() == OPENCV else _pyav
                append, close = start(partial, encoder(), frame_rate)
            append(rgb)
        written += 1

    try:
        yield write
        if close is not None:
            with writing():
                close, end = None, close
                end()
                _check_written(partial, written)
                os.replace(partial, path)
    finally:
        if broken and partial.exists():
            os.truncate(partial, 0)  # it stays open: FFmpeg would crash ending what it cannot write
        elif close is not None:
            close()
        partial.unlink(missing_ok=True)


def _pyav(path, chosen: Encoder, frame_rate: float):
    """(write(rgb), close()) of an mp4 whose index comes first, so that it plays while it loads."""
    container = av.open(f"file:{path}", "w", options={"movflags": "+faststart"})
    rate = Fraction(frame_rate).limit_denominator(1001)
    stream = container.add_stream(chosen.library, rate=rate, options=chosen.options)
    stream.pix_fmt = "yuv420p"
    # In the caller's thread alone: tracking is timed meanwhile.
    stream.codec_context.thread_count = 1
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, said and used
    context.color_range = 1
    count = 0

    def write(rgb):
        nonlocal count
        if count == 0:
            stream.height, stream.width = rgb.shape[:2]
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        frame.pts, frame.time_base = count, 1 / rate
        container.mux(stream.encode(frame))
        count += 1

    def close():
        if count:
            container.mux(stream.encode(None))
        container.close()

    return write, close


def _opencv(path, chosen: Encoder, frame_rate: float):
    """(write(rgb), close()) where PyAV has no encoder for this."""
    writer = None

    def write(rgb):
        nonlocal writer
        if writer is None:
            fourcc = cv2.VideoWriter_fourcc(*chosen.library)
            writer = cv2.VideoWriter(str(path), fourcc, frame_rate, rgb.shape[1::-1])
            if not writer.isOpened() and _is_full(path.parent):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if not writer.isOpened():
                raise InputError(
                    "neither PyAV nor this OpenCV build can write mp4: leave --save-video out"
                )
        writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    return write, lambda: writer.release()


def _check_written(path, count: int):
    """Raises OSError unless `path` is a video of `count` frames: on a full disk OpenCV loses frames
    without a word."""
    with contextlib.suppress(av.FFmpegError), av.open(f"file:{path}") as container:
        packets = container.demux(container.streams.video[0])
        if sum(packet.size > 0 and not packet.is_corrupt for packet in packets) == count:
            return
    cause = errno.ENOSPC if _is_full(path.parent) else errno.EIO
    raise OSError(cause, os.strerror(cause))


def _is_full(folder) -> bool:
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES
