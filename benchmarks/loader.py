"""Making training samples on one core, against decoding their images alone in the same run.

Of the published training, and of the last one of dimp_lite0 (configs/ablations/all_data.py), source
by source. Times are processor time of the one thread that does it all.
"""

import dataclasses
import itertools
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
WARM_UP, SAMPLES = 10, 200
AIM = 1.6


class JpegSource:
    """Sequences as JPEG files in memory: no disk, no records, nothing but decoding.

    See `data.source.Source`. `reads` has (seconds, images) of each call of `read`.
    """

    def __init__(self, name, sequences, is_video=True):
        self.name, self.sequences = name, sequences  # [(list of bytes, [L, 4] boxes), ...]
        self.is_video = is_video
        self.reads = []

    def __len__(self):
        return len(self.sequences)

    def visible(self, sequence):
        return (self.sequences[sequence][1][:, 2:] > 2).all(axis=1)  # NaN where absent

    def read(self, sequence, frame_ids):
        images, boxes = self.sequences[sequence]
        started = time.thread_time()
        frames = [Frame(encoded.decode_rgb(images[i], self.name), boxes[i]) for i in frame_ids]
        self.reads.append((time.thread_time() - started, len(frame_ids)))
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
    is_there = SEQUENCES_DIR.is_dir()
    source = real_source() if is_there else noise_source()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield _samples_figure(source)
        data = config.load("ablations/all_data").training.data
        others = _other_sources(data) if is_there else ()
        for trained in itertools.chain((source,), others):
            yield _trained_figure(trained, data)
    finally:
        cv2.setNumThreads(threads)


def _other_sources(data):
    for name in ("images", "more_stills"):
        yield still_source(SHARED_DIR / name)
    folder = SHARED_DIR / "composite"
    composite = dataclasses.replace(
        data.composite,
        cutouts_dir=str(folder / "cutouts"),
        backgrounds_dir=str(folder / "backgrounds"),
        objects_from=(),
        videos_from=(),
    )
    yield open_source(composite, None)


def _trained_figure(source, data):
    seconds = _sample_seconds(source, data)
    return figure(
        f"training sample of dimp_lite0 from {source.name}",
        len(seconds) / sum(seconds),
        "samples/s on one core",
        sample_ms=statistics.median(seconds) * 1e3,
        crop_px=data.crop.size_px,
    )


def _sample_seconds(source, data) -> list[float]:
    """What each of `SAMPLES` samples took."""
    sampler = Sampler((source,), (1.0,), data.sampler)
    broken = BrokenFrames()
    seconds = []
    for index in range(WARM_UP + SAMPLES):
        started = time.thread_time()
        make_sample(sampler, data, sample_draws(0, index), training=True, broken=broken)
        seconds.append(time.thread_time() - started)
    return seconds[WARM_UP:]


def _samples_figure(source):
    data = DataConfig()
    seconds = _sample_seconds(source, data)
    decode_s, images = zip(*source.reads[WARM_UP:], strict=True)  # one read a sample
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
