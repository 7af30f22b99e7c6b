"""Making training samples on one core, against decoding their images alone in the same run.

Times are processor time of the one thread that does it all: a busy neighbour does not count.
"""

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import figure
from dimp_jax.config.training import DataConfig
from dimp_jax.data import encoded
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.samples import BrokenFrames, make_sample
from dimp_jax.data.source import Frame
from dimp_jax.media.opencv import cv2
from dimp_jax.media.sequences import read_groundtruth

SEQUENCES_DIR = Path(__file__).parents[2] / "shared" / "sequences" / "train"
MAX_SEQUENCES = 12
NOISE_SIZE_HW = (202, 360)
WINDOW_PX = 640  # about the median of the windows that are cut from the video frames
SAMPLES = 200
AIM = 3.0


class JpegSource:
    """Sequences as JPEG files in memory: no disk, no records, nothing but decoding, which it times.

    See `data.source.Source`.
    """

    is_video = True

    def __init__(self, name, sequences):
        self.name, self.sequences = name, sequences  # [(list of bytes, [L, 4] boxes), ...]
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


def figures():
    source = real_source() if SEQUENCES_DIR.is_dir() else noise_source()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield _samples_figure(source)
    finally:
        cv2.setNumThreads(threads)


def _samples_figure(source):
    data = DataConfig()
    sampler = Sampler((source,), (1.0,), data.sampler)
    broken = BrokenFrames()
    seconds, decode_s, images = [], [], []
    for index in range(-10, SAMPLES):  # the first are not counted
        source.images, source.seconds = 0, 0.0
        started = time.thread_time()
        make_sample(sampler, data, sample_draws(0, index + 10), training=True, broken=broken)
        if index >= 0:
            seconds.append(time.thread_time() - started)
            decode_s.append(source.seconds)
            images.append(source.images)
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
