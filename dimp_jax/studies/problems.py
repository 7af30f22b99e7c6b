"""Filters to be fitted, from real sequences: as the tracker and as the training meets them."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dimp_jax.data import samples
from dimp_jax.data.draws import sample_draws
from dimp_jax.data.sampler import Sampler
from dimp_jax.data.source import Frame
from dimp_jax.geometry.boxes import target_box_in_crop
from dimp_jax.media.images import InputError
from dimp_jax.media.sequences import present
from dimp_jax.models.dimp import STRIDE_PX, DiMP
from dimp_jax.predictor import predict
from dimp_jax.predictor.correlation import correlate
from dimp_jax.predictor.objectives import Samples
from dimp_jax.predictor.precision import EXACT
from dimp_jax.predictor.solve import vdot
from dimp_jax.predictor.target_maps import target_center_yx
from dimp_jax.tracking import online
from dimp_jax.tracking.state import initial_pose

NEAR_CELLS = 1.0  # a peak this near to the true centre, along both axes, is on the target
# No score is a distractor's within this distance of the centre, however small the target is.
MIN_TARGET_CELLS = 2.0


class Problem(NamedTuple):
    """One filter to be fitted, and frames that it was not fitted to; arrays alone."""

    feat: jax.Array  # [N, H, W, C]
    box_xywh: jax.Array  # [N, 4] crop pixels
    weight: jax.Array  # [N], sum 1; an empty slot has 0
    initial: jax.Array  # [K, K, C] what the filter initialiser predicts from the samples
    tracked: jax.Array  # [K, K, C] the filter that the tracker had; the initial one in training
    test_feat: jax.Array  # [T, H, W, C]
    test_box_xywh: jax.Array  # [T, 4] crop pixels, ground truth
    test_weight: jax.Array  # [T] 1; 0 for what only fills up a fixed T


class Quality(NamedTuple):
    """How well scores find the target, means over the test frames; [] or batched alike."""

    hit: jax.Array  # share of frames whose peak is within `NEAR_CELLS` of the true centre
    margin: jax.Array  # best score near the centre less the best one outside of the target


class Extractor:
    """The classifier's features and the initial filter of one network, compiled."""

    def __init__(self, model, params):
        net = DiMP(model, folded=True)
        apply = lambda *args, method: net.apply({"params": params}, *args, method=method)

        def features(crops):
            """crops [n, P, P, 3] in 0..255 -> [n, H, W, C]."""
            maps = apply(apply(crops, method="normalize"), method="features")
            return apply(maps["layer3"], method="clf_features")

        def initial_filter(feat, box_xywh, weight):
            """The initialiser takes a mean over samples; here it is a weighted one."""
            each = jax.vmap(lambda f, b: apply(f[None], b[None], method="initial_filter"))
            return jnp.tensordot(weight, each(feat, box_xywh), 1, precision=EXACT)

        self.features = jax.jit(features)
        self.initial_filter = jax.jit(initial_filter)


def quality(filt, problem: Problem) -> Quality:
    """Scores of the test frames against the ground truth, which the tracker never saw."""
    scores = correlate(filt, problem.test_feat)
    count, rows, cols = scores.shape
    center = target_center_yx(problem.test_box_xywh, STRIDE_PX, filt.shape[0])
    center = jnp.clip(center, 0, jnp.array([rows - 1, cols - 1], center.dtype)[None])
    # Some cells are always near, and some outside: of targets beyond the window, and of huge ones.
    half_hw = problem.test_box_xywh[:, :1:-1] / (2 * STRIDE_PX)
    half_hw = jnp.clip(half_hw, MIN_TARGET_CELLS, min(rows, cols) / 2 - 1)
    cell = jnp.stack(jnp.meshgrid(jnp.arange(rows), jnp.arange(cols), indexing="ij"), -1)
    away = jnp.abs(cell[None] - center[:, None, None])  # [T, S, S, 2]
    near = jnp.all(away <= NEAR_CELLS, -1)
    outside = jnp.any(away > half_hw[:, None, None], -1)
    peak = jnp.argmax(scores.reshape(count, -1), 1)
    hit = jnp.take_along_axis(near.reshape(count, -1), peak[:, None], 1)[:, 0]
    best = lambda where: jnp.max(jnp.where(where, scores, -jnp.inf), (1, 2))
    margin = best(near) - best(outside)
    mean = lambda values: vdot(problem.test_weight, values) / problem.test_weight.sum()
    return Quality(mean(hit.astype(scores.dtype)), mean(margin))


def objective_of(params, problem: Problem, predictor, iteration: int = 0):
    """The objective of a problem, filter -> `solve.Local`, as `optimize_filter` minimises it.

    Args:
      params: as from `predict.adapt_params`. iteration: of parts that are learned per iteration.
    """
    cells = problem.initial.shape[0]
    samples_of = Samples(problem.feat, problem.box_xywh, problem.weight, STRIDE_PX, cells)
    params = predict.effective_params(params, predictor)
    objective = predict.objective_of(params, samples_of, predictor)
    return lambda filt: objective(filt, iteration)


# ------------------------------------------------------------------------------- from tracking


def fit_frames(sequence, after, horizon: int) -> list[int]:
    """Those of the frames `after` which have a test frame (`later_frames`) among the `horizon` next
    ones.
    """
    inside = [frame for frame in after if frame < sequence.frames.count]
    return [frame for frame in inside if later_frames(sequence, frame, 1, horizon)]


def later_frames(sequence, frame: int, count: int, horizon: int) -> list[int]:
    """Up to `count` frames after `frame`, evenly spread, with ground truth there and just before.

    The box before places the search window, as far off the target as a perfect tracker's is.
    """
    seen = visible(sequence)
    after = range(frame + 1, min(frame + horizon, sequence.frames.count - 1) + 1)
    usable = [t for t in after if seen[t] and seen[t - 1]]
    chosen = np.rint(np.linspace(0, len(usable) - 1, count)).astype(int) if usable else ()
    return list(dict.fromkeys(usable[i] for i in chosen))


def visible(sequence):
    """[N] bool: there is ground truth with an area, and no flag says that it is hidden."""
    seen = present(sequence.groundtruth)
    return seen if sequence.visible is None else seen & sequence.visible


def from_tracking(tracker, extractor, sequence, frames, *, later: int, horizon: int, seed: int):
    """Tracks a sequence and yields (frame, `Problem`) after each of `frames`, in their order.

    The samples are the tracker's memory at that moment, with the boxes that it found. The test
    crops are cut around the ground truth of the frame before.

    Args:
      frames: as from `fit_frames`. later: test frames of each. horizon: see `later_frames`.

    Raises:
      InputError: the first box cannot be tracked, or the boxes became not finite.
    """
    tests = {frame: later_frames(sequence, frame, later, horizon) for frame in frames}
    needed = {t for chosen in tests.values() for t in chosen}
    if not frames:
        return
    state, moments, crops = None, {}, {}
    for index, (_, image) in enumerate(sequence.images()):
        if index == 0:
            try:
                state = tracker.init(image, sequence.init_box, seed=seed)
            except ValueError as error:
                raise InputError(f"{sequence.name}: {error}") from error
        elif index <= max(frames):
            state, result = tracker.step(state, image)
            if not np.isfinite(result.box_xywh).all():
                raise InputError(
                    f"{sequence.name}, frame {index}: the tracker's box is not finite; weights "
                    "that were never trained?"
                )
        if index in tests:
            moments[index] = (state.memory, state.filt)
        if index in needed:
            crops[index] = test_crop(tracker, sequence.groundtruth[index - 1 : index + 1], image)
        for frame in [f for f in moments if all(t <= index for t in tests[f])]:
            chosen = [crops[t] for t in tests[frame]]
            yield frame, _from_memory(extractor, *moments.pop(frame), chosen, later)


def test_crop(tracker, boxes_xywh, image):
    """(crop [P, P, 3], box [4] in it) of the second box, in the search window of the first."""
    config = tracker.config.tracker
    poses = [initial_pose(b, config.crop_size_px, config.search_area_scale) for b in boxes_xywh]
    (window, _), (now, _) = poses
    patches, _, positions, scales = online.sample_crops(config, window, image, tracker.network)
    box = target_box_in_crop(
        now.center_yx, now.size_hw, positions[0], scales[0], config.crop_size_px
    )
    return patches[0], np.asarray(box)


def _from_memory(extractor, memory, filt, chosen, count):
    stored = np.arange(len(memory.weight)) < int(memory.num_stored)
    fill = [chosen[-1]] * (count - len(chosen))
    crops, boxes = (np.stack(arrays) for arrays in zip(*chosen, *fill, strict=True))
    share = jnp.asarray(stored / stored.sum(), jnp.float32)
    return Problem(
        feat=memory.feat,
        box_xywh=memory.box_xywh,
        weight=memory.weight,
        initial=extractor.initial_filter(memory.feat, memory.box_xywh, share),
        tracked=filt,
        test_feat=extractor.features(crops),
        test_box_xywh=jnp.asarray(boxes, jnp.float32),
        test_weight=jnp.asarray(np.arange(count) < len(chosen), jnp.float32),
    )


# ------------------------------------------------------------------------------- from training


@dataclasses.dataclass(frozen=True)
class OneSequence:
    """A sequence as a source of training frames (`data.source.Source`)."""

    name: str
    images: list  # uint8 RGB [H, W, 3]
    groundtruth: np.ndarray  # [L, 4]
    seen: np.ndarray  # [L] bool
    is_video: bool = True

    def __len__(self):
        return 1

    def visible(self, sequence):
        del sequence
        return self.seen

    def read(self, sequence, frame_ids):
        del sequence
        return [Frame(self.images[i], self.groundtruth[i].astype(np.float32)) for i in frame_ids]


def from_training(extractor, sequence, data, count: int, seed: int) -> list[Problem]:
    """`count` training samples of one sequence, frames and crops drawn as `data` says.

    Args:
      data: `config.training.DataConfig`.

    Raises:
      ValueError: a sequence too short for the sampler.
    """
    images = [image for _, image in sequence.images()]
    source = OneSequence(sequence.name, images, sequence.groundtruth, visible(sequence))
    sampler = Sampler((source,), (1.0,), data.sampler)
    make = functools.partial(samples.make_sample, training=True, broken=samples.BrokenFrames())
    drawn = (make(sampler, data, sample_draws(seed, index)) for index in range(count))
    return [_from_sample(extractor, sample) for sample in drawn]


def _from_sample(extractor, sample) -> Problem:
    def features(crops, brightness):
        bright = crops.astype(np.float32) * brightness[:, None, None, None]
        return extractor.features(np.clip(bright, 0.0, 255.0))

    train_feat = features(sample.train_crops, sample.train_brightness)
    test_feat = features(sample.test_crops, sample.test_brightness)
    weight = jnp.full(len(train_feat), 1 / len(train_feat), jnp.float32)
    initial = extractor.initial_filter(train_feat, sample.train_box, weight)
    return Problem(
        feat=train_feat,
        box_xywh=jnp.asarray(sample.train_box),
        weight=weight,
        initial=initial,
        tracked=initial,
        test_feat=test_feat,
        test_box_xywh=jnp.asarray(sample.test_box),
        test_weight=jnp.ones(len(test_feat), jnp.float32),
    )
