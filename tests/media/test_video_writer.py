"""Annotated videos: what browsers can play, whole or not at all."""

import contextlib
import errno
import resource

import av
import numpy as np
import pytest

from dimp_jax.media import video, video_writer
from tests.media.test_video import target_frame

BEST = video_writer.encoder()
HERE = (video_writer.ENCODERS[0], video_writer.ENCODERS[-1], video_writer.OPENCV)


@pytest.fixture(params=HERE, ids=lambda encoder: encoder.library)
def encoder(request, monkeypatch):
    monkeypatch.setattr(video_writer, "encoder", lambda: request.param)
    return request.param


@contextlib.contextmanager
def files_of_at_most(size):
    """What a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_frames_colours_and_rate(tmp_path, encoder):
    path = tmp_path / "out #1.mp4"
    frames = [target_frame(i, (147, 193)) for i in range(30)]  # odd sizes are padded
    with video_writer.video_writer(path, 30000 / 1001) as write:
        for frame in frames:
            write(frame)
        assert not path.exists()
    written = [image for _, image in video.VideoFrames(str(path))]
    assert len(written) == 30 and written[0].shape == (148, 194, 3)
    for image, frame in zip(written, frames, strict=True):
        left = np.flatnonzero(frame[15, :, 0] == 220)[0]
        square = image[13:19, left + 3 : left + 9]  # of (220, 120, 30)
        assert np.abs(square.mean(axis=(0, 1)) - (220, 120, 30)).max() < 12
    # Of the bright square, which moves: no frame is lost, doubled or out of order.
    squares = [np.flatnonzero(image[15, :, 0] > 150).mean() for image in written]
    np.testing.assert_allclose(squares, 13.5 + np.arange(30), atol=0.6)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.01)
        assert stream.pix_fmt == "yuv420p"
    data = path.read_bytes()
    if encoder.plays:  # begins to play before all of it is there
        assert data.index(b"moov") < data.index(b"mdat")


def test_browsers_play_what_is_written_here():
    """PyAV's own wheels have an encoder; elsewhere OpenCV's is used, and said."""
    assert BEST.plays and str(BEST) == "H.264 (libx264), which browsers play"
    assert "browsers do not" in str(video_writer.OPENCV)


def test_an_encoder_that_is_missing_is_passed_over(monkeypatch):
    missing = BEST._replace(library="libopenh265")
    monkeypatch.setattr(video_writer, "ENCODERS", (missing, *video_writer.ENCODERS[-1:]))
    assert video_writer.encoder.__wrapped__().codec == "VP9"
    monkeypatch.setattr(video_writer, "ENCODERS", (missing,))
    assert video_writer.encoder.__wrapped__() == video_writer.OPENCV


def test_a_block_that_fails_leaves_nothing(tmp_path, encoder):
    for count in (0, 3):
        with pytest.raises(OSError, match="mine"):
            with video_writer.video_writer(tmp_path / "b.mp4", 25) as write:
                for i in range(count):
                    write(target_frame(i))
                raise OSError("mine")
    with video_writer.video_writer(tmp_path / "none.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [100, 3000, 60_000])
def test_a_file_that_cannot_be_written_is_named(tmp_path, encoder, room):
    """In the beginning, in the middle, at the end; twice, for FFmpeg would crash then."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), np.uint8)
    for _ in range(2):
        with pytest.raises(OSError) as caught, files_of_at_most(room):
            with video_writer.video_writer(tmp_path / "b.mp4", 25) as write:
                for frame in noise:
                    write(frame)
        assert caught.value.filename == str(tmp_path / "b.mp4")
        assert caught.value.errno in (errno.EFBIG, errno.EIO)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    path = tmp_path / "b.mp4"
    monkeypatch.setattr(video_writer, "encoder", lambda: video_writer.OPENCV)
    usage = video_writer.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(video_writer.shutil, "disk_usage", lambda _: usage._replace(free=4096))
    with pytest.raises(OSError) as caught, files_of_at_most(3000):
        with video_writer.video_writer(path, 25) as write:
            for i in range(30):
                write(target_frame(i))
    assert (caught.value.filename, caught.value.errno) == (str(path), errno.ENOSPC)
