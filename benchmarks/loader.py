"""Making training samples on one core, against decoding their images alone in the same run.

Of the published training, and of the last one of dimp_lite0 (docs/models/dimp_lite0.md), source by
source. Times are processor time of the one thread that does it all.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import figure
from dimp_jax import config
from dimp_jax.config.training import DataConfig
from dimp_jax.data import encoded
from dimp_jax.data.builders.image_folder import read_table
from dimp_jax.data.composite.source import open_source
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.samples import BrokenFrames, make_sample
from dimp_jax.data.source import Frame
from dimp_jax.media.opencv import cv2
from dimp_jax.media.sequences import read_groundtruth

SHARED_DIR = Path(__file__).parents[2] / "shared" / "sequences"
SEQUENCES_DIR = SHARED_DIR / "train"
MAX_SEQUENCES = 12
MAX_STILLS = 400
NOISE_SIZE_HW = (202, 360)
WINDOW_PX = 640  # about the median of the windows that are cut from the video frames
SAMPLES = 200
AIM = 1.6


class JpegSource:
    """Sequences as JPEG files in memory: no disk, no records, nothing but decoding, which it times.

    See `data.source.Source`.
    """

    def __init__(self, name, sequences, is_video=True):
        self.name, self.sequences = name, sequences  # [(list of bytes, [L, 4] boxes), ...]
        self.is_video = is_video
        self.images, self.seconds = 0, 0.0  # decoded so far

    def __len__(self):
        return len(self.sequences)

    def visible(self, sequence):
        return (self.sequences[sequence][1][:, 2:] > 2).all(axis=1)  # NaN where absent

    def read(self, sequence, frame_ids):
        images, boxes = self.sequences[sequence]
        started = time.thread_time()
        frames = [Frame(encoded.decode_rgb(images[i], self.name), boxes[i]) for i in frame_ids]
        self.seconds += time.thread_time() - started
        self.images += len(frame_ids)
        return frames


def real_source() -> JpegSource:
    sequences = []
    for folder in sorted(SEQUENCES_DIR.iterdir())[:MAX_SEQUENCES]:
        images = [path.read_bytes() for path in sorted((folder / "img").glob("*.jpg"))]
        boxes = read_groundtruth(folder / "groundtruth.txt")
        sequences.append((images, np.asarray(boxes, np.float32)))
    return JpegSource("360 px wide video frames", sequences)


def noise_source() -> JpegSource:
    """Smoothed noise, of which a JPEG has about the size of a photograph's."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(4):
        images = []
        for _ in range(30):
            noise = rng.integers(0, 255, (*NOISE_SIZE_HW, 3), dtype=np.uint8)
            smooth = cv2.GaussianBlur(noise, (0, 0), 1.2)
            images.append(cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        sequences.append((images, np.tile(np.float32((120, 70, 80, 60)), (30, 1))))
    return JpegSource("360x202 px noise", sequences)


def still_source(folder) -> JpegSource:
    """Photographs of `folder`, one of its boxes each; see `data.builders.image_folder`."""
    table, _ = read_table(folder / "boxes.csv")
    names = list(table)[:: max(len(table) // MAX_STILLS, 1)]
    sequences = [
        ([(folder / name).read_bytes()], np.float32([table[name][0][0]]))
        for name in names
        if name.endswith(".jpg")
    ]
    return JpegSource(folder.name, sequences, is_video=False)


def figures():
    source = real_source() if SEQUENCES_DIR.is_dir() else noise_source()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield _samples_figure(source)
        for source in _trained_sources():
            yield _trained_figure(source)
    finally:
        cv2.setNumThreads(threads)


def trained_data() -> DataConfig:
    """The samples of dimp_lite0's last training."""
    data = config.load("dimp_lite0").training.data
    crop = dataclasses.replace(
        data.crop,
        size_px=256,
        search_area_scale=4.0,
        train_center_jitter=2.4,
        test_center_jitter=3.5,
        blur_probability=0.15,
        coarse_probability=0.2,
        contrast_jitter=0.2,
    )
    sampler = dataclasses.replace(data.sampler, max_gap=60)
    return dataclasses.replace(
        data, crop=crop, sampler=sampler, mosaic_probability=0.8, part_probability=0.2
    )


def _trained_sources():
    if not SEQUENCES_DIR.is_dir():
        yield noise_source()
        return
    yield real_source()
    for name in ("images", "more_stills"):
        yield still_source(SHARED_DIR / name)
    folder = SHARED_DIR / "composite"
    composite = dataclasses.replace(
        trained_data().composite,
        cutouts_dir=str(folder / "cutouts"),
        backgrounds_dir=str(folder / "backgrounds"),
        objects_from=(),
        videos_from=(),
    )
    yield open_source(composite, None)


def _trained_figure(source):
    data = trained_data()
    seconds = [taken for taken, *_ in _samples(source, data)]
    return figure(
        f"training sample of dimp_lite0 from {source.name}",
        len(seconds) / sum(seconds),
        "samples/s on one core",
        sample_ms=statistics.median(seconds) * 1e3,
        crop_px=data.crop.size_px,
    )


def _samples(source, data):
    """(seconds, seconds of decoding, images decoded) of each of `SAMPLES` samples.

    The latter two are None of a source that does not count them.
    """
    sampler = Sampler((source,), (1.0,), data.sampler)
    broken = BrokenFrames()
    for index in range(-10, SAMPLES):  # the first are not counted
        if isinstance(source, JpegSource):
            source.images, source.seconds = 0, 0.0
        started = time.thread_time()
        make_sample(sampler, data, sample_draws(0, index + 10), training=True, broken=broken)
        if index >= 0:
            taken = time.thread_time() - started
            yield taken, getattr(source, "seconds", None), getattr(source, "images", None)


def _samples_figure(source):
    data = DataConfig()
    seconds, decode_s, images = zip(*_samples(source, data), strict=True)
    crops = data.sampler.train_frames + data.sampler.test_frames
    resize_s = crops * _resize_s(data.crop.size_px)
    ratio = sum(seconds) / sum(decode_s)
    return figure(
        f"training sample of {crops} crops of {data.crop.size_px} px from {source.name}",
        ratio,
        "x decoding its images alone",
        aim=("at most", AIM),
        versus_decode_and_resize=sum(seconds) / (sum(decode_s) + SAMPLES * resize_s),
        crops_per_s_per_core=crops * SAMPLES / sum(seconds),
        images_decoded_per_s_per_core=sum(images) / sum(decode_s),
        sample_ms=statistics.median(seconds) * 1e3,
        decode_ms=statistics.median(decode_s) * 1e3,
        resize_ms=resize_s * 1e3,
        images_per_sample=statistics.mean(images),
    )


def _resize_s(crop_px):
    window = np.zeros((WINDOW_PX, WINDOW_PX, 3), np.uint8)
    seconds = []
    for _ in range(60):
        started = time.thread_time()
        cv2.resize(window, (crop_px, crop_px), interpolation=cv2.INTER_LINEAR)
        seconds.append(time.thread_time() - started)
    return statistics.median(seconds)
