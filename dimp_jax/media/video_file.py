"""Reads video files with PyAV (FFmpeg): every frame that decodes, turned as players show it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.codec.context import Flags

from dimp_jax.media.images import InputError, tell_once
from dimp_jax.media.text import first_names

MOST_NAMED = 12  # frames in a message
# VP8 keeps packets that are never shown; of all others, one that gives no frame is damaged.
HIDES_PACKETS = ("vp8",)
COMPLETE_SHARE = 0.9  # of the duration in the header; less is a file that was cut off
# Formats of FFmpeg whose files hold their pictures themselves. Others, such as playlists, name
# files that FFmpeg opens, wherever they lie.
SELF_CONTAINED = (
    "mov matroska avi flv ogg asf mpeg mpegts mpegvideo mxf nut wtv dv ivf obu av1 h264 hevc vvc "
    "m4v mjpeg yuv4mpegpipe gif apng webp webp_pipe"
).split()


class Header(NamedTuple):
    """What a file says of itself, which need not be true."""

    count: int | None
    frame_rate: float | None  # frames a second, on average


def require_self_contained(path) -> None:
    """For files of strangers. Raises InputError: no video, or one that may lead to other files."""
    with _opened(path, {"format_whitelist": ",".join(SELF_CONTAINED)}):
        pass


def read_header(path) -> Header:
    """Raises InputError: no such file, or nothing that can be decoded."""
    with _opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        seconds = _duration_s(container, stream)
        count = stream.frames or (round(seconds * rate) if seconds and rate else None)
        return Header(count, float(rate) if rate else None)


def read_frames(path, start: int, stop: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, uint8 RGB [H, W, 3]) of frames `start` .. `stop` - 1, counted as decoded.

    The end of the stream is the end, whatever the header says. A damaged packet is passed over, as
    players do; which frames are missing or damaged is told once, when the last one was read.

    Raises:
      InputError: no such file, or no frame of it can be decoded.
    """
    with _opened(path) as (container, stream):
        notes, index, rotation = _Notes(), 0, None
        for frame in _decoded(container, stream, notes):
            if frame.rotation != rotation:
                # Not for each: a frame whose side data were asked for is kept until garbage is
                # collected, which for large frames is too late.
                rotation, matrix = frame.rotation, frame.side_data.get("DISPLAYMATRIX")
            if index >= start:
                # Bicubic, as OpenCV: the same pixels.
                image = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
                yield index, _displayed(image, matrix)
            index += 1
            if index == stop:
                notes.complete = False  # frames ahead are in the decoder
                break
        if index == 0:
            raise InputError(f"{path}: {_undecodable(stream.codec_context.name)}")
        if index <= start:
            raise InputError(f"{path}: frame {start} cannot be read: it has {index} frames")
        for note in notes.lines(stream, _duration_s(container, stream)):
            tell_once(f"{path}: {note}")


@contextlib.contextmanager
def _opened(path, options=None):
    """(container, stream), closed at the end."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such video file")
    try:
        container = av.open(f"file:{path}", container_options=options)
    except av.FFmpegError as error:
        if options and isinstance(error, av.ArgumentError):  # not in the list of formats
            raise InputError(
                f"{path}: a playlist, or not among the formats that are taken here: convert it to "
                "an MP4, MKV, WebM or AVI file"
            ) from error
        raise InputError(
            f"{path}: cannot be opened as a video ({error.strerror}): it is none, or was cut off "
            "before its end, which an MP4 file needs"
        ) from error
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise InputError(f"{path}: there is no video in it ({container.format.long_name})")
        if stream.codec_context is None:
            raise InputError(f"{path}: {_undecodable(_codec_tag(path))}")
        stream.thread_type = "AUTO"
        yield container, stream


def _undecodable(codec):
    if codec == "webp":
        return (
            f"animated WebP cannot be decoded by PyAV {av.__version__}: PyAV 19 can (Python 3.12), "
            "or save its frames as pictures in a folder img/, for --data (Pillow reads it)"
        )
    return (
        f"no frame of it can be decoded (codec: {codec}): convert it where it plays, for example "
        "ffmpeg -i FILE -c:v libx264 -crf 12 FILE.mp4, or to pictures in a folder img/, for --data"
    )


def _codec_tag(path):
    """The name of a codec without a decoder: FFmpeg only logs it."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as logs, av.open(f"file:{path}"):
            pass
    finally:
        av.logging.set_level(level)
    for *_, message in logs:
        _, found, rest = message.partition("(Video: ")
        if found:
            return rest.partition(",")[0]
    return "unknown"


def _duration_s(container, stream):
    """Seconds by the header, or None; a container's own may be those of its sound."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # FFmpeg's is that of what is there
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


class _Notes:
    """What went wrong while a stream was decoded; frames are known by their time stamps."""

    def __init__(self):
        self.packets, self.frames, self.damaged = set(), set(), set()
        self.lost_packets, self.end_s, self.error = 0, None, None
        self.complete = True

    def lines(self, stream, duration_s) -> Iterator[str]:
        """The sentences for the person at the keyboard."""
        order = sorted(self.packets | self.frames)
        last = max(self.frames, default=None)
        missing = self.packets - self.frames
        if not self.complete and last is not None:
            missing = {pts for pts in missing if pts < last}
        if stream.codec_context.name in HIDES_PACKETS and not self.lost_packets:
            missing = set()
        for pts, what in (
            (missing, "cannot be decoded, and left out of what is tracked"),
            (self.damaged & self.frames, "damaged, and decoded as far as possible"),
        ):
            if pts:
                numbers = [str(n) for n, each in enumerate(order) if each in pts]
                yield f"{what}: frame {first_names(numbers, MOST_NAMED)} (counted from 0)"
        if self.lost_packets and not missing:
            yield f"{self.lost_packets} damaged packets were passed over"
        if self.complete and self.error is not None:
            yield f"what follows frame {len(order) - 1} cannot be read ({self.error})"
        elif self.complete and duration_s and self.end_s is not None:
            if self.end_s < COMPLETE_SHARE * duration_s:
                yield (
                    f"it ends after {self.end_s:.2f} s of {duration_s:.2f} s that its header "
                    "announces: it may have been cut off"
                )


def _decoded(container, stream, notes: _Notes) -> Iterator[av.VideoFrame]:
    """Every frame that the decoder gives; what it does not give is noted."""
    start = stream.start_time or 0
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_discard:
                notes.packets.add(packet.pts)
                if packet.is_corrupt:
                    notes.damaged.add(packet.pts)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                notes.lost_packets += 1
                continue
            for frame in frames:
                if frame.pts is not None:
                    notes.frames.add(frame.pts)
                    if frame.is_corrupt:
                        notes.damaged.add(frame.pts)
                    end = frame.pts - start + (frame.duration or 0)
                    notes.end_s = max(notes.end_s or 0.0, float(end * stream.time_base))
                # Not before the first frame: a stream that begins in the middle would begin gray.
                stream.codec_context.flags |= Flags.output_corrupt
                yield frame
    except av.FFmpegError as error:
        notes.error = error.strerror


def _displayed(image, matrix):
    """The image [H, W, 3] turned and mirrored by a display matrix (FFmpeg's 9 integers) or None.

    It maps x, y to a*x + c*y, b*x + d*y with a, b, _, c, d, ...; angles between the right ones are
    taken for the nearest of them.
    """
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.transpose(1, 0, 2), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
