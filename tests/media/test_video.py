"""Video files as players show them: lying headers, damage, display matrices, unknown codecs."""

import gc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from dimp_jax.media import images, sequences, video
from dimp_jax.media.images import InputError

RATE = 25


def target_frame(index, size_hw=(48, 64)):
    """A gray textured frame with a bright square that moves by 1 px a frame; uint8 RGB."""
    frame = np.random.default_rng(0).integers(60, 90, (*size_hw, 3), np.uint8)
    frame[10:22, 8 + index : 20 + index] = (220, 120, 30)
    return frame


def make_video(path, frames=None, codec="mjpeg", pixels="yuvj420p", ticks=None, matrix=None):
    """Writes frames (12 by default), each at its tick of 1 / RATE s."""
    frames = [target_frame(i) for i in range(12)] if frames is None else frames
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for tick, frame in zip(ticks or range(len(frames)), frames, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def spoil(path, numbers):
    """Overwrites the packets of these numbers with zeros."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in (places[number] for number in numbers):
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


def read(path, **span):
    return [image for _, image in video.VideoFrames(str(path), **span)]


@pytest.fixture
def told(caplog):
    """What was said of the input."""
    images.tell_once.cache_clear()
    return lambda: "\n".join(caplog.messages)


def test_frames(tmp_path, told):
    path = make_video(tmp_path / "clip.avi")
    sequence = sequences.load_video(str(path), box=np.array([8.0, 10, 12, 12]))
    frames = [image for _, image in sequence.images()]
    assert sequence.name == "clip" and len(frames) == 12 == sequence.frames.count
    assert sequence.frames.frame_rate == RATE
    for i, frame in enumerate(frames):  # MJPEG is lossy, the square is saturated
        assert np.abs(frame[12:20, 10 + i : 18 + i].mean(axis=(0, 1)) - (220, 120, 30)).max() < 12
    assert len(list(sequences.load_video(str(path), limit=4).images())) == 4
    part = video.VideoFrames(str(path), start=3, stop=6)
    assert part.count == 3
    np.testing.assert_array_equal([im for _, im in part], frames[3:6])
    assert told() == ""


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.avi", "mjpeg", "yuvj420p"), ("a.mp4", "libx264", "yuv420p"), ("a.mkv", "ffv1", "bgr0")],
)
def test_pixels_are_those_of_opencv(tmp_path, name, codec, pixels):
    path = make_video(tmp_path / name, codec=codec, pixels=pixels)
    capture, frames = cv2.VideoCapture(str(path)), read(path)
    for frame in frames:
        np.testing.assert_array_equal(frame, capture.read()[1][..., ::-1])
    assert len(frames) == 12 and not capture.read()[0]
    capture.release()


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4"])
def test_variable_frame_rate_is_read_to_its_end(tmp_path, told, suffix):
    """Half of the frames last four times as long: containers without an index count too many."""
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    ticks = [*range(6), *range(6, 30, 4)]
    path = make_video(tmp_path / f"v{suffix}", codec=codec, pixels="yuv420p", ticks=ticks)
    assert len(read(path)) == 12
    assert told() == ""


def test_edit_list_hides_frames(tmp_path, told):
    """Cut without encoding: the frames before the cut are in the file, and no player shows them."""
    whole = make_video(tmp_path / "whole.mp4", codec="libx264", pixels="yuv420p")
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        ticks = 4 / RATE / source.streams.video[0].time_base
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - int(ticks), packet.dts - int(ticks)
                packet.stream = stream
                target.mux(packet)
    np.testing.assert_array_equal(read(path), read(whole)[4:])
    assert video.VideoFrames(str(path)).count == 12 and told() == ""


def test_damaged_packets_are_passed_over_and_named(tmp_path, told):
    path = make_video(tmp_path / "clip.avi")
    whole = read(path)
    spoil(path, [3, 7])
    np.testing.assert_array_equal(read(path), [whole[i] for i in range(12) if i not in (3, 7)])
    assert "clip.avi: cannot be decoded, and left out of what is tracked: frame 3, 7 " in told()
    read(path)
    assert told().count("cannot be decoded") == 1  # told once


def test_damage_in_predicted_frames(tmp_path, told):
    path = make_video(tmp_path / "clip.mp4", codec="libx265", pixels="yuv420p")
    spoil(path, [5])
    assert len(read(path)) == 11
    assert "left out of what is tracked: frame " in told()
    assert "damaged, and decoded as far as possible: frame " in told()


def test_truncated_file_keeps_its_frames(tmp_path, told):
    path = make_video(tmp_path / "clip.mkv", codec="ffv1", pixels="bgr0")
    whole = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = read(path)
    assert 2 < len(frames) < 8
    np.testing.assert_array_equal(frames, whole[: len(frames)])
    assert "it may have been cut off" in told()
    assert len(read(path, stop=2)) == 2
    path = make_video(tmp_path / "clip.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 1 < len(read(path)) < 8 and "clip.avi: it ends after 0." in told()


# What each matrix does to a picture, by the rows of x' = a x + c y, y' = b x + d y.
@pytest.mark.parametrize(
    ("abcd", "expected"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), lambda image: np.rot90(image)),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_display_matrix(tmp_path, abcd, expected):
    a, b, c, d = (value << 16 for value in abcd)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    options = {"codec": "mjpeg", "pixels": "yuvj420p"}  # x264 gives other bytes each time
    stored = read(make_video(tmp_path / "stored.mp4", **options))
    turned = read(make_video(tmp_path / "turned.mp4", matrix=matrix, **options))
    np.testing.assert_array_equal(turned, [expected(image) for image in stored])


def test_frames_do_not_pile_up(tmp_path):
    """A second of large frames would be half a gigabyte."""
    path = make_video(tmp_path / "a.mp4", codec="libx264", pixels="yuv420p")
    gc.collect()
    gc.disable()
    try:
        assert len(read(path)) == 12
        assert sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()) <= 2
    finally:
        gc.enable()


def test_size_that_changes_in_the_middle_is_refused(tmp_path):
    """MPEG streams can be put one after the other."""
    parts = [
        make_video(tmp_path / f"{h}.m2v", [target_frame(i, (h, 64)) for i in range(6)], *options)
        for h, *options in ((48, "mpeg2video", "yuv420p"), (80, "mpeg2video", "yuv420p"))
    ]
    path = tmp_path / "both.m2v"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match=r"both.m2v, frame \d: 64 x 80 px, but .* 64 x 48 px"):
        list(sequences.load_video(str(path)).images())


def test_av1(tmp_path):
    frames = [target_frame(i, (64, 96)) for i in range(4)]
    path = make_video(tmp_path / "clip.mp4", frames, codec="libsvtav1", pixels="yuv420p")
    assert np.abs(np.mean(np.array(read(path), float) - frames)) < 4


def test_codec_that_cannot_be_decoded_is_named(tmp_path):
    path = make_video(tmp_path / "clip.avi")
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"XYZ1"))
    with pytest.raises(InputError, match=r"clip.avi: no frame .*XYZ1 .*: convert it .*ffmpeg -i"):
        sequences.load_video(str(path))
    path = tmp_path / "clip.webp"
    pictures = [Image.fromarray(target_frame(i)) for i in range(3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    if int(av.__version__.partition(".")[0]) < 19:
        with pytest.raises(InputError, match="animated WebP .* save its frames as pictures"):
            sequences.load_video(str(path))
    else:
        assert len(read(path)) == 3


def test_refused_videos(tmp_path):
    with pytest.raises(InputError, match="none.mp4: no such video file"):
        sequences.load_video(str(tmp_path / "none.mp4"))
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="no.mp4: cannot be opened as a video"):
        sequences.load_video(str(tmp_path / "no.mp4"))
    path = make_video(tmp_path / "clip.avi")
    with pytest.raises(InputError, match="clip: first box 100, 1, 2, 3: outside"):
        sequences.load_video(str(path), box=[100.0, 1, 2, 3])
    with pytest.raises(InputError, match="clip.avi: frame 12 cannot be read: it has 12 frames"):
        read(path, start=12)
